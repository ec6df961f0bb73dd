"""How eager autograd learns of the compiled core, and what all routes share: one forward and one backward.

A route never computes.  It hands tensors to fused.py and keeps for the backward pass what that wants to keep.
Derivatives of derivatives are those of the equations in reference.py, which autograd can follow to any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.autograd import Function

from unrolled.nn import checks, reference
from unrolled.nn.fake_tensors import PLAIN
from unrolled.nn.reference import DirectionWeights, LayerResult, Trace
from unrolled.notation import gate_count

try:
    from unrolled.nn import fused as fused
except ImportError:  # the compiled core is not built: the equations still run
    fused = None  # type: ignore[assignment]

#: W_ih, W_hh, b_ih, b_hh, W_hr of each direction in turn: autograd wants its tensors in one row.
FlatWeights: TypeAlias = Sequence[Tensor | None]
#: What the core keeps for the backward pass.
Saved: TypeAlias = tuple[Tensor, ...]
#: Gradients of x, h0, c0 and the flat weights, or of y, h_n and c_n; None where nobody asks or nothing flows.
Gradients: TypeAlias = tuple[Tensor | None, ...]


class Layout(NamedTuple):
    """How the rows of a sequence lie in memory, where they end and where the state returns; see `reference.layer`."""

    batch_first: bool
    lengths: Tensor | None
    batch_sizes: Tensor | None
    reset: Tensor | None


#: The layout of one step of a batch: (1, B, I).
STEP = Layout(batch_first=False, lengths=None, batch_sizes=None, reset=None)


def by_direction(flat: FlatWeights) -> tuple[DirectionWeights, ...]:
    """Return flat weights as one tuple of five for each direction.

    >>> W = torch.ones(1, 1)
    >>> [len(direction) for direction in by_direction([W, W, None, None, None] * 2)]
    [5, 5]
    """
    return tuple(tuple(flat[k : k + 5]) for k in range(0, len(flat), 5))  # type: ignore[misc]


def check_values(x: Tensor, weights: Sequence[DirectionWeights], layout: Layout) -> None:
    """Raise if a length or a one-hot index is out of range; this reads the values, so they must be there.

    >>> W = torch.zeros(4, 3)
    >>> check_values(torch.tensor([[0], [2]]), [(W, W, None, None, None)], Layout(False, None, None, None))
    """
    if layout.lengths is not None:
        checks.length_range(layout.lengths, x.shape[int(layout.batch_first)])
    if checks.is_one_hot(x):
        checks.one_hot_range(x, weights[0][0].shape[1], layout.lengths, layout.batch_first)


def forward(
    kind: str,
    layout: Layout,
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    weights: Sequence[DirectionWeights],
    save: bool,
    segment: int = 0,
) -> tuple[Tensor, Tensor, Tensor | None, Saved]:
    """Run the core forward; if `save`, keep what its backward pass needs and, in segments, cannot compute again."""
    check_values(x, weights, layout)
    batch_first, lengths, batch_sizes, reset = layout  # spelled out: this is the path of the smallest calls
    y, h_n, c_n, saved = fused.forward(
        kind, x, h0, c0, weights,
        batch_first=batch_first, lengths=lengths, batch_sizes=batch_sizes, reset=reset, save=save, segment=segment,
    )  # fmt: skip
    return y, h_n, c_n, saved or ()


def recorded(kind: str, layout: Layout, saved: Sequence[Tensor], W_hh: Tensor) -> Trace:
    """Return the trace of a layer, (D, *rows, H) by name: views of what the core saved, zero past the end of a row."""
    gates, cells = (s.detach() for s in saved)
    trace = fused.trace(kind, fused.Saved(gates, cells), W_hh.shape[0] // gate_count(kind))
    if layout.lengths is not None:
        T = gates.shape[2 if layout.batch_first else 1]
        here = reference.alive(layout.lengths, T, layout.batch_first)[..., None]
        trace = {name: torch.where(here, gate, 0) for name, gate in trace.items()}
    return trace


def backward(
    kind: str,
    layout: Layout,
    inputs: Sequence[Tensor | None],
    y: Tensor,
    saved: Saved,
    upstream: Gradients,
    needs: Sequence[bool],
    segment: int,
) -> Gradients:
    """Run the core backward: gradients of x, h0, c0 and the flat weights, for those of y, h_n and c_n."""
    x, h0, c0, *flat = inputs
    assert x is not None
    dx, dh0, dc0, dweights = fused.backward(
        kind, fused.Saved(*saved), x, h0, c0, by_direction(flat), y, *upstream,
        **layout._asdict(), needs=(needs[0], needs[1], needs[2], any(needs[3:])), segment=segment,
    )  # fmt: skip
    gradients = (dx, dh0, dc0, *(dw for direction in dweights for dw in direction))
    return tuple(d if needed else None for d, needed in zip(gradients, needs, strict=True))


def equations_backward(
    kind: str, layout: Layout, inputs: Sequence[Tensor | None], upstream: Gradients, needs: Sequence[bool]
) -> Gradients:
    """Return what `backward` returns, as torch operations that can be differentiated again."""
    wanted = [k for k, needed in enumerate(needs) if needed]
    flowing = [k for k, d in enumerate(upstream) if d is not None]

    def outputs(*varied: Tensor) -> tuple[Tensor, ...]:
        full = list(inputs)
        for k, value in zip(wanted, varied, strict=True):
            full[k] = value
        x, h0, c0, *flat = full
        assert x is not None
        results = reference.layer(kind, x, h0, c0, by_direction(flat), **layout._asdict())
        return tuple(results[k] for k in flowing)  # type: ignore[misc]

    _, pull_back = torch.func.vjp(outputs, *(inputs[k] for k in wanted))  # type: ignore[misc]
    found = dict(zip(wanted, pull_back(tuple(upstream[k] for k in flowing)), strict=True))
    return tuple(found.get(k) for k in range(len(inputs)))


class Eager(Function):
    """Eager autograd.  This style of Function costs a quarter of the one that torch.func needs."""

    @staticmethod
    def forward(
        ctx: Any,
        kind: str,
        layout: Layout,
        trace: bool,
        segment: int,
        x: Tensor,
        h0: Tensor | None,
        c0: Tensor | None,
        *flat: Any,
    ) -> LayerResult:
        """Return what `reference.layer` returns."""
        y, h_n, c_n, saved = forward(kind, layout, x, h0, c0, by_direction(flat), True, segment)
        # The layout too: autograd then sees it if somebody writes to a tensor of it before the backward pass.
        ctx.save_for_backward(*layout[1:], x, h0, c0, *flat, y, *saved)
        ctx.kind, ctx.batch_first, ctx.segment, ctx.count = kind, layout.batch_first, segment, 3 + len(flat)
        ctx.set_materialize_grads(False)
        return y, h_n, c_n, recorded(kind, layout, saved, by_direction(flat)[0][1]) if trace else None

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        """Return gradients of the arguments of forward."""
        layout, inputs, y, saved = unpack(ctx.batch_first, ctx.count, ctx.saved_tensors)
        needs = ctx.needs_input_grad[4:]
        return None, None, None, None, *_eager(ctx.kind, layout, inputs, y, saved, upstream[:3], needs, ctx.segment)


class EagerStep(Function):
    """The same for one step of a cell: x (B, I), h0 and c0 (B, H); the axis of time is none of autograd's business."""

    @staticmethod
    def forward(ctx: Any, kind: str, x: Tensor, h0: Tensor | None, c0: Tensor | None, *flat: Any) -> Any:
        """Return h and c, or None in its place."""
        x_1, h0_1, c0_1 = map(_with_time, (x, h0, c0))
        y, h_n, c_n, saved = forward(kind, STEP, x_1, h0_1, c0_1, (flat,), True)  # type: ignore[arg-type]
        ctx.save_for_backward(x, h0, c0, *flat, y, *saved)
        ctx.kind = kind
        ctx.set_materialize_grads(False)
        return h_n[0], None if c_n is None else c_n[0]

    @staticmethod
    def backward(ctx: Any, dh: Any, dc: Any) -> Any:
        """Return gradients of the arguments of forward."""
        x, h0, c0, *rest = ctx.saved_tensors
        flat, y, saved = rest[:5], rest[5], tuple(rest[6:])
        inputs, upstream = (*map(_with_time, (x, h0, c0)), *flat), (None, _with_time(dh), _with_time(dc))
        dx, dh0, dc0, *dflat = _eager(ctx.kind, STEP, inputs, y, saved, upstream, ctx.needs_input_grad[1:], 0)
        return None, *(None if d is None else d[0] for d in (dx, dh0, dc0)), *dflat


def _with_time(t: Tensor | None) -> Tensor | None:
    return None if t is None else t.unsqueeze(0)


def _eager(
    kind: str,
    layout: Layout,
    inputs: Sequence[Tensor | None],
    y: Tensor,
    saved: Saved,
    upstream: Gradients,
    needs: Sequence[bool],
    segment: int,
) -> Gradients:
    """Return gradients of the inputs, by the core where it can."""
    # create_graph=True: somebody will differentiate this again.  Gradients of another type may wrap their values.
    if torch.is_grad_enabled() or not PLAIN.issuperset(map(type, upstream)):
        return equations_backward(kind, layout, inputs, upstream, needs)
    return backward(kind, layout, inputs, y, saved, upstream, needs, segment)


def unpack(batch_first: bool, count: int, rest: Any) -> tuple[Layout, list[Any], Any, Saved]:
    """Return layout, inputs (count), y and what the core saved from the tensors that a route kept."""
    lengths, batch_sizes, reset, *tensors = rest
    layout = Layout(batch_first, lengths, batch_sizes, reset)
    return layout, tensors[:count], (*tensors[count:], None)[0], tuple(tensors[count + 1 :])
