"""Neural Amp Modeler's `.nam`, of the architecture LSTM: LSTM layers of one size and a linear head.

JSON.  `weights` is one list: of each layer the rows of W_ih and W_hh side by side, gates i f g o, then one bias and the
initial h and c; then the rows of the head and its bias.  `config` has input_size, hidden_size and num_layers, and
in_channels and out_channels if they are not 1.
Source: neural-amp-modeler, docs/source/model-file.rst and nam/models/recurrent.py; NeuralAmpModelerCore, NAM/lstm.cpp.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from unrolled.config.checks import LARGEST, Positive, check_value
from unrolled.config.options import brief
from unrolled.formats.json_numbers import decimals, numbers, read_json, write_json
from unrolled.formats.network_of import FormatError, Source, network_from, refuse, refuse_not_finite
from unrolled.formats.outside_files import finished
from unrolled.notation import Weights
from unrolled.saved.network import Array, Head, Layer, Network
from unrolled.words import counted

#: Of the files that are written; each program of 2024 and later reads it.
VERSION = "0.5.4"
_ONLY_LSTM = "this format has only LSTM layers"


def to_nam(
    source: Source, path: str | Path, *, sample_rate: float = 48000.0, metadata: dict[str, Any] | None = None
) -> None:
    """Write an LSTM of vectors with a linear head as a `.nam` file.

    Args:
        source: the network; one input and one output are what plug-ins use.
        path: of the file.
        sample_rate: of the sound that it was trained on, Hz.
        metadata: what plug-ins show and use, such as `name`, `gear_type` or `loudness`.
    Raises: FormatError if the format cannot hold the network, ValueError for another rate or metadata that is not JSON,
        before anything is written.
    """
    network = network_from(source)
    sample_rate = sample_rate.item() if isinstance(sample_rate, np.generic) else sample_rate
    check_value("sample_rate", sample_rate, Positive)
    try:
        msgspec.convert(metadata or {}, dict[str, Any])
        json.dumps(metadata, allow_nan=False)
    except (TypeError, ValueError, msgspec.ValidationError) as error:
        raise ValueError(f"metadata is {brief(metadata)}, expected a dict of JSON values: {error}") from None
    _check(network)
    assert network.head is not None
    H, V = network.layers[0].H, len(network.head.W)
    b_y = np.zeros(V, np.float32) if network.head.b is None else network.head.b
    parts = [part for layer in network.layers for part in _parts(layer)] + [network.head.W, b_y]
    config = {"input_size": network.I, "hidden_size": H, "num_layers": len(network.layers)}
    if (network.I, V) != (1, 1):
        config |= {"in_channels": network.I, "out_channels": V}
    write_json(
        path,
        {
            "version": VERSION,
            "metadata": metadata or {},
            "architecture": "LSTM",
            "config": config,
            "weights": decimals(np.concatenate([part.ravel() for part in parts])),
            "sample_rate": float(sample_rate),
        },
    )


def from_nam(path: str | Path) -> Network:
    """Return the network of a `.nam` file; its initial states are learned ones, unless all are zero.

    Raises: FormatError if the file is damaged, or of another architecture.
    """
    return finished(Path(path), lambda: _network(Path(path), read_json(Path(path), _File)))


def _network(path: Path, file: _File) -> Network:
    if file.architecture != "LSTM":
        raise FormatError(f"{path}: the architecture is {brief(file.architecture)}; this release reads LSTM")
    if not file.version.startswith("0."):
        raise FormatError(f"{path}: version {brief(file.version)}; this release reads 0.5 to 0.7")
    try:
        config = msgspec.convert(file.config, _Config)
    except msgspec.ValidationError as error:
        raise FormatError(f"{path}: config: {error}") from None
    I, H, V = config.input_size, config.hidden_size, config.out_channels
    if config.in_channels not in (None, I):
        raise FormatError(f"{path}: config: in_channels is {config.in_channels}, expected input_size = {I}")
    above = config.num_layers - 1
    count = 4 * H * (I + H + above * 2 * H) + (above + 1) * 6 * H + V * (H + 1)
    if type(file.weights) is not list or len(file.weights) != count:  # before anything of that size is made
        given = f"{len(file.weights):,}" if type(file.weights) is list else "no list"
        raise FormatError(f"{path}: weights: {given}, expected {counted(count, 'number')} for the config")
    rest = numbers(file.weights, (count,), f"{path}: weights")
    layers = []
    for k in range(config.num_layers):
        layer, rest = _layer(rest, H if k else I, H)
        layers.append(layer)
    W, b = rest[: V * H].reshape(V, H), rest[V * H :]
    return Network(_without_zeros(layers), head=Head(W, b))


class _File(msgspec.Struct):
    version: str
    architecture: str
    config: dict[str, Any]
    weights: Any


class _Config(msgspec.Struct):
    input_size: Annotated[int, Meta(ge=1, le=LARGEST)]
    hidden_size: Annotated[int, Meta(ge=1, le=LARGEST)]
    num_layers: Annotated[int, Meta(ge=1, le=LARGEST)]
    in_channels: int | None = None
    out_channels: Annotated[int, Meta(ge=1, le=LARGEST)] = 1


def _check(network: Network) -> None:
    refuse(
        "NAM",
        network,
        elman=_ONLY_LSTM,
        relu=_ONLY_LSTM,
        gru=_ONLY_LSTM,
        peepholes="its gates see only h",
        two_ways="it steps, and knows only what came before",
        projection="its layers give all units",
        float64="its numbers are float32; give a network of that type",
        symbols="it reads sound",
        last="it gives an output each step",
        softmax="its head is linear",
    )
    refuse_not_finite("NAM", network)
    if len({layer.H for layer in network.layers}) > 1:
        sizes = ", ".join(str(layer.H) for layer in network.layers)
        raise FormatError(f"NAM cannot hold layers of different sizes ({sizes}): all have one")
    if network.head is None:
        raise FormatError("NAM cannot hold a network without a head: add a linear layer, to one number for a plug-in")


def _parts(layer: Layer) -> list[Array]:
    W_ih, W_hh, b_ih, b_hh, *_ = layer.biased().directions[0]
    h, c = layer.initial[0] if layer.initial else (np.zeros(layer.H, np.float32),) * 2
    return [np.hstack([W_ih, W_hh]), b_ih + b_hh, h, c]


def _layer(weights: Array, I: int, H: int) -> tuple[Layer, Array]:
    """Return the layer at the beginning of some weights, and the weights after it."""
    W, b, h, c, rest = np.split(weights, np.cumsum([4 * H * (I + H), 4 * H, H, H]))
    W_ih, W_hh = np.split(W.reshape(4 * H, I + H), [I], axis=1)
    parts = Weights(np.ascontiguousarray(W_ih), np.ascontiguousarray(W_hh), b, np.zeros_like(b))
    return Layer("LSTM", (parts,), ((h, c),)), rest


def _without_zeros(layers: list[Layer]) -> tuple[Layer, ...]:
    """Return the layers, none with an initial state if all of these are zeros."""
    learned = any(state.any() for layer in layers for state in (layer.initial or ((),))[0])
    return tuple(layers) if learned else tuple(replace(layer, initial=None) for layer in layers)
