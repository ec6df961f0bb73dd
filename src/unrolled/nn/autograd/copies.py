"""Copies of one layer in one call of the core, each with its own rows and weights or with shared ones.

The mapped axes of a call stand in front of the tensors that have them; the others are shared along them.  A copy has
the bits that it has alone (tests/nn/test_vmap_bits.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import Any, NamedTuple

from torch import Tensor

from unrolled.core.fields import GradientTensors, LayerTensors, Layout, Weights
from unrolled.nn import fit, fused
from unrolled.nn.autograd.flat import WEIGHTS_AT, FlatTensors, by_direction


class Copies(NamedTuple):
    """How many copies there are along each mapped axis, and which of these axes each tensor of a call has."""

    sizes: tuple[int, ...] = ()
    own: tuple[tuple[bool, ...], ...] = ()

    def mapped(self, S: int, dims: Sequence[int | None]) -> Copies:
        """Return these copies S times, along an axis outside of the others that some of the tensors have.

        >>> Copies((2,), ((True,), (False,))).mapped(3, (None, 0))
        Copies(sizes=(3, 2), own=((False, True), (True, False)))
        """
        own = self.own or ((),) * len(dims)
        return Copies((S, *self.sizes), tuple((d is not None, *o) for d, o in zip(dims, own, strict=True)))

    def each(self, tensors: FlatTensors) -> list[tuple[Any, ...]]:
        """Return the tensors of each copy, the last axis counting fastest.

        >>> import torch
        >>> Copies((2,), ((True,), (False,))).each([torch.tensor([5, 6]), torch.tensor(7)])
        [(tensor(5), tensor(7)), (tensor(6), tensor(7))]
        """
        return list(zip(*(_entries(t, self.sizes, own) for t, own in zip(tensors, self.own, strict=True)), strict=True))

    def each_result(self, results: FlatTensors) -> Iterator[tuple[Any, ...]]:
        """Return the same of results, which have all axes."""
        return zip(*(_entries(t, self.sizes, (True,) * len(self.sizes)) for t in results), strict=True)

    def runs(self, layout: slice) -> list[list[int]]:
        """Return the copies in groups that one call of the core can serve: it has one `lengths` and one `reset`.

        >>> Copies((2, 2), ((True, False), (True, True))).runs(slice(1))
        [[0, 1], [2, 3]]
        """
        axes = [k for k in range(len(self.sizes)) if any(own[k] for own in self.own[layout])]
        found: dict[tuple[int, ...], list[int]] = {}
        for copy, place in enumerate(product(*map(range, self.sizes))):
            found.setdefault(tuple(place[k] for k in axes), []).append(copy)
        return list(found.values())


def _entries(t: Tensor | None, sizes: Sequence[int], own: Sequence[bool]) -> list[Any]:
    """Return a tensor's entry for each copy, along those axes that it has."""
    if t is None or not any(own):
        return [t] * prod(sizes)
    entries = [t]
    for size, has in zip(sizes, own, strict=True):
        entries = [e for entry in entries for e in (entry.unbind(0) if has else [entry] * size)]
    return entries


def _layer(inputs: Sequence[Any], weights: Sequence[Weights], results: Sequence[Any]) -> LayerTensors:
    x, h_0, c_0, *reset_state = inputs
    y, h_n, c_n, gates, cells = (*results, None, None)[:5]
    return LayerTensors(x, h_0, c_0, weights, y, h_n, c_n, gates, cells, *reset_state)


def forward(
    kind: str, batch_first: bool, tensors: FlatTensors, copies: Copies, save: bool, segment: int
) -> tuple[Tensor | None, ...]:
    """Run all copies forward; with `save`, save what backward needs.

    Args: tensors lengths, batch_sizes, reset and the flat ones; copies: which axes they have.
    Returns: y, h_n, c_n and what was saved, each with every mapped axis in front.
    """
    end = 3 + WEIGHTS_AT
    each = [(Layout(batch_first, *own[:3]), own[3:end], by_direction(own[end:])) for own in copies.each(tensors)]
    for layout, (x, *_), weights in each:
        fit.values(x, weights, layout)
    layout, (x, *_), weights = each[0]
    y, h_n, c_n, saved = fused.results(kind, layout, x, weights, save, segment, copies.sizes)
    results = list(copies.each_result((y, h_n, c_n, *(saved or ()))))
    for run in copies.runs(slice(3)):
        layers = [_layer(*each[k][1:], results[k]) for k in run]
        fused.run(kind, each[run[0]][0], layers, [], save, segment)
    return y, h_n, c_n, *(saved or ())


def backward(
    kind: str, batch_first: bool, tensors: FlatTensors, needs: Sequence[bool], copies: Copies, segment: int
) -> tuple[Tensor | None, ...]:
    """Backpropagate through all copies.

    Args: tensors dy, dh_n, dc_n, those of `forward`, y and what was saved; needs: of the flat tensors; copies: which
        axes the tensors have.
    Returns: gradients of the flat tensors, each with every mapped axis in front, None where not needed.
    """
    each = copies.each(tensors)
    wanted = list(needs)
    wanted[WEIGHTS_AT:] = [any(needs[WEIGHTS_AT:])] * (len(needs) - WEIGHTS_AT)  # all or none
    found = [
        t.new_zeros((*copies.sizes, *t.shape)) if w and t is not None and t.is_floating_point() else None
        for t, w in zip(each[0][6 : 6 + len(needs)], wanted, strict=True)
    ]
    own = list(copies.each_result(found))
    for run in copies.runs(slice(3, 6)):
        layers, gradients = [], []
        for k in run:
            (dy, dh_n, dc_n), flat, (y, gates, cells) = each[k][:3], each[k][6:-3], each[k][-3:]
            dx, dh_0, dc_0, *dreset = own[k][:WEIGHTS_AT]
            dweights = by_direction(own[k][WEIGHTS_AT:]) if wanted[WEIGHTS_AT] else None
            inputs, weights = flat[:WEIGHTS_AT], by_direction(flat[WEIGHTS_AT:])
            layers.append(_layer(inputs, weights, (y, None, None, gates, cells)))
            gradients.append(GradientTensors(dy, dh_n, dc_n, dx, dh_0, dc_0, dweights, *dreset))
        fused.run(kind, Layout(batch_first, *each[run[0]][3:6]), layers, gradients, True, segment)
    return tuple(d if needed else None for d, needed in zip(found, needs, strict=True))
