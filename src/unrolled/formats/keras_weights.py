"""The arrays of a Keras model in HDF5, and what can be seen from them alone."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.formats.assembly import FilePart, assembled, kind_of, natural, one_layer
from unrolled.formats.gate_orders import reordered
from unrolled.formats.hdf5 import Hdf5
from unrolled.formats.network_of import FormatError
from unrolled.formats.told import Told
from unrolled.notation import Kind, Weights, gate_count
from unrolled.saved.network import Layer, Network

#: Why a GRU with reset_after=False cannot be one of ours.
RESET_BEFORE = "r multiplies h before W_hn, which no layer here does; train it with reset_after=True"


def cell(weights: Hdf5, place: str, kind: Kind | None = None) -> Layer:
    """Return the layer of one direction whose arrays lie at a place; its kind is seen from their shapes if left out."""
    where = f"{weights.where}: {place}"
    kernel, recurrent = (weights.array(f"{place}/vars/{k}") for k in (0, 1))
    bias = weights.array(f"{place}/vars/2") if weights.has(f"{place}/vars/2") else None
    if kernel.ndim != 2 or recurrent.ndim != 2 or kernel.shape[1] != recurrent.shape[1]:
        raise FormatError(
            f"{where}: its kernels are {kernel.shape} and {recurrent.shape}, expected (I, G*H) and (H, G*H)"
        )
    seen = kind_of(where, recurrent)
    if kind is not None and gate_count(kind) != gate_count(seen):
        raise FormatError(f"{where}: its recurrent kernel is {recurrent.shape}, expected (H, G*H) of a {kind}")
    kind = kind or seen
    b_ih, b_hh = _biases(where, kind, bias, kernel.shape[1])
    turned = [None if w is None else reordered(w, kind, "keras", "torch") for w in (kernel.T, recurrent.T, b_ih, b_hh)]
    return one_layer(where, kind, Weights(*turned))


def dense(weights: Hdf5, place: str) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return W (V, H) and b (V), if there is one, of a dense layer."""
    kernel = weights.array(f"{place}/vars/0")
    if kernel.ndim != 2:
        raise FormatError(f"{weights.where}: {place} has a kernel {kernel.shape}, expected (H, V)")
    return kernel.T, weights.array(f"{place}/vars/1") if weights.has(f"{place}/vars/1") else None


def only_weights(weights: Hdf5, told: Told) -> Network:
    """Return the network that a file of weights is, in so far as they show it."""
    if not weights.has("layers"):
        raise FormatError(f"{weights.where}: has no group layers; expected weights of Keras 3, saved as .weights.h5")
    parts, others = [], []
    for name in sorted(weights.names("layers"), key=natural):
        place, stem, series = f"layers/{name}", _stem(name), _counted(name)
        if not any(True for _ in weights.arrays(place)):
            continue  # one that has no weights, and acts in training alone
        if stem == "embedding":
            E = weights.array(f"{place}/vars/0")
            if E.ndim != 2:
                raise FormatError(f"{weights.where}: {place} is {E.shape}, expected (V, E)")
            parts.append(FilePart(name, W=E, is_table=True, is_dense=False, series=series))
        elif stem in ("dense", "time_distributed"):
            W, b = dense(weights, place if stem == "dense" else f"{place}/layer")
            parts.append(FilePart(name, W=W, b=b, series=series))
        elif stem in ("lstm", "gru", "simple_rnn", "rnn"):
            stacked = sorted(weights.names(f"{place}/cell/cells"), key=natural)
            layers = {each: cell(weights, f"{place}/cell/cells/{each}") for each in stacked}
            if len({_stem(each) for each in stacked}) > 1:  # nothing says the order of several kinds
                parts += (
                    FilePart(f"{name}/{each}", (layer,), series=f"{name}/{_counted(each)}")
                    for each, layer in layers.items()
                )
            else:
                found = tuple(layers.values()) or (cell(weights, f"{place}/cell"),)
                parts.append(FilePart(name, found, series=series))
        elif stem == "bidirectional":
            ways = [cell(weights, f"{place}/{way}_layer/cell") for way in ("forward", "backward")]
            parts.append(FilePart(name, (Layer(ways[0].kind, ways[0].directions + ways[1].directions),), series=series))
        else:
            others.append(name)
    return assembled(weights.where, [parts], told, others)


def _stem(name: str) -> str:
    return re.sub(r"_\d+$", "", name)


def _counted(name: str) -> str:
    """Return the name of a layer with its number; the first of a class has none in Keras."""
    return f"{name}_0" if name == _stem(name) else name


def _biases(where: str, kind: Kind, bias: NDArray[Any] | None, stacked: int) -> tuple[Any, Any]:
    """Return b_ih and b_hh (G*H), None if there are none."""
    if bias is None:
        return None, None
    if kind == "GRU" and bias.ndim == 1:
        raise FormatError(f"{where}: its bias is {bias.shape}, so reset_after is False: {RESET_BEFORE}")
    expected = (2, stacked) if kind == "GRU" else (stacked,)
    if bias.shape != expected:
        raise FormatError(f"{where}: its bias is {bias.shape}, expected {expected}")
    return tuple(bias) if kind == "GRU" else (bias, np.zeros_like(bias))
