"""Copies of one layer in one call of the core, each with its own rows and weights or with shared ones.

The mapped axes of a call stand in front of the tensors that have them; the others are shared along them.  A copy has
the bits that it has alone (tests/core/test_models_side_by_side.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from typing import Any, NamedTuple, TypeAlias

from torch import Tensor

from unrolled.nn import checks
from unrolled.nn.fields import Call, rows, whole
from unrolled.nn.routes import Layout, by_direction, check_values, fused

#: Where a copy stands along each mapped axis.
Place: TypeAlias = tuple[int, ...]


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

    def at(self, tensors: Sequence[Tensor | None], place: Place) -> list[Any]:
        """Return the tensors of the copy at a place.

        >>> import torch
        >>> Copies((2,), ((True,), (False,))).at([torch.tensor([5, 6]), torch.tensor(7)], (1,))
        [tensor(6), tensor(7)]
        """
        return [_entry(t, place, own) for t, own in zip(tensors, self.own, strict=True)]

    def runs(self, layout: slice) -> list[list[Place]]:
        """Return the places in groups that one call of the core can serve: it has one `lengths` and one `reset`.

        >>> Copies((2, 2), ((True, False), (True, True))).runs(slice(1))
        [[(0, 0), (0, 1)], [(1, 0), (1, 1)]]
        """
        axes = [k for k in range(len(self.sizes)) if any(own[k] for own in self.own[layout])]
        found: dict[Place, list[Place]] = {}
        for place in product(*map(range, self.sizes)):
            found.setdefault(tuple(place[k] for k in axes), []).append(place)
        return list(found.values())


def _entry(t: Tensor | None, place: Place, own: tuple[bool, ...] | None = None) -> Any:
    """Return a tensor's entry for a place along those axes that it has, all of them if nothing is said."""
    if t is not None:
        for k, has in zip(place, own or (True,) * len(place), strict=True):
            t = t.select(0, k) if has else t
    return t


def forward(
    kind: str, batch_first: bool, tensors: Sequence[Tensor | None], copies: Copies, save: bool, segment: int
) -> tuple[Tensor, Tensor, Tensor | None, tuple[Tensor, ...]]:
    """Run all copies forward; if `save`, keep what backward needs.

    Args: tensors lengths, batch_sizes, reset, x, h0, c0 and the flat weights; copies: which axes they have.
    Returns: y, h_n, c_n and what was saved, each with every mapped axis in front.
    """
    tensors = _readable(tensors)
    lengths, _, _, x, *_ = tensors
    if lengths is not None or checks.is_one_hot(x):
        for place in product(*map(range, copies.sizes)):
            mine = copies.at(tensors, place)
            check_values(mine[3], by_direction(mine[6:]), Layout(batch_first, *mine[:3]))

    @cache
    def call(place: Place) -> Call:
        return _call(kind, batch_first, copies.at(tensors, place), segment if save else 0)

    one, S = call((0,) * len(copies.sizes)), copies.sizes
    like = one.weights[0][1]
    y = (like.new_empty if lengths is None else like.new_zeros)((*S, *one.rows, one.D * one.P))
    h_n = like.new_empty((*S, one.D, one.B, one.P))
    c_n = like.new_empty((*S, one.D, one.B, one.H)) if kind == "LSTM" else None
    saved: tuple[Tensor, ...] = ()
    if save:
        edges = (fused.edge_count(one.T, segment), one.B) if segment else None
        shapes = fused.saved_shapes(kind, one.rows, one.D, one.H, like.element_size(), edges)
        saved = tuple(fused._buffer(like, (*S, *shape)) for shape in shapes)

    def fields(place: Place, call: Call) -> tuple[list[int], list[int]]:
        own_y, own_h, own_c, *own_saved = (_entry(t, place) for t in (y, h_n, c_n, *saved))
        kept = fused.Saved(*own_saved) if save else None
        return [field for d in range(call.D) for field in call.net(d, own_y, own_h, own_c, kept)], []

    _run(copies, slice(3), call, fields, save and not segment)
    return y, h_n, c_n, saved


def backward(
    kind: str,
    batch_first: bool,
    tensors: Sequence[Tensor | None],
    needs: Sequence[bool],
    copies: Copies,
    segment: int,
) -> tuple[Tensor | None, ...]:
    """Run all copies back through time.

    Args: tensors dy, dh_n, dc_n, those of `forward`, y and what was saved; needs: of x, h0, c0 and the flat weights;
        copies: which axes the tensors have.
    Returns: gradients of x, h0, c0 and the flat weights, each with every mapped axis in front, None where not needed.
    """
    inputs = slice(6, 6 + len(needs))
    above = rows(tensors[0]), whole(tensors[1]), whole(tensors[2])
    y, gates, cells = tensors[inputs.stop :]
    kept = (gates, whole(cells) if segment else cells)
    tensors = [*above, *_readable(tensors[3 : inputs.stop]), y, *kept]
    first = copies.at(tensors, (0,) * len(copies.sizes))[inputs]
    like = first[4]
    wanted = list(needs)
    wanted[3:] = [any(needs[3:])] * (len(needs) - 3)  # the weight gradients come all together or not at all
    found: list[Tensor | None] = [
        like.new_zeros((*copies.sizes, *t.shape)) if w and t is not None and t.is_floating_point() else None
        for t, w in zip(first, wanted, strict=True)
    ]

    @cache
    def call(place: Place) -> Call:
        return _call(kind, batch_first, copies.at(tensors, place)[3:-3], segment)

    def fields(place: Place, call: Call) -> tuple[list[int], list[int]]:
        dy, dh_n, dc_n, *_, y, gates, cells = copies.at(tensors, place)
        dx, dh0, dc0, *dflat = (_entry(d, place) for d in found)
        nets: list[int] = []
        gradients: list[int] = []
        for d in range(call.D):
            nets += call.net(d, y, like.new_empty(0), None, fused.Saved(gates, cells))
            gradients += call.gradient(d, dy, dh_n, dc_n, dx, dh0, dc0, dflat[5 * d : 5 * d + 5])
        return nets, gradients

    _run(copies, slice(3, 6), call, fields, True)
    return tuple(d if needed else None for d, needed in zip(found, needs, strict=True))


def _call(kind: str, batch_first: bool, tensors: Sequence[Any], segment: int) -> Call:
    lengths, batch_sizes, reset, x, h0, c0, *flat = tensors
    call = Call(kind, x, h0, c0, by_direction(flat), batch_first, lengths, batch_sizes, reset)
    call.segment = segment
    return call


def _readable(tensors: Sequence[Any]) -> list[Any]:
    """Return the tensors of `forward` laid out so that no copy is moved on its way to the core."""
    lengths, batch_sizes, reset, x, *rest = tensors
    x = x if checks.is_one_hot(x) else rows(x)
    return [whole(lengths), whole(batch_sizes), reset, x, *map(whole, rest)]


def _run(
    copies: Copies,
    layout: slice,
    call: Callable[[Place], Call],
    fields: Callable[[Place, Call], tuple[list[int], list[int]]],
    keep: bool,
) -> None:
    """Hand all copies to the core, from the call at a place and its fields of struct Net and struct Gradients.

    Along an axis every address grows by the same at each step, so few places are asked.
    """

    def at(place: Place) -> list[list[int]]:
        return list(fields(place, call(place)))

    origin = (0,) * len(copies.sizes)
    first = at(origin)
    steps = []
    for k, size in enumerate(copies.sizes):
        there = at((*origin[:k], min(1, size - 1), *origin[k + 1 :]))
        steps.append([[b - a for a, b in zip(*parts, strict=True)] for parts in zip(first, there, strict=True)])
    for run in copies.runs(layout):
        nets: list[int] = []
        gradients: list[int] = []
        for place in run:
            for part, (to, numbers) in enumerate(zip((nets, gradients), first, strict=True)):
                for k, step in zip(place, steps, strict=True):
                    numbers = [n + k * grown for n, grown in zip(numbers, step[part], strict=True)]
                to += numbers
        call(run[0]).run(nets, gradients, keep, len(run))
