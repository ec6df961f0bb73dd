"""Keras 3: a whole model as .keras, or its weights alone as .weights.h5.

A .keras file is a zip of config.json, which says each layer and its options, and model.weights.h5.  That holds each
layer's arrays at layers/NAME/vars, of a recurrent one at layers/NAME/cell/vars: kernel (I, G*H), recurrent kernel
(H, G*H), and the bias (G*H), of a GRU with reset_after (2, G*H).  NAME is the class in small letters, with _1, _2, ...
for more of one class.  Gates are in the order i f c o and z r h.
Source: keras/src/saving/saving_lib.py and keras/src/layers/rnn of Keras 3.15; docs/deploy/keras.md.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any, Unpack

import msgspec
import numpy as np

from unrolled.formats.arrays import Arrays, opened_zip, part_of_zip
from unrolled.formats.gate_orders import reordered
from unrolled.formats.hdf5 import SIGN, Hdf5, hdf5_bytes
from unrolled.formats.keras_config import config_of, read_config
from unrolled.formats.keras_weights import only_weights
from unrolled.formats.network_of import FormatError, Source, network_from, refuse
from unrolled.formats.outside_files import finished, outside_bytes
from unrolled.formats.told import Telling, Told
from unrolled.notation import Kind, Weights
from unrolled.saved.atomic_files import to_json, write_file
from unrolled.saved.network import Network

#: The parts of a .keras file.
CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
#: Of the Keras whose files these are like.
VERSION = "3.0.0"


def to_keras(source: Source, path: str | Path) -> None:
    """Write a network as a Keras 3 model, x.keras, or as the weights of one, x.weights.h5.

    A text model that reads symbols without an embedding becomes one that reads one-hot vectors (B, T, V).

    Args: what is written; the file.
    Raises: FormatError for what Keras has no such layer for, and for another end of the name; CheckpointError if the
        file cannot be written; ModuleNotFoundError without h5py.
    """
    network, path = network_from(source), Path(path)
    if not path.name.endswith((".keras", ".weights.h5")):
        raise FormatError(f"{path}: Keras reads files whose names end in .keras or .weights.h5; give such a name")
    refuse(
        "Keras",
        network,
        projection="its LSTM has none; train one without",
        peepholes="its LSTM has none; train one without",
        last_output="without return_sequences, it gives h of each direction after its own last step",
        initial="its layers start from zeros; save it apart and give it as initial_state",
        **(
            {}
            if path.suffix == ".keras"
            else {"relu": "a file of weights does not say what a cell computes; write .keras"}
        ),
    )
    weights = hdf5_bytes(_groups(network))
    write_file(path, weights if path.suffix == ".h5" else _zipped(network, weights))


def from_keras(path: str | Path, **told: Unpack[Telling]) -> Network:
    """Return the network that a Keras 3 file holds; no code in it is run.

    Weights alone do not say what a cell computes, what a head reads, whether a softmax follows, or in which order
    layers of several kinds come: the cells are taken to be those with Keras's own options, and the rest is told here.
    A .keras file says all of this.

    Args:
        path: of a .keras or a .weights.h5 file.
        kind: what a SimpleRNN computes: "RNN_TANH" or "RNN_RELU".
        embedding, rnn, head: names of layers in the file, "dense_1", where several would do.
        when, softmax, one_hot: as :func:`unrolled.imports.from_torch`.
    Raises: FormatError naming the layer that no network has, or that does what no layer here does, or does not fit.
    """
    said = Told.of(told)
    path = Path(path)
    data = outside_bytes(path)
    if data.startswith(SIGN):
        return finished(path, lambda: only_weights(Hdf5(str(path), data), said))
    if said != Told():
        raise FormatError(f"{path}: its {CONFIG} says what its parts are and do; leave {', '.join(said.given())} out")
    archive = opened_zip(str(path), data)
    config, weights = (part_of_zip(str(path), archive, name, len(data)) for name in (CONFIG, WEIGHTS))
    try:
        parsed = msgspec.json.decode(config)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"{path}: {CONFIG} is damaged: {error}") from None
    return finished(path, lambda: read_config(str(path), parsed, Hdf5(f"{path}: {WEIGHTS}", weights)))


def _groups(network: Network) -> dict[str, Arrays]:
    """Return the arrays of a file of weights by group."""
    groups: dict[str, Arrays] = {"vars": {}, "layers": {}}
    if network.embedding is not None:
        groups["layers/embedding/vars"] = {"0": network.embedding}
    for each in config_of(network):
        if each.layer is not None:
            sides = [""] if each.layer.D == 1 else ["/forward_layer", "/backward_layer"]
            for side, weights in zip(sides, each.layer.directions, strict=True):
                groups[f"layers/{each.place}{side}/cell/vars"] = _numbered(_as_keras(each.layer.kind, weights))
    if network.head is not None:
        groups["layers/dense/vars"] = _numbered([network.head.W.T, network.head.b])
    return groups


def _numbered(arrays: list[Any]) -> Arrays:
    return {str(k): array for k, array in enumerate(arrays) if array is not None}


def _as_keras(kind: Kind, weights: Weights) -> list[Any]:
    """Return the kernel, the recurrent kernel and maybe the bias of a cell; biases that act together are summed."""
    kernels = [reordered(w, kind, "torch", "keras").T for w in (weights.W_ih, weights.W_hh)]
    if weights.b_ih is None:
        return kernels
    b_ih, b_hh = (reordered(b, kind, "torch", "keras") for b in (weights.b_ih, weights.b_hh))
    return [*kernels, np.stack([b_ih, b_hh]) if kind == "GRU" else b_ih + b_hh]


def _zipped(network: Network, weights: bytes) -> bytes:
    config = {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "unrolled", "layers": [each.config for each in config_of(network)]},
        "registered_name": None,
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        parts = {METADATA: to_json({"keras_version": VERSION}), CONFIG: to_json(config), WEIGHTS: weights}
        for name, data in parts.items():
            archive.writestr(zipfile.ZipInfo(name), data)  # of 1980, so that one network gives one file
    return buffer.getvalue()
