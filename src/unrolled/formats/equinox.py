"""Equinox: the leaves of a module as `eqx.tree_serialise_leaves` writes them, one .npy after the other, without names.

An LSTMCell has weight_ih (4*H, I), weight_hh (4*H, H) and bias (4*H); a GRUCell weight_ih (3*H, I), weight_hh (3*H, H),
bias (3*H) and bias_n (H), which r multiplies.  Gates are in torch's order.  An Embedding has weight (V, E), a Linear
weight (V, H) and bias (V).  The leaves of a module come in the order of its fields.
Source: equinox/nn/_rnn.py and equinox/_serialisation.py of Equinox 0.13; docs/deploy/flax.md.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from unrolled.config.options import listed
from unrolled.formats.arrays import next_npy, numbers
from unrolled.formats.assembly import FilePart, assembled, one_layer
from unrolled.formats.network_of import FormatError, Source, network_from, refuse
from unrolled.formats.outside_files import finished, outside_bytes
from unrolled.formats.told import Telling, Told
from unrolled.notation import Kind, Weights
from unrolled.saved.atomic_files import write_file
from unrolled.saved.network import Layer, Network

#: The cells, by the number of their gates.
_KINDS: dict[int, Kind] = {4: "LSTM", 3: "GRU"}
#: Leaves of the largest network, and ways to divide them that are looked at.
_LEAVES, _WAYS = 600, 16


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


def from_equinox(path: str | Path, **told: Unpack[Telling]) -> Network:
    """Return the network whose leaves a file holds: an Embedding or none, cells, and a Linear or none, in this order.

    Args:
        path: of the file.
        embedding, rnn, head: numbers of first leaves, "0", where several divisions of the leaves would do.
        when, softmax, one_hot: as :func:`unrolled.imports.from_torch`.
    Raises: FormatError if the arrays are no such leaves, or the file is damaged.
    """
    said = Told.of(told)
    path = Path(path)
    data = outside_bytes(path)
    return finished(path, lambda: _network(str(path), [*_arrays(str(path), data)], said))


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


def _network(where: str, leaves: list[NDArray[Any]], told: Told) -> Network:
    """Return the network that leaves are: divided in every way into cells, tables and dense layers, in this order."""
    if len(leaves) > _LEAVES:
        raise FormatError(f"{where}: has {len(leaves):,} leaves, expected {_LEAVES} at most")
    at = [[*_parts(where, leaves, first, told)] for first in range(len(leaves))]
    # In the order of the leaves each part reads what the one before it gives, unless the caller says the order.
    fitting = [] if told.rnn is not None else [*islice(_divided(at, fitting=True), _WAYS)]
    holdings = [
        parts for parts in fitting or islice(_divided(at, fitting=False), 1) if any(part.layers for part in parts)
    ]
    if not holdings:
        shapes = listed([leaf.shape for leaf in leaves])
        raise FormatError(f"{where}: leaves {shapes} are no LSTMCells or GRUCells with an Embedding and Linears")
    return assembled(where, holdings, told)


def _divided(at: list[list[tuple[FilePart, int]]], *, fitting: bool) -> Iterator[tuple[FilePart, ...]]:
    """Yield the ways in which leaves are parts; a place and a width that led to nothing are not tried again.

    Args: the parts that may begin at each leaf, with how many leaves they have; whether each part must read what the
        one before it gives.
    """
    dead: set[tuple[int, int | None]] = set()

    def after(first: int, width: int | None) -> Iterator[tuple[FilePart, ...]]:
        if first == len(at):
            yield ()
            return
        found = False
        for part, count in at[first] if (first, width) not in dead else ():
            for reads, gives in part.widths(first == 0) if fitting else [(width, width)]:
                if width in (None, reads):
                    for above in after(first + count, gives):
                        found = True
                        yield (part, *above)
        if not found:
            dead.add((first, width))

    yield from after(0, None)


def _parts(where: str, leaves: list[NDArray[Any]], first: int, told: Told) -> Iterator[tuple[FilePart, int]]:
    """Yield the parts that may begin at a leaf, each with how many leaves it has; told cells are nothing else."""
    name, (W, *more) = str(first), leaves[first : first + 4]
    gates = _gates([W, *more[:1]])
    if gates in _KINDS and told.names(name):
        H = more[0].shape[1]
        shapes = [leaf.shape for leaf in more[1:]]
        biased = [(4 * H,)] if gates == 4 else [(3 * H,), (H,)]
        if shapes[: len(biased)] == biased:
            b_ih, b_hh = more[1], np.zeros_like(more[1])
            if gates == 3:
                b_hh[2 * H :] = more[2]
            yield FilePart(name, (one_layer(where, _KINDS[gates], Weights(W, more[0], b_ih, b_hh)),)), 2 + len(biased)
        else:
            yield FilePart(name, (one_layer(where, _KINDS[gates], Weights(W, more[0])),)), 2
    if W.ndim == 2 and W.size and (told.rnn is None or not told.names(name)):
        if more and more[0].shape == (len(W),):
            yield FilePart(name, W=W, b=more[0]), 2
        else:  # one row may be a state (1, H) that was learned, unless it is told to be a head
            yield FilePart(name, W=W, is_table=True, is_dense=len(W) > 1 or name == told.head), 1


def _gates(pair: list[NDArray[Any]]) -> int:
    """Return G of two arrays (G*H, I) and (G*H, H); 0 if they are none."""
    if len(pair) < 2 or any(w.ndim != 2 or not w.size for w in pair) or len(pair[0]) != len(pair[1]):
        return 0
    stacked, H = pair[1].shape
    return stacked // H if stacked % H == 0 else 0
