"""The compiled core in eager autograd: one Function for a layer, one for a step of a cell.

Derivatives of derivatives are those of the equations in reference.py, which autograd can follow to any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from unrolled.core.fields import Layout
from unrolled.nn import fused
from unrolled.nn.autograd import func
from unrolled.nn.autograd.flat import (
    LAYOUT,
    WEIGHTS_AT,
    FlatTensors,
    by_direction,
    core_backward,
    intact_tensors,
    saved_tensors,
    unpack,
    walkable,
)
from unrolled.nn.layout import STEP
from unrolled.nn.reach import core_reads
from unrolled.nn.reference import ZEROS, LayerResult

_saved_tensor_hooks = torch._C._autograd._top_saved_tensors_default_hooks
#: In half the time that it takes as a method of a Parameter.
_detach = torch._C.TensorBase.detach


@walkable
class Eager(Function):
    """A layer: torch takes a Function without setup_context in a quarter of the time of one that torch.func needs."""

    @staticmethod
    def forward(
        ctx: Any,
        kind: str,
        layout: Layout,
        trace: bool,
        segment: int,
        x: Tensor,
        h_0: Tensor | None,
        c_0: Tensor | None,
        h_reset: Tensor | None,
        c_reset: Tensor | None,
        *flat: Any,
    ) -> LayerResult:
        """Return what `reference.layer` returns."""
        weights, inputs = by_direction(flat), (x, h_0, c_0, h_reset, c_reset, *flat)
        tensors = fused.forward(kind, layout, x, h_0, c_0, weights, True, segment, (h_reset, c_reset))
        # The layout too: autograd then notices if somebody writes to a tensor of it before the backward pass.
        # Nobody notices writes to what hooks keep.
        y = tensors.y if _saved_tensor_hooks(True) is None else tensors.y.clone()
        ctx.save_for_backward(*layout[1:], *inputs, y, tensors.gates, tensors.cells)
        ctx.kind, ctx.batch_first, ctx.segment, ctx.count = kind, layout.batch_first, segment, len(inputs)
        ctx.read = _as_read(inputs)
        ctx.set_materialize_grads(False)
        saved = (tensors.gates, tensors.cells)
        gates = fused.recorded(kind, layout, saved, weights[0].W_hh, copied=True) if trace else None
        return tensors.y, tensors.h_n, tensors.c_n, gates

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        """Return gradients of the arguments of forward."""

        def again(given: Sequence[Any]) -> Sequence[Any]:
            layout, flat = Layout(ctx.batch_first, *given[:LAYOUT]), ctx.read or given[LAYOUT:]
            (x, h_0, c_0, *reset_state), weights = flat[:WEIGHTS_AT], by_direction(flat[WEIGHTS_AT:])
            tensors = fused.forward(ctx.kind, layout, x, h_0, c_0, weights, True, ctx.segment, reset_state)
            return tensors.y, tensors.gates, tensors.cells

        layout, inputs, y, saved = unpack(ctx.batch_first, ctx.count, intact_tensors(ctx, LAYOUT + ctx.count, again))
        needs = ctx.needs_input_grad[4:]
        found = _gradients(ctx.kind, layout, inputs, ctx.read, y, saved, upstream[:3], needs, ctx.segment)
        return None, None, None, None, *found


@walkable
class EagerStep(Function):
    """One step of a cell, x (B, I), h_0 and c_0 (B, H); the time axis is added inside."""

    @staticmethod
    def forward(ctx: Any, kind: str, x: Tensor, h_0: Tensor | None, c_0: Tensor | None, *flat: Any) -> Any:
        """Return h and c, or None in its place."""
        x_1, h_1, c_1 = map(_with_time, (x, h_0, c_0))
        tensors = fused.forward(kind, STEP, x_1, h_1, c_1, by_direction(flat), True)  # type: ignore[arg-type]
        ctx.save_for_backward(x, h_0, c_0, *flat, tensors.y, tensors.gates, tensors.cells)
        ctx.kind, ctx.read = kind, _as_read((x_1, h_1, c_1, *ZEROS, *flat))
        ctx.set_materialize_grads(False)
        # Not views: nobody may write into a view that a Function returns.
        return tensors.h_n.squeeze_(0), None if tensors.c_n is None else tensors.c_n.squeeze_(0)

    @staticmethod
    def backward(ctx: Any, dh: Any, dc: Any) -> Any:
        """Return gradients of the arguments of forward."""
        x, h_0, c_0, *rest = saved_tensors(ctx)
        *flat, y, gates, cells = rest
        inputs = (*map(_with_time, (x, h_0, c_0)), *ZEROS, *flat)
        upstream = (None, _with_time(dh), _with_time(dc))
        _, *needed = ctx.needs_input_grad
        needs = (*needed[:3], False, False, *needed[3:])
        found = _gradients(ctx.kind, STEP, inputs, ctx.read, y, (gates, cells), upstream, needs, 0)
        return None, *(None if d is None else d[0] for d in found[:3]), *found[WEIGHTS_AT:]


def _bare(function: type[Function]) -> Any:
    """Return the `apply` of a Function without the search for what torch.func left behind, which the core refuses."""
    return super(Function, function).apply  # type: ignore[misc]


apply_layer, apply_step = _bare(Eager), _bare(EagerStep)


def _with_time(t: Tensor | None) -> Tensor | None:
    return None if t is None else t.unsqueeze(0)


def _as_read(inputs: FlatTensors) -> list[Any] | None:
    """Return tensors as they are now, for the ``.data`` of one may be another before the backward pass.

    None where hooks keep what is saved; it is theirs then.
    """
    return [None if t is None else _detach(t) for t in inputs] if _saved_tensor_hooks(True) is None else None


def _is_same(there: Tensor | None, read: Tensor | None) -> bool:
    if there is None or read is None:
        return there is read
    return there.data_ptr() == read.data_ptr() and there.stride() == read.stride() and there.dtype == read.dtype


def _gradients(
    kind: str,
    layout: Layout,
    inputs: FlatTensors,
    read: FlatTensors | None,
    y: Tensor,
    saved: Sequence[Tensor],
    upstream: FlatTensors,
    needs: Sequence[bool],
    segment: int,
) -> tuple[Tensor | None, ...]:
    """Return gradients of the inputs, from the core where it may be reached and nobody differentiates them again.

    Args: read: the inputs as the forward pass read them, None if nobody can have replaced them.
    """
    if not torch.is_grad_enabled() and core_reads(*upstream):
        try:
            return core_backward(kind, layout, read or inputs, y, saved, upstream, needs, segment)
        except fused.Unreadable:
            pass
    if read is not None and not all(map(_is_same, inputs, read)):
        raise RuntimeError(
            "the .data of an input or a weight was replaced after the forward pass, and second derivatives need it; "
            "replace it after the backward pass"
        )
    call = func.Call(kind, layout.batch_first, segment, True, len(inputs), tuple(needs))
    return func.apply(func.LayerGradient, call, *upstream, *layout[1:], *inputs, y, *saved)  # type: ignore[no-any-return]
