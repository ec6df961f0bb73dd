"""The compiled core as a registered operator: whatever is between a call and the core, torch's dispatcher gets past it.

torch.compile and torch.export leave it as one node, modes see it, fake tensors have its shapes; negative views, and
zeros without memory, arrive here as plain numbers.  What autograd and torch.func are told about it is in registered.py.

The schema has no None among its results, so an absent c_n and gradients nobody asked for are empty tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from unrolled.core.fields import Layout, Weights
from unrolled.nn import checks, fit, fused
from unrolled.nn.autograd.flat import WEIGHTS_AT, FlatTensors, by_direction, core_backward, spread
from unrolled.nn.reach import PLAIN_TENSORS
from unrolled.notation import gate_count, has_cell_state

_LAYOUT = "bool batch_first, Tensor? lengths, Tensor? batch_sizes, Tensor? reset"
# Autograd differentiates a Tensor[] but not a Tensor?[], so absent weights are left out and `present` says which.
_INPUTS = "Tensor x, Tensor? h_0, Tensor? c_0, Tensor? h_reset, Tensor? c_reset, int[] present, Tensor[] weights"
library: Any = torch.library.Library("unrolled", "DEF")  # type: ignore[no-untyped-call]
library.define(
    f"layer(str kind, {_LAYOUT}, {_INPUTS}, SymInt segment, bool save) -> (Tensor, Tensor, Tensor, Tensor[])"
)
library.define(
    f"layer_backward(str kind, {_LAYOUT}, {_INPUTS}, Tensor y, Tensor[] saved, "
    "Tensor? dy, Tensor? dh_n, Tensor? dc_n, SymInt segment, bool[] needs) -> Tensor[]"
)
# torch.cat of a stack's last states, as one node: it would be all that inductor has to hand to a C++ compiler.
library.define("cat(Tensor[] parts) -> Tensor")


def forward(kind: str, layout: Layout, inputs: FlatTensors, segment: int, save: bool) -> tuple[Any, ...]:
    """Return y, h_n, c_n or None, and with `save` what the core saved."""
    y, h_n, c_n, saved = torch.ops.unrolled.layer(kind, *layout, *_given(inputs), segment, save)
    return y, h_n, c_n if has_cell_state(kind) else None, *saved


def backward(
    kind: str,
    layout: Layout,
    inputs: FlatTensors,
    y: Tensor,
    saved: Sequence[Tensor],
    upstream: FlatTensors,
    needs: Sequence[bool],
    segment: int,
) -> tuple[Tensor | None, ...]:
    """Return what `core_backward` returns."""
    needed = [n for n, present in zip(needs, present_of(inputs), strict=True) if present]
    found = torch.ops.unrolled.layer_backward(
        kind, *layout, *_given(inputs), y, list(saved), *upstream, segment, needed
    )
    gradients = spread(present_of(inputs), found)
    return tuple(d if needed else None for d, needed in zip(gradients, needs, strict=True))


def _given(inputs: FlatTensors) -> tuple[Any, ...]:
    """Return inputs as the schema wants them."""
    weights = inputs[WEIGHTS_AT:]
    return *inputs[:WEIGHTS_AT], [int(w is not None) for w in weights], [w for w in weights if w is not None]


def present_of(inputs: FlatTensors) -> list[bool]:
    """Return which inputs have a gradient in the schema: x and the states always, weights if they are there."""
    return [True] * WEIGHTS_AT + [w is not None for w in inputs[WEIGHTS_AT:]]


def inputs_of(arguments: Sequence[Any]) -> list[Any]:
    """Return the inputs from arguments of the schema, the inverse of `_given`.

    Raises: ValueError unless `present` says which weights of each direction these are.
    """
    *before, present, weights = arguments
    if not present or len(present) % len(Weights._fields) or len(present) - present.count(0) != len(weights):
        raise ValueError(
            f"present is {list(present)} for {len(weights)} weights, expected for each direction a 1 or 0 for each of "
            f"{', '.join(Weights._fields)}, and as many weights as there are 1"
        )
    return [*before, *spread(present, weights)]


#: Where in the arguments the inputs begin and end, `kind` left out.
INPUTS = slice(len(Layout._fields), len(Layout._fields) + WEIGHTS_AT + 2)


def call_of(kind: str, args: Sequence[Any]) -> tuple[Layout, list[Any]]:
    """Return the layout and the inputs from the arguments after `kind`, checked as `fit.operator_call` says."""
    layout, inputs = Layout(*args[: INPUTS.start]), inputs_of(args[INPUTS])
    fit.operator_call(kind, layout, inputs[0], inputs[1:WEIGHTS_AT], by_direction(inputs[WEIGHTS_AT:]))
    return layout, inputs


def needed_of(inputs: FlatTensors, needs: Sequence[bool]) -> tuple[bool, ...]:
    """Return which gradients of the inputs are wanted, from `needs` of the schema.

    Raises: ValueError unless it has an entry for each that has a gradient in the schema.
    """
    present = present_of(inputs)
    if len(needs) != sum(present):
        raise ValueError(
            f"needs has {len(needs)} entries, expected {sum(present)}: x, h_0, c_0, h_reset, c_reset and each weight"
        )
    return tuple(map(bool, spread(present, needs)))


@torch.library.impl(library, "layer", "CPU")
def _forward(kind: str, *args: Any) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    (layout, inputs), (segment, save) = call_of(kind, args), args[-2:]
    x, h_0, c_0, *reset_state = inputs[:WEIGHTS_AT]
    weights = by_direction(inputs[WEIGHTS_AT:])
    tensors = fused.forward(kind, layout, x, h_0, c_0, weights, save, segment, reset_state)
    c_n = tensors.h_n.new_empty(0) if tensors.c_n is None else tensors.c_n
    return tensors.y, tensors.h_n, c_n, [tensors.gates, tensors.cells] if save else []


@torch.library.impl(library, "layer_backward", "CPU")
def _backward(kind: str, *args: Any) -> list[Tensor]:
    layout, inputs = call_of(kind, args)
    y, saved, dy, dh_n, dc_n, segment, needs = args[INPUTS.stop :]
    needed = needed_of(inputs, needs)
    y, *saved = (t.contiguous() for t in (y, *saved))  # hooks of saved tensors may lay them out anew
    fused.check_saved(kind, layout, inputs[0], by_direction(inputs[WEIGHTS_AT:]), y, saved, segment)
    gradients = core_backward(kind, layout, inputs, y, saved, (dy, dh_n, dc_n), needed, segment)
    return [y.new_empty(0) if d is None else d for d, there in zip(gradients, present_of(inputs), strict=True) if there]


def _fake_forward(kind: str, *args: Any) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    layout, (x, h_0, _, _, _, present, weights, segment, save) = Layout(*args[:4]), args[4:]
    call_of(kind, args)
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
    shapes = fused.saved_shapes(kind, rows, D, H, W_hh.dtype, edges) if save else ()
    saved = [W_hh.new_empty(s, dtype=t) for s, t in zip(shapes, fused.types_of_saved(W_hh.dtype), strict=False)]
    return W_hh.new_empty(*rows, D * P), W_hh.new_empty(D, B, P), c_n, saved


def _fake_backward(kind: str, *args: Any) -> list[Tensor]:
    _, inputs = call_of(kind, args)
    y, needed = args[INPUTS.stop], needed_of(inputs, args[-1])
    return [
        torch.empty_like(t, memory_format=torch.contiguous_format) if t is not None and wanted else y.new_empty(0)
        for t, wanted, there in zip(inputs, needed, present_of(inputs), strict=True)
        if there
    ]


@torch.library.impl(library, "cat", "CPU")
def _cat(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(parts))


def _fake_cat(parts: Sequence[Tensor]) -> Tensor:
    return parts[0].new_empty(sum(t.shape[0] for t in parts), *parts[0].shape[1:])


torch.library.register_fake("unrolled::cat", _fake_cat, lib=library)
torch.library.register_fake("unrolled::layer", _fake_forward, lib=library)
torch.library.register_fake("unrolled::layer_backward", _fake_backward, lib=library)


def _rows_and_products(args: Sequence[Any]) -> tuple[int, int, int]:
    """Return the rows of x, and the multiplications a row costs: with W_ih, and with the other matrices."""
    inputs = inputs_of(args[INPUTS])
    x, directions = inputs[0], by_direction(inputs[WEIGHTS_AT:])
    one_hot = checks.is_one_hot(x)  # whose product is a lookup
    rows = x.numel() if one_hot else x.numel() // max(x.shape[-1], 1)
    lengths = Layout(*args[: INPUTS.start]).lengths
    if type(lengths) in PLAIN_TENSORS and not lengths.is_meta:
        rows = int(lengths.sum())
    others = sum(W.numel() for w in directions for W in (w.W_hh, w.W_hr) if W is not None)
    return rows, 0 if one_hot else sum(w.W_ih.numel() for w in directions), others


@register_flop_formula(torch.ops.unrolled.layer, get_raw=True)
def _flops(kind: str, *args: Any, **_: Any) -> int:
    """Count two for each multiplication, as torch does for its own layers."""
    rows, with_W_ih, with_others = _rows_and_products(args)
    return 2 * rows * (with_W_ih + with_others)


@register_flop_formula(torch.ops.unrolled.layer_backward, get_raw=True)
def _backward_flops(kind: str, *args: Any, **_: Any) -> int:
    """Count the products for dh and, where they are wanted, for dx and the gradients of the weights."""
    rows, with_W_ih, with_others = _rows_and_products(args)
    needs = args[-1]
    of_weights = with_W_ih + with_others if any(needs[WEIGHTS_AT:]) else 0
    return 2 * rows * ((with_W_ih if needs[0] else 0) + with_others + of_weights)
