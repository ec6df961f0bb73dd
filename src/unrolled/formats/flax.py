"""Flax: the parameters of linen or nnx modules as a flat dict, names joined by "/", in .safetensors or .npz.

A dense layer computes x @ kernel + bias.  An LSTMCell and an OptimizedLSTMCell have one for each gate, named by its
side and its letter: ii if ig io without a bias, hi hf hg ho with one.  A GRUCell has ir iz in with a bias, hr hz
without, and hn with one; a SimpleCell has i with a bias and h without.  Cells of nnx but the LSTMCell stack the gates
in dense_i and dense_h, in torch's order, and their GRU has no bias hn.
Source: flax/linen/recurrent.py and flax/nnx/nn/recurrent.py of Flax 0.12.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from unrolled.config.options import listed
from unrolled.formats.arrays import Arrays, numbers, read_arrays, write_arrays
from unrolled.formats.assembly import FilePart, assembled, kind_of, one_layer
from unrolled.formats.network_of import FormatError, Source, network_from, refuse
from unrolled.formats.outside_files import finished
from unrolled.formats.told import Telling, Told
from unrolled.notation import Kind, Weights
from unrolled.saved.network import Layer, Network

#: The names of the gates of a cell, without their side, by kind.
_GATES: dict[Kind, tuple[str, ...]] = {"LSTM": ("i", "f", "g", "o"), "GRU": ("r", "z", "n"), "RNN_TANH": ("",)}
#: The place of a module that bears the name of its class and a number, and what the first has, counted backward.
_CLASS = re.compile(r"((?:.*/)?[A-Z][A-Za-z]*_)(\d+)(?=/|$)")
FIRST = 1_000_000
#: The two cells of a Bidirectional.
_SIDES = ("forward_rnn", "backward_rnn")


def to_flax(source: Source, path: str | Path) -> None:
    """Write the parameters of a linen module with `embed`, `layers_0` ... and `head`, each where the network has it.

    A layer is nn.RNN(nn.OptimizedLSTMCell(H)), with a GRUCell or a SimpleCell for the other kinds, or nn.Bidirectional
    of two such; `embed` is nn.Embed, `head` is nn.Dense.

    Args: what is written; the file, .safetensors or .npz.
    Raises: FormatError for a network that Flax has no module for; CheckpointError if the file cannot be written.
    """
    network = network_from(source)
    refuse(
        "Flax",
        network,
        projection="its LSTM has none; train one without",
        peepholes="its LSTM has none; train one without",
        initial="no parameter of a cell holds it; save it apart and give it as initial_carry",
        relu="the file does not say what a SimpleCell computes; train one with tanh",
    )
    arrays: Arrays = {} if network.embedding is None else {"params/embed/embedding": network.embedding}
    for number, layer in enumerate(network.layers):
        for side, weights in zip(_SIDES, layer.biased().directions, strict=False):
            place = f"params/layers_{number}/" + (f"{side}/" if layer.D == 2 else "") + "cell/"
            arrays |= {place + name: array for name, array in _parameters(layer.kind, weights).items()}
    if network.head is not None:
        b = np.zeros(network.width, network.dtype) if network.head.b is None else network.head.b
        arrays |= {"params/head/kernel": network.head.W.T, "params/head/bias": b}
    write_arrays(path, arrays)


def from_flax(path: str | Path, **told: Unpack[Telling]) -> Network:
    """Return the network that the parameters of a linen or nnx module are.

    Args:
        path: a .safetensors or .npz file of a flat dict, names joined by "/" or ".".
        kind: what a SimpleCell computes: "RNN_TANH" or "RNN_RELU".
        embedding, rnn, head: places of modules, "Dense_1", where several would do; two directions of one layer, which
            have no module of their own in a compact one, are "LSTMCell_0+LSTMCell_1".
        when, softmax, one_hot: as :func:`unrolled.imports.from_torch`.
    Raises: FormatError naming the parameter that belongs to no cell, embedding or dense layer, or does not fit;
        CheckpointError if the file cannot be read.
    """
    said = Told.of(told)
    return finished(Path(path), lambda: _network(path, read_arrays(path), said))


def _parameters(kind: Kind, weights: Weights) -> Arrays:
    """Return the parameters of a cell by name; biases that act together are summed."""
    gates = _GATES[kind]
    W_i, W_h, b_i, b_h = (np.split(w, len(gates)) for w in (weights.W_ih, weights.W_hh, weights.b_ih, weights.b_hh))
    found: Arrays = {}
    for k, gate in enumerate(gates):
        found |= {f"i{gate}/kernel": W_i[k].T, f"h{gate}/kernel": W_h[k].T}
        if kind == "LSTM":
            found[f"h{gate}/bias"] = b_i[k] + b_h[k]
        elif gate == "n":
            found |= {"in/bias": b_i[k], "hn/bias": b_h[k]}
        else:
            found[f"i{gate}/bias"] = b_i[k] + b_h[k]
    return found


#: The names of the dense layers of a cell; `if` is no name in Python, so nnx says if_.
_LETTERS = {f"{side}{gate}" for gates in _GATES.values() for side in "ih" for gate in gates}
_LETTERS |= {"if_", "dense_i", "dense_h"}


def _modules(path: str | Path, arrays: Arrays) -> tuple[dict[str, Arrays], list[str]]:
    """Return the parameters of each module by its place, and the names of others; states of random numbers are none."""
    found: dict[str, Arrays] = {}
    others = []
    for name, array in arrays.items():
        parts = name.replace(".", "/").removesuffix("/value").split("/")
        place = "/".join(parts[:-1]).removeprefix("params/")
        of_cell = place.rpartition("/")[2] in _LETTERS
        if "rngs" in parts:
            continue
        if parts[-1] in ("kernel", "bias", "embedding") and array.ndim == (1 if parts[-1] == "bias" else 2):
            found.setdefault(place, {})[parts[-1]] = numbers(f"{path}: {name}", array)
        elif of_cell:
            raise FormatError(f"{path}: {name} is {array.shape}, expected a kernel (I, O) or a bias (O)")
        else:
            others.append("/".join(parts).removeprefix("params/"))
    return found, others


def _network(path: str | Path, arrays: Arrays, told: Told) -> Network:
    modules, others = _modules(path, arrays)
    parts, cells = [], dict[str, dict[str, Arrays]]()
    for name, parameters in modules.items():
        place, _, last = name.rpartition("/")
        if {*parameters} == {"embedding"}:
            parts.append(FilePart(name, W=parameters["embedding"], is_table=True, is_dense=False))
        elif last in _LETTERS:
            cells.setdefault(place, {})[last] = parameters
        elif "kernel" in parameters:
            parts.append(FilePart(name, W=parameters["kernel"].T, b=parameters.get("bias")))
        else:
            others.append(name)
    layers = _both_ways(path, {name: _layer(f"{path}: {name}", gates) for name, gates in cells.items()})
    # A cell of a compact module bears the name of its class, in a stack and in a Bidirectional alike.
    halves = {name for name in layers if name.rpartition("/")[2] != "cell"}
    # A list of modules numbers them all, whatever they are: its layers_2 is the one that has a cell.
    parts += (
        FilePart(name, (layer,), is_half=name in halves, series=name.removesuffix("/cell"))
        for name, layer in layers.items()
    )
    # They are numbered as they are made, which in a nested call is from the last to the first.
    backward = [
        part._replace(series=_CLASS.sub(lambda of: f"{of[1]}{FIRST - int(of[2][:6])}", part.series or part.name))
        for part in parts
    ]
    return assembled(str(path), [parts, backward], told, sorted(others))


def _layer(where: str, modules: dict[str, Arrays]) -> Layer:
    """Return the layer of one direction that the dense layers of a cell are."""
    gates = {name.rstrip("_"): parameters for name, parameters in modules.items()}
    if {*gates} == {"dense_i", "dense_h"}:
        kind = kind_of(f"{where}/dense_h", _kernel(where, gates, "dense_h"))
        W_ih, W_hh = (_kernel(where, gates, f"dense_{side}").T for side in "ih")
        b_ih, b_hh = (_bias(gates[f"dense_{side}"], len(W)) for side, W in (("i", W_ih), ("h", W_hh)))
    else:
        fitting = [kind for kind, names in _GATES.items() if {*gates} == {f"{s}{g}" for s in "ih" for g in names}]
        if not fitting:
            raise FormatError(f"{where}: dense layers {listed(sorted(gates))} make no LSTMCell, GRUCell or SimpleCell")
        kind = fitting[0]
        W_ih, W_hh = (_stacked([_kernel(where, gates, f"{s}{g}").T for g in _GATES[kind]], where) for s in "ih")
        sizes = [len(_kernel(where, gates, f"h{g}").T) for g in _GATES[kind]]
        b_ih, b_hh = (
            np.concatenate([_bias(gates[f"{s}{g}"], H) for g, H in zip(_GATES[kind], sizes, strict=True)]) for s in "ih"
        )
    return one_layer(where, kind, Weights(W_ih, W_hh, b_ih, b_hh))


def _stacked(blocks: list[NDArray[Any]], where: str) -> NDArray[Any]:
    if len({block.shape for block in blocks}) > 1:
        raise FormatError(
            f"{where}: the kernels of its gates are {listed([b.T.shape for b in blocks])}, expected one shape"
        )
    return np.concatenate(blocks)


def _kernel(where: str, gates: dict[str, Arrays], name: str) -> NDArray[Any]:
    if "kernel" not in gates[name]:
        raise FormatError(f"{where}/{name}: has no kernel, expected one")
    return gates[name]["kernel"]


def _bias(parameters: Arrays, size: int) -> NDArray[Any]:
    return parameters.get("bias", np.zeros(size, parameters["kernel"].dtype))


def _both_ways(path: str | Path, layers: dict[str, Layer]) -> dict[str, Layer]:
    """Return layers whose two directions are one, where their places say which is which."""
    found = {}
    for name, layer in layers.items():
        parts = name.split("/")
        if _SIDES[1] in parts:
            continue
        if _SIDES[0] in parts:
            other = "/".join(_SIDES[1] if part == _SIDES[0] else part for part in parts)
            if other not in layers or layers[other].kind != layer.kind:
                raise FormatError(f"{path}: {name} runs forward, expected a {layer.kind} at {other} that runs backward")
            layer = Layer(layer.kind, layer.directions + layers[other].directions)
            name = name.partition(_SIDES[0])[0].rstrip("/")
        found[name] = layer
    return found
