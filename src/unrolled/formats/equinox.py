"""Equinox: the leaves of a module as `eqx.tree_serialise_leaves` writes them, one .npy after the other, without names.

An LSTMCell has weight_ih (4*H, I), weight_hh (4*H, H) and bias (4*H); a GRUCell weight_ih (3*H, I), weight_hh (3*H, H),
bias (3*H) and bias_n (H), which r multiplies.  Gates are in torch's order.  An Embedding has weight (V, E), a Linear
weight (V, H) and bias (V).  The leaves of a module come in the order of its fields.
Source: equinox/nn/_rnn.py and equinox/_serialisation.py of Equinox 0.13; docs/deploy/flax.md.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from unrolled.config.options import listed
from unrolled.formats.arrays import next_npy, numbers
from unrolled.formats.assembly import one_layer
from unrolled.formats.network_of import FormatError, Source, network_from, refuse
from unrolled.formats.outside_files import finished, outside_bytes
from unrolled.notation import Kind, Weights
from unrolled.saved.atomic_files import write_file
from unrolled.saved.network import Head, Layer, Network

#: The cells, by the number of their gates.
_KINDS: dict[int, Kind] = {4: "LSTM", 3: "GRU"}


def to_equinox(source: Source, path: str | Path) -> None:
    """Write the leaves of a module with the fields `embed`, `cells`, a list, and `head`, each where the network has it.

    Args: what is written; the file.
    Raises: FormatError for a network that Equinox has no module for; CheckpointError if the file cannot be written.
    """
    network = network_from(source)
    refuse(
        "Equinox",
        network,
        elman="its cells are LSTMCell and GRUCell; train one of these",
        relu="its cells are LSTMCell and GRUCell; train one of these",
        two_ways="a cell makes a step, and has no direction; write each direction by itself",
        projection="its LSTM has none; train one without",
        peepholes="its LSTM has none; train one without",
        initial="no leaf of a cell holds it; save it apart and begin with it",
    )
    leaves = [] if network.embedding is None else [network.embedding]
    for layer in network.layers:
        leaves += _leaves(layer)
    if network.head is not None:
        leaves += [each for each in (network.head.W, network.head.b) if each is not None]
    buffer = io.BytesIO()
    for leaf in leaves:
        npy.write_array(buffer, leaf, allow_pickle=False)
    write_file(path, buffer.getvalue())


def from_equinox(path: str | Path) -> Network:
    """Return the network whose leaves a file holds: an Embedding or none, cells, and a Linear or none, in this order.

    Raises: FormatError if the arrays are no such leaves, or the file is damaged.
    """
    path = Path(path)
    data = outside_bytes(path)
    return finished(path, lambda: _network(str(path), [*_arrays(str(path), data)]))


def _leaves(layer: Layer) -> list[NDArray[Any]]:
    (w,) = layer.directions
    if w.b_ih is None:
        return [w.W_ih, w.W_hh]
    if layer.kind == "LSTM":
        return [w.W_ih, w.W_hh, w.b_ih + w.b_hh]
    H = layer.H
    return [w.W_ih, w.W_hh, np.concatenate([w.b_ih[: 2 * H] + w.b_hh[: 2 * H], w.b_ih[2 * H :]]), w.b_hh[2 * H :]]


def _arrays(where: str, data: bytes) -> Iterator[NDArray[Any]]:
    stream = io.BytesIO(data)
    while stream.tell() < len(data):
        place = f"{where}: leaf at byte {stream.tell():,}"
        yield numbers(place, next_npy(place, stream))


def _network(where: str, leaves: list[NDArray[Any]]) -> Network:
    """Return the network that leaves are; an embedding before the cells is one that the first of them reads."""
    plain, embedded = _cells(where, leaves, 0), _cells(where, leaves, 1)
    if embedded is not None and (leaves[0].ndim != 2 or leaves[0].shape[1] != embedded[0][0].I):
        embedded = None
    if (plain is None) == (embedded is None):
        shapes = listed([leaf.shape for leaf in leaves])
        if plain is not None:
            raise FormatError(f"{where}: leaves {shapes} fit with an Embedding and without one; use cells with biases")
        raise FormatError(
            f"{where}: leaves {shapes} are not an Embedding, LSTMCells or GRUCells, and a Linear, in this order"
        )
    layers, head = plain or embedded or ((), None)
    return Network(layers, None if plain else leaves[0], head=head)


def _cells(where: str, leaves: list[NDArray[Any]], first: int) -> tuple[tuple[Layer, ...], Head | None] | None:
    """Return the cells and the head that all leaves from one on are; None if they are none."""
    layers: list[Layer] = []
    while (gates := _gates(leaves[first : first + 2])) in _KINDS and _follows(layers, leaves[first]):
        W_ih, W_hh = leaves[first : first + 2]
        H, first = W_hh.shape[1], first + 2
        b_ih = b_hh = None
        if first < len(leaves) and leaves[first].shape == (gates * H,):
            b_ih, b_hh, first = leaves[first], np.zeros_like(leaves[first]), first + 1
            if gates == 3:
                if first == len(leaves) or leaves[first].shape != (H,):
                    return None
                b_hh[2 * H :], first = leaves[first], first + 1
        layers.append(one_layer(where, _KINDS[gates], Weights(W_ih, W_hh, b_ih, b_hh)))
    rest = leaves[first:]
    if not layers or len(rest) > 2 or [leaf.ndim for leaf in rest] != [2, 1][: len(rest)]:
        return None
    return tuple(layers), Head(rest[0], rest[1] if len(rest) == 2 else None) if rest else None


def _gates(pair: list[NDArray[Any]]) -> int:
    """Return G of two arrays (G*H, I) and (G*H, H); 0 if they are none."""
    if len(pair) < 2 or any(w.ndim != 2 or not w.size for w in pair) or len(pair[0]) != len(pair[1]):
        return 0
    stacked, H = pair[1].shape
    return stacked // H if stacked % H == 0 else 0


def _follows(layers: list[Layer], W_ih: NDArray[Any]) -> bool:
    return not layers or W_ih.shape[1] == layers[-1].H
