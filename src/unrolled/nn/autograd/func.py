"""The compiled core under torch.func: Functions whose backward is a Function too, with rules for vmap.

A mapped axis does not become a loop.  It joins the batch if the weights are shared, because rows are independent;
otherwise each entry is a copy of the layer, and the core runs all copies in one call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._C import _functorch
from torch._functorch.autograd_function import VmapInfo
from torch._functorch.pyfunctorch import retrieve_current_functorch_interpreter
from torch.autograd import Function

from unrolled.core.fields import Layout
from unrolled.nn import fit, fused
from unrolled.nn.autograd import copies
from unrolled.nn.autograd.copies import Copies
from unrolled.nn.autograd.flat import (
    WEIGHTS_AT,
    FlatTensors,
    by_direction,
    core_backward,
    equations_backward,
    filled,
    pull_back,
    unpack,
)
from unrolled.nn.reference import LayerResult, ResetState

#: The axis of the batch in each of the states among the inputs.
_STATE_AXES = (1,) * (WEIGHTS_AT - 1)


@dataclass(frozen=True)
class Call:
    """Everything about a call that is not a tensor."""

    kind: str
    batch_first: bool
    segment: int
    save: bool  #: save what the backward pass needs
    count: int  #: of inputs: the flat tensors
    needs: tuple[bool, ...] = ()  #: which gradients of the inputs are wanted
    copies: Copies | None = None  #: of one layer; its tensors are those of copies.forward or copies.backward


class Transformed(Function):
    """A layer: y, h_n, c_n and what the core saved, from the layout's tensors and the inputs."""

    @staticmethod
    def forward(call: Call, lengths: Any, batch_sizes: Any, reset: Any, *inputs: Any) -> Any:
        """Return y, h_n, c_n and what the core saved."""
        if call.copies is not None:
            tensors = (lengths, batch_sizes, reset, *inputs)
            return copies.forward(call.kind, call.batch_first, tensors, call.copies, call.save, call.segment)
        layout, (x, h_0, c_0, *reset_state) = Layout(call.batch_first, lengths, batch_sizes, reset), inputs[:WEIGHTS_AT]
        weights = by_direction(inputs[WEIGHTS_AT:])
        fit.values(x, weights, layout)
        tensors = fused.forward(call.kind, layout, x, h_0, c_0, weights, call.save, call.segment, reset_state)
        return tensors.y, tensors.h_n, tensors.c_n, *((tensors.gates, tensors.cells) if call.save else ())

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Save all tensors; what the core saved has no derivative of its own."""
        ctx.call = inputs[0]
        ctx.save_for_backward(*inputs[1:], output[0], *output[3:])
        ctx.mark_non_differentiable(*output[3:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        """Return gradients of the arguments of forward."""
        call = replace(ctx.call, needs=tuple(ctx.needs_input_grad[4:]))
        tensors = (*upstream[:3], *ctx.saved_tensors)
        own = () if call.copies is None else call.copies.own
        if call.copies is not None:
            outputs = len(tensors) - 6 - call.count  # y and what the core saved
            every = (True,) * len(call.copies.sizes)
            call = replace(call, copies=call.copies._replace(own=(every,) * 3 + own + (every,) * outputs))
        found = list(_apply(TransformedGradient, call, *tensors))
        for k, axes in enumerate(own[3:]):  # what copies share has the sum of their gradients
            if found[k] is not None and not all(axes):
                found[k] = found[k].sum([axis for axis, has in enumerate(axes) if not has])
        return None, None, None, None, *found

    @staticmethod
    def vmap(info: Any, in_dims: Any, call: Call, *args: Any) -> Any:
        """Map over an axis: part of the batch if the weights are shared, else copies."""
        S, dims = _entries(info), in_dims[1:]
        if _may_fold(call, dims) and not _mapped(dims[3 + WEIGHTS_AT :]):
            fold = _Fold.of(S, call, args)
            results = _apply(Transformed, call, *fold.inputs(args, dims))
            return fold.results(results, (fold.rows, 1, 1, 1 + fold.rows, 1 + fold.rows))
        return _as_copies(Transformed, S, call, args, dims)


class TransformedGradient(Function):
    """The backward of `Transformed`, itself open to vmap and, through the equations, to further derivatives."""

    @staticmethod
    def forward(call: Call, dy: Any, dh_n: Any, dc_n: Any, *rest: Any) -> Any:
        """Return gradients of the inputs; rest is the layout's tensors, inputs, y and what the core saved."""
        upstream = (dy, dh_n, dc_n)
        if call.copies is not None:
            tensors = (*upstream, *rest)
            return copies.backward(call.kind, call.batch_first, tensors, call.needs, call.copies, call.segment)
        layout, inputs, y, saved = unpack(call.batch_first, call.count, rest)
        return core_backward(call.kind, layout, inputs, y, saved, upstream, call.needs, call.segment)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Save everything but y and what the core saved: the equations make their own."""
        ctx.call, end = inputs[0], 7 + inputs[0].count
        ctx.after = len(inputs) - end
        ctx.save_for_backward(*inputs[1:end])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        """Return gradients of the arguments of forward: of dy, dh_n, dc_n and of the inputs."""
        call, primals = ctx.call, ctx.saved_tensors
        needs = [p is not None and p.is_floating_point() for p in primals]
        found = pull_back(lambda *tensors: _equations_backward(call, tensors), primals, needs, upstream)
        return None, *found, *(None,) * ctx.after

    @staticmethod
    def vmap(info: Any, in_dims: Any, call: Call, *args: Any) -> Any:
        """Map over an axis as `Transformed` does; weight gradients, sums over the batch, need copies."""
        S, end, dims = _entries(info), 6 + call.count, in_dims[1:]
        by_copy = any(call.needs[WEIGHTS_AT:]) or _mapped(dims[6 + WEIGHTS_AT : end])
        if _may_fold(call, dims[3:6]) and not by_copy and dims[end] is not None:
            fold = _Fold.of(S, call, args[3:])
            upstream = fold.tensors(args[:3], dims[:3], (fold.rows, 1, 1))
            y_and_saved = fold.tensors(args[end:], dims[end:], (fold.rows, 1 + fold.rows, 1 + fold.rows))
            inputs = fold.inputs(args[3:end], dims[3:end])
            results = _apply(TransformedGradient, call, *upstream, *inputs, *y_and_saved)
            return fold.results(results, (fold.rows, *_STATE_AXES, *(None,) * (call.count - WEIGHTS_AT)))
        return _as_copies(TransformedGradient, S, call, args, dims)


def run_transformed(
    kind: str,
    layout: Layout,
    x: Tensor,
    h_0: Tensor | None,
    c_0: Tensor | None,
    flat: FlatTensors,
    trace: bool,
    segment: int,
    reset_state: ResetState,
) -> LayerResult:
    """Return what `reference.layer` returns, under torch.func's transforms."""
    inputs = (x, h_0, c_0, *reset_state, *flat)
    call = Call(kind, layout.batch_first, segment, trace or _may_be_differentiated(), len(inputs))
    y, h_n, c_n, *saved = _apply(Transformed, call, *layout[1:], *inputs)
    return y, h_n, c_n, fused.recorded(kind, layout, saved, by_direction(flat)[0].W_hh) if trace else None


def _may_be_differentiated() -> bool:
    """Return whether an outer transform may ask for a gradient: tensors that vmap wraps do not tell."""
    stack = _functorch.get_interpreter_stack() or ()
    return torch.is_grad_enabled() or any(level.key() != _functorch.TransformType.Vmap for level in stack)


def _apply(function: type[Function], call: Call, *tensors: Any) -> Any:
    """Apply a Function, bypassing torch's dispatch where it adds nothing.

    Under vmap torch takes longer to find a Function's rule than a small layer takes, so the rule is called from here.
    """
    if not torch._C._are_functorch_transforms_active():
        if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
            return function.apply(call, *tensors)  # type: ignore[no-untyped-call]
        return function.forward(call, *tensors)
    interpreter: Any = retrieve_current_functorch_interpreter()
    if interpreter.key() != _functorch.TransformType.Vmap:
        return function.apply(call, *tensors)  # type: ignore[no-untyped-call]
    level = interpreter.level()
    bare, dims = zip(*((t, None) if t is None else _functorch._unwrap_batched(t, level) for t in tensors), strict=True)
    with interpreter.lower():
        if not _mapped(dims):
            return _apply(function, call, *tensors)
        results, where = function.vmap(VmapInfo(interpreter.batch_size(), ""), (None, *dims), call, *bare)  # type: ignore[no-untyped-call]
    return tuple(
        r if d is None else _functorch._add_batch_dim(r, d, level) for r, d in zip(results, where, strict=True)
    )


def _mapped(dims: Sequence[int | None]) -> bool:
    return any(d is not None for d in dims)


def _entries(info: Any) -> int:
    """Return the length of a mapped axis."""
    if info.batch_size == 0:
        raise ValueError("vmap over an axis of size 0: there is no call to learn the results' shapes from")
    return int(info.batch_size)


def _as_copies(
    function: type[Function], S: int, call: Call, tensors: Sequence[Any], dims: Sequence[int | None]
) -> tuple[Any, tuple[int | None, ...]]:
    """Apply a Function to copies of the layer along a mapped axis; return the results and where that axis is."""
    together = replace(call, copies=(call.copies or Copies()).mapped(S, dims))
    leading = (t if d is None else t.movedim(d, 0) for t, d in zip(tensors, dims, strict=True))
    results = _apply(function, together, *leading)
    return results, tuple(None if r is None else 0 for r in results)


def _may_fold(call: Call, layout_dims: Sequence[int | None]) -> bool:
    """Return whether an axis can join the batch: not where segments end at blocks of steps, which depend on it."""
    return call.copies is None and not call.segment and layout_dims[1] is None


class _Fold(NamedTuple):
    """An axis of length S that joins the batch, and where the batch is: the inner one of the two in a packed call.

    In a packed call the rows of a step are the first ones of the batch, and stay so if the copies of a row are
    neighbours.  In a padded call the batch goes inside, where its rows lie already.
    """

    S: int
    packed: bool
    rows: int  #: the axis of the batch in x, y and reset; what the core saved has D before it

    @classmethod
    def of(cls, S: int, call: Call, args: Sequence[Any]) -> _Fold:
        """Return the fold for the tensors of a layout and the inputs."""
        packed = args[1] is not None
        rows = 0 if packed or call.batch_first else 1
        return cls(S, packed, rows)

    def tensors(self, tensors: Sequence[Any], dims: Sequence[int | None], axes: Sequence[int]) -> list[Any]:
        """Return tensors with the mapped axis in their batch; those that are not mapped are repeated."""
        folded = []
        for t, d, axis in zip(tensors, dims, axes, strict=False):
            if t is not None and t.shape != (0,):  # where the core had nothing to save
                at = axis + 1 if self.packed else axis
                mapped = t.unsqueeze(at).expand(*t.shape[:at], self.S, *t.shape[at:]) if d is None else t.movedim(d, at)
                t = mapped.flatten(axis, axis + 1)
            folded.append(t)
        return folded

    def inputs(self, args: Sequence[Any], dims: Sequence[int | None]) -> list[Any]:
        """Return the layout's tensors and the inputs, the weights as they are."""
        (lengths,) = self.tensors(args[:1], dims[:1], (0,))
        batch_sizes = None if args[1] is None else args[1] * self.S
        end = 3 + WEIGHTS_AT
        rest = self.tensors(args[2:end], dims[2:end], (self.rows, self.rows, *_STATE_AXES))
        return [lengths, batch_sizes, *rest, *args[end:]]

    def results(self, results: Sequence[Any], axes: Sequence[int | None]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Return results with the mapped axis split off again, and where it is."""
        split: list[Any] = []
        dims: list[int | None] = []
        for t, axis in zip(results, axes, strict=False):  # if nothing was saved, fewer results than axes
            if t is None or axis is None or t.dim() == 1:  # what the core had nothing to save in
                split.append(t)
                dims.append(None)
            else:
                B = t.shape[axis] // self.S
                split.append(t.unflatten(axis, (B, self.S) if self.packed else (self.S, B)))
                dims.append(axis + 1 if self.packed else axis)
        return tuple(split), tuple(dims)


def _equations_backward(call: Call, tensors: Sequence[Any]) -> tuple[Tensor | None, ...]:
    """Return what `TransformedGradient` returns, as torch operations, from all that it gets but y and what follows."""

    def of_layer(full: Sequence[Any]) -> tuple[Tensor | None, ...]:
        layout = Layout(call.batch_first, *full[3:6])
        return equations_backward(call.kind, layout, full[6:], tuple(full[:3]), call.needs)

    if call.copies is None:
        return of_layer(tensors)
    there = [k for k, t in enumerate(tensors) if t is not None]
    wanted = [k for k, needed in enumerate(call.needs) if needed]

    def one_copy(*present: Tensor) -> tuple[Any, ...]:
        gradients = of_layer(filled([None] * len(tensors), there, present))
        return tuple(gradients[k] for k in wanted)

    of_copies: Callable[..., Any] = one_copy
    for axis in reversed(range(len(call.copies.sizes))):
        of_copies = torch.vmap(of_copies, in_dims=tuple(0 if call.copies.own[k][axis] else None for k in there))
    return tuple(filled([None] * call.count, wanted, of_copies(*(tensors[k] for k in there))))
