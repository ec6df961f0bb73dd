"""S copies of one layer in one call of the core, each with its own rows and weights or with shared ones.

Every tensor either carries the copies on a leading axis of length S or is shared by all of them.  A copy has the bits
that it has alone (tests/core/test_models_side_by_side.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from unrolled.nn.routes import Layout, by_direction, check_values, fused


class Copies(NamedTuple):
    """How many copies there are, and which tensors of a call have one entry for each of them."""

    S: int
    stacked: tuple[bool, ...]

    def of(self, tensors: Sequence[Tensor | None], s: int) -> list[Any]:
        """Return the tensors of copy s.

        >>> import torch
        >>> Copies(2, (True, False)).of([torch.tensor([5, 6]), torch.tensor(7)], 1)
        [tensor(6), tensor(7)]
        """
        return [t[s] if own and t is not None else t for t, own in zip(tensors, self.stacked, strict=True)]


def _call(kind: str, layout: Sequence[Any], inputs: Sequence[Any]) -> fused._Call:
    x, h0, c0, *flat = inputs
    return fused._Call(kind, x, h0, c0, by_direction(flat), *layout)


def forward(
    kind: str, layout: Sequence[Any], inputs: Sequence[Tensor | None], copies: Copies, save: bool, segment: int
) -> tuple[Tensor, Tensor, Tensor | None, tuple[Tensor, ...]]:
    """Run all copies forward; if `save`, keep what backward needs.

    Args: layout (batch_first, lengths, batch_sizes, reset), shared by all copies; inputs x, h0, c0 and the flat
        weights; copies: which of the inputs have a leading S.
    Returns: y, h_n, c_n and what was saved, all with a leading S.
    """
    calls = []
    for s in range(copies.S):
        x, h0, c0, *flat = copies.of(inputs, s)
        check_values(x, by_direction(flat), Layout(*layout))
        calls.append(_call(kind, layout, (x, h0, c0, *flat)))
    one, S = calls[0], copies.S
    like = one.weights[0][1]
    y = (like.new_empty if one.lengths is None else like.new_zeros)((S, *one.rows, one.D * one.P))
    h_n = like.new_empty((S, one.D, one.B, one.P))
    c_n = like.new_empty((S, one.D, one.B, one.H)) if kind == "LSTM" else None
    saved: tuple[Tensor, ...] = ()
    if save:
        edges = (fused.edge_count(one.T, segment), one.B) if segment else None
        shapes = fused.saved_shapes(kind, one.rows, one.D, one.H, like.element_size(), edges)
        saved = tuple(fused._buffer(like, (S, *shape)) for shape in shapes)
    nets: list[int] = []
    for s, call in enumerate(calls):
        call.segment = segment if save else 0
        kept = fused.Saved(saved[0][s], saved[1][s]) if save else None
        for d in range(call.D):
            nets += call.net(d, y[s], h_n[s], None if c_n is None else c_n[s], kept)
    one.run(nets, [], save and not segment, S)
    return y, h_n, c_n, saved


def backward(
    kind: str,
    layout: Sequence[Any],
    upstream: Sequence[Tensor | None],
    inputs: Sequence[Tensor | None],
    y: Tensor,
    saved: Sequence[Tensor],
    needs: Sequence[bool],
    copies: Copies,
    segment: int,
) -> tuple[Tensor | None, ...]:
    """Run all copies back through time.

    Args: layout and inputs as in `forward`; upstream: dy, dh_n, dc_n; y and what was saved; needs: of the inputs;
        copies: which of upstream, inputs, y and saved have a leading S.
    Returns: gradients of the inputs, each with a leading S, None where not needed.
    """
    S, count, tensors = copies.S, len(inputs), (*upstream, *inputs, y, *saved)
    first = copies.of(tensors, 0)[3 : 3 + count]
    like = first[4]
    wanted = list(needs)
    wanted[3:] = [any(needs[3:])] * (count - 3)  # the weight gradients come all together or not at all
    found: list[Tensor | None] = [
        like.new_zeros((S, *t.shape)) if w and t is not None and t.is_floating_point() else None
        for t, w in zip(first, wanted, strict=True)
    ]
    nets: list[int] = []
    gradients: list[int] = []
    held = []
    for s in range(S):
        dy, dh_n, dc_n, *rest = copies.of(tensors, s)
        own_y, gates, cells = rest[count:]
        kept = fused.Saved(gates, cells.contiguous() if segment else cells)
        call = _call(kind, layout, rest[:count])
        call.segment = segment
        above = (fused._rows(dy), fused._whole(dh_n), fused._whole(dc_n))
        dx, dh0, dc0, *dflat = (None if d is None else d[s] for d in found)
        for d in range(call.D):
            nets += call.net(d, own_y, like.new_empty(0), None, kept)
            gradients += call.gradient(d, *above, dx, dh0, dc0, dflat[5 * d : 5 * d + 5])
        held.append((call, kept, above))  # the core has their addresses
    held[0][0].run(nets, gradients, True, S)
    return tuple(d if needed else None for d, needed in zip(found, needs, strict=True))
