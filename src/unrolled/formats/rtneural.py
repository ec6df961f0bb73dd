"""RTNeural's JSON, which audio plug-ins load: LSTM and GRU layers, and a dense layer after them.

`in_shape` and each layer's `shape` end with a width.  Weights are those of Keras: matrices (inputs, gates), an LSTM's
columns in the order i f g o with one bias, a GRU's in the order z r n with a row of biases for each of W_ih and W_hh;
a dense layer's (inputs, outputs), and a bias.  `activation` of a dense layer is "" or its activation.
Source: RTNeural, python/model_utils.py and RTNeural/model_loader.h.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from unrolled.config.checks import LARGEST
from unrolled.config.options import brief
from unrolled.formats.gate_orders import reordered
from unrolled.formats.json_numbers import decimals, numbers, read_json, write_json
from unrolled.formats.network_of import FormatError, Source, network_from, refuse, refuse_not_finite
from unrolled.formats.outside_files import finished
from unrolled.notation import Kind, Weights, gate_count
from unrolled.saved.network import Head, Layer, Network

Array = NDArray[Any]

_KINDS: dict[str, Kind] = {"lstm": "LSTM", "gru": "GRU"}
_NO_RNN = "the library has LSTM and GRU layers; train one of these"


def to_rtneural(source: Source, path: str | Path) -> None:
    """Write a network of vectors as JSON that RTNeural loads, dynamically or into a type.

    Raises: FormatError if the format cannot hold the network, before anything is written.
    """
    network = network_from(source)
    _check(network)
    layers = [_recurrent(layer) for layer in network.layers]
    if network.head is not None:
        V = len(network.head.W)
        b = np.zeros(V, network.dtype) if network.head.b is None else network.head.b
        layers.append(_layer("dense", "softmax" if network.head.softmax else "", V, [network.head.W.T, b]))
    write_json(path, {"in_shape": [None, None, network.I], "layers": layers})


def from_rtneural(path: str | Path) -> Network:
    """Return the network of a JSON file of RTNeural, in float32.

    Raises: FormatError if the file is damaged, or has a layer that no network has; the message names its place.
    """
    return finished(Path(path), lambda: _network(Path(path), read_json(Path(path), _File)))


def _network(path: Path, file: _File) -> Network:
    for name in ("in_skip", "in_gain", "out_gain"):
        if (value := getattr(file, name)) not in (0, None):
            raise FormatError(
                f"{path}: {name} is {brief(value)}, which players apply and no network here does; give it 0"
            )
    width, layers, head = _width(file.in_shape, f"{path}: in_shape"), list[Layer](), None
    for number, each in enumerate(file.layers):
        where = f"{path}: layer {number}, {brief(each.type)},"
        if each.type in _KINDS and head is None:
            layers.append(_read_recurrent(each, width, where))
        elif each.type in ("dense", "time-distributed-dense") and layers and head is None:
            head = _read_dense(each, width, where)
        elif each.type == "activation" and each.activation == "softmax" and head is not None and not head.softmax:
            head = replace(head, softmax=True)
        else:
            raise FormatError(
                f"{where} is not expected here: lstm and gru layers come first, then one dense and its softmax"
            )
        width = _width(each.shape, f"{where} shape")
    if not layers:
        raise FormatError(f"{path}: has no lstm or gru layer")
    return Network(tuple(layers), head=head)


class _Layer(msgspec.Struct):
    type: str
    shape: list[Any]
    weights: Any = None
    activation: str = ""


class _File(msgspec.Struct):
    in_shape: list[Any]
    layers: list[_Layer]
    in_skip: Any = 0  # what players add to such files: the input added to the output, and gains in decibels
    in_gain: Any = 0
    out_gain: Any = 0


def _check(network: Network) -> None:
    refuse(
        "RTNeural",
        network,
        elman=_NO_RNN,
        relu=_NO_RNN,
        two_ways="it steps, and knows only what came before",
        projection="its layers give all units",
        initial="it starts from zeros",
        peepholes="its gates see only h",
        symbols="it reads vectors, and its file has no place for a vocabulary",
        last="it gives an output each step",
    )
    refuse_not_finite("RTNeural", network)


def _recurrent(layer: Layer) -> dict[str, Any]:
    weights = layer.biased().directions[0]
    W_ih, W_hh, b_ih, b_hh = (reordered(w, layer.kind, "torch", "keras") for w in weights[:4])
    b = np.stack([b_ih, b_hh]) if layer.kind == "GRU" else b_ih + b_hh
    return _layer(layer.kind.lower(), "tanh", layer.H, [W_ih.T, W_hh.T, b])


def _layer(type: str, activation: str, width: int, weights: list[Array]) -> dict[str, Any]:
    return {
        "type": type,
        "activation": activation,
        "shape": [None, None, width],
        "weights": [decimals(w) for w in weights],
    }


def _read_recurrent(each: _Layer, I: int, where: str) -> Layer:
    kind, H = _KINDS[each.type], _width(each.shape, f"{where} shape")
    if each.activation not in ("", "tanh"):
        raise FormatError(f"{where} has the activation {brief(each.activation)}, expected tanh")
    rows = gate_count(kind) * H
    W_ih, W_hh, b = _weights(each, [(I, rows), (H, rows), (2, rows) if kind == "GRU" else (rows,)], where)
    b_ih, b_hh = b if kind == "GRU" else (b, np.zeros_like(b))
    parts = (W_ih.T, W_hh.T, b_ih, b_hh)
    return Layer(kind, (Weights(*(reordered(w, kind, "keras", "torch") for w in parts)),))


def _read_dense(each: _Layer, P: int, where: str) -> Head:
    V = _width(each.shape, f"{where} shape")
    if each.activation not in ("", "softmax"):
        raise FormatError(f"{where} has the activation {brief(each.activation)}; a head has none, or softmax")
    W, b = _weights(each, [(P, V), (V,)], where)
    return Head(np.ascontiguousarray(W.T), b, softmax=each.activation == "softmax")


def _weights(each: _Layer, shapes: list[tuple[int, ...]], where: str) -> list[NDArray[np.float32]]:
    if type(each.weights) is not list or len(each.weights) != len(shapes):
        raise FormatError(f"{where} weights are no list of {len(shapes)} arrays")
    return [
        numbers(w, shape, f"{where} weights[{k}]")
        for k, (w, shape) in enumerate(zip(each.weights, shapes, strict=True))
    ]


def _width(shape: list[Any], where: str) -> int:
    if not shape or type(shape[-1]) is not int or not 1 <= shape[-1] <= LARGEST:
        raise FormatError(f"{where} does not end with a width of 1 to {LARGEST}")
    return int(shape[-1])
