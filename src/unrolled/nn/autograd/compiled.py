"""The compiled core as a registered operator, for calls that are traced: torch.compile, torch.export, fake tensors.

The schema has no None among its results, so an absent c_n and gradients nobody asked for are empty tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.core.fields import Layout, Weights
from unrolled.nn import checks, fit, fused
from unrolled.nn.autograd.flat import WEIGHTS_AT, FlatTensors, by_direction, core_backward
from unrolled.nn.reference import LayerResult, ResetState
from unrolled.notation import gate_count, has_cell_state

_LAYOUT = "bool batch_first, Tensor? lengths, Tensor? batch_sizes, Tensor? reset"
# Autograd differentiates a Tensor[] but not a Tensor?[], so absent weights are left out and `present` says which.
_INPUTS = "Tensor x, Tensor? h_0, Tensor? c_0, Tensor? h_reset, Tensor? c_reset, int[] present, Tensor[] weights"
_library: Any = torch.library.Library("unrolled", "DEF")  # type: ignore[no-untyped-call]
_library.define(
    f"layer(str kind, {_LAYOUT}, {_INPUTS}, SymInt segment, bool save) -> (Tensor, Tensor, Tensor, Tensor[])"
)
_library.define(
    f"layer_backward(str kind, {_LAYOUT}, {_INPUTS}, Tensor y, Tensor[] saved, "
    "Tensor? dy, Tensor? dh_n, Tensor? dc_n, SymInt segment, bool[] needs) -> Tensor[]"
)
# torch.cat of a stack's last states, as one node: it would be all that inductor has to hand to a C++ compiler.
_library.define("cat(Tensor[] parts) -> Tensor")


def run_traced(
    kind: str,
    layout: Layout,
    x: Tensor,
    h_0: Tensor | None,
    c_0: Tensor | None,
    flat: FlatTensors,
    save: bool,
    trace: bool,
    segment: int,
    reset_state: ResetState,
) -> LayerResult:
    """Return what `reference.layer` returns, leaving one node in the traced graph."""
    present = [int(w is not None) for w in flat]
    weights = [w for w in flat if w is not None]
    inputs = (*layout, x, h_0, c_0, *reset_state, present, weights)
    y, h_n, c_n, saved = torch.ops.unrolled.layer(kind, *inputs, segment, save or trace)
    gates = fused.recorded(kind, layout, saved, weights[1]) if trace else None
    return y, h_n, c_n if has_cell_state(kind) else None, gates


def _spread(present: Sequence[bool], values: Sequence[Any]) -> list[Any]:
    """Return the values at the places that are present, None at the others."""
    rest = iter(values)
    return [next(rest) if is_present else None for is_present in present]


@torch.library.impl(_library, "layer", "CPU")
def _forward(kind: str, *args: Any) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    layout, (x, h_0, c_0, h_reset, c_reset, present, weights, segment, save) = Layout(*args[:4]), args[4:]
    if layout.batch_sizes is not None:  # whoever traced the call could not read them
        checks.packed_values(x, layout.batch_sizes, [s for s in (h_0, c_0, h_reset, c_reset) if s is not None])
    directions = by_direction(_spread(present, weights))
    fit.values(x, directions, layout)
    tensors = fused.forward(kind, layout, x, h_0, c_0, directions, save, segment, (h_reset, c_reset))
    c_n = tensors.h_n.new_empty(0) if tensors.c_n is None else tensors.c_n
    return tensors.y, tensors.h_n, c_n, [tensors.gates, tensors.cells] if save else []


@torch.library.impl(_library, "layer_backward", "CPU")
def _backward(kind: str, *args: Any) -> list[Tensor]:
    layout = Layout(*args[:4])
    *before, present, weights, y, saved, dy, dh_n, dc_n, segment, needs = args[4:]
    inputs, all_present = (*before, *_spread(present, weights)), (*(True,) * WEIGHTS_AT, *present)
    needed = [bool(n) for n in _spread(all_present, needs)]
    gradients = core_backward(kind, layout, inputs, y, saved, (dy, dh_n, dc_n), needed, segment)
    return [y.new_empty(0) if d is None else d for d, i in zip(gradients, all_present, strict=True) if i]


def _fake_forward(kind: str, *args: Any) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    layout, (x, h_0, _, _, _, present, weights, segment, save) = Layout(*args[:4]), args[4:]
    W_hh = weights[1]
    D, P, H = len(present) // len(Weights._fields), W_hh.shape[1], W_hh.shape[0] // gate_count(kind)
    rows = x.shape if checks.is_one_hot(x) else x.shape[:-1]
    if layout.batch_sizes is None:
        T, B = (rows[1], rows[0]) if layout.batch_first else rows
    else:  # the batch size of a packed batch is a value, not a shape
        T = layout.batch_sizes.shape[0]
        B = torch.library.get_ctx().new_dynamic_size() if h_0 is None else h_0.shape[1]
    edges = (fused.edge_count(T, segment), B) if segment else None
    c_n = W_hh.new_empty(D, B, H) if has_cell_state(kind) else W_hh.new_empty(0)
    shapes = fused.saved_shapes(kind, rows, D, H, W_hh.element_size(), edges) if save else ()
    return W_hh.new_empty(*rows, D * P), W_hh.new_empty(D, B, P), c_n, [W_hh.new_empty(s) for s in shapes]


def _fake_backward(kind: str, *args: Any) -> list[Tensor]:
    *before, _, weights, y, _, _, _, _, _, needs = args[4:]
    return [
        torch.empty_like(t, memory_format=torch.contiguous_format) if needed else y.new_empty(0)
        for t, needed in zip((*before, *weights), needs, strict=True)
    ]


def _setup_context(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.kind, ctx.batch_first, *tensors, ctx.present, weights, ctx.segment, _ = inputs
    y, _, _, saved = output
    ctx.save_for_backward(*tensors, y, *weights, *saved)
    ctx.count = len(weights)
    ctx.set_materialize_grads(False)


def _registered_backward(ctx: Any, dy: Any, dh_n: Any, dc_n: Any, _: Any) -> Any:
    end = 3 + WEIGHTS_AT
    layout, before, (y, *rest) = ctx.saved_tensors[:3], ctx.saved_tensors[3:end], ctx.saved_tensors[end:]
    weights, saved = rest[: ctx.count], rest[ctx.count :]
    needs = [t is not None and t.requires_grad for t in (*before, *weights)]
    inputs = (ctx.batch_first, *layout, *before, ctx.present, weights)
    found = torch.ops.unrolled.layer_backward(ctx.kind, *inputs, y, saved, dy, dh_n, dc_n, ctx.segment, needs)
    gradients = [d if needed else None for d, needed in zip(found, needs, strict=True)]
    return *(None,) * 5, *gradients[:WEIGHTS_AT], None, gradients[WEIGHTS_AT:], None, None


@torch.library.impl(_library, "cat", "CPU")
def _cat(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(parts))


def _fake_cat(parts: Sequence[Tensor]) -> Tensor:
    return parts[0].new_empty(sum(t.shape[0] for t in parts), *parts[0].shape[1:])


def _setup_cat(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.sizes = [t.shape[0] for t in inputs[0]]


def _cat_backward(ctx: Any, d: Tensor) -> Any:
    return list(torch.split(d, ctx.sizes))


torch.library.register_fake("unrolled::cat", _fake_cat, lib=_library)
torch.library.register_autograd("unrolled::cat", _cat_backward, setup_context=_setup_cat, lib=_library)
torch.library.register_fake("unrolled::layer", _fake_forward, lib=_library)
torch.library.register_fake("unrolled::layer_backward", _fake_backward, lib=_library)
torch.library.register_autograd("unrolled::layer", _registered_backward, setup_context=_setup_context, lib=_library)
