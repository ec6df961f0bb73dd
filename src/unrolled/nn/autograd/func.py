"""The compiled core as differentiable Functions: a layer and its gradient, with rules for vmap and for every order.

They serve torch.func's transforms and the registered operator.  A mapped axis does not become a loop.  It joins the
batch if the weights are shared, because rows are independent; otherwise each entry is a copy of the layer, and the core
runs all copies in one call.  Derivatives of the gradient, and forward-mode derivatives, are those of the equations.
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
from torch.autograd import Function, forward_ad

from unrolled.core.fields import Layout
from unrolled.nn import fused
from unrolled.nn.autograd import copies, operator
from unrolled.nn.autograd.copies import Copies
from unrolled.nn.autograd.flat import (
    LAYOUT,
    WEIGHTS_AT,
    FlatTensors,
    by_direction,
    core_backward,
    equations,
    equations_backward,
    filled,
    intact_tensors,
    pull_back,
    saved_tensors,
    unpack,
    walkable,
)
from unrolled.nn.reach import core_reads, transforms_active

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

    def layout(self, tensors: Sequence[Any]) -> Layout:
        """Return the layout whose tensors these begin with."""
        return Layout(self.batch_first, *tensors[:LAYOUT])


@walkable
class LayerFunction(Function):
    """A layer: y, h_n, c_n and what the core saved, from the layout's tensors and the inputs."""

    @staticmethod
    def forward(call: Call, *tensors: Any) -> Any:
        """Return y, h_n, c_n and what the core saved."""
        return _on_core_or_operator(_core_forward, _operator_forward, call, tensors)

    @staticmethod
    def equations(call: Call, tensors: Sequence[Any]) -> Any:
        """Return y, h_n and c_n as torch operations."""
        return equations(call.kind, call.layout(tensors), tensors[LAYOUT:])

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
        call = replace(ctx.call, needs=tuple(ctx.needs_input_grad[1 + LAYOUT :]))

        def again(given: Sequence[Any]) -> list[Any]:
            y, _, _, *saved = apply(LayerFunction, ctx.call, *given)
            return [y, *saved]

        tensors = (*upstream[:3], *intact_tensors(ctx, LAYOUT + call.count, again))
        own = () if call.copies is None else call.copies.own
        if call.copies is not None:
            outputs = len(tensors) - 3 - LAYOUT - call.count  # y and what the core saved
            every = (True,) * len(call.copies.sizes)
            call = replace(call, copies=call.copies._replace(own=(every,) * 3 + own + (every,) * outputs))
        found = list(apply(LayerGradient, call, *tensors))
        for k, axes in enumerate(own[LAYOUT:]):  # what copies share has the sum of their gradients
            if found[k] is not None and not all(axes):
                found[k] = found[k].sum([axis for axis, has in enumerate(axes) if not has])
        return *(None,) * (1 + LAYOUT), *found

    @staticmethod
    def vmap(info: Any, in_dims: Any, call: Call, *args: Any) -> Any:
        """Map over an axis: part of the batch if the weights are shared, else copies."""
        S, dims = info.batch_size, in_dims[1:]
        if S and _may_fold(call, dims) and not _mapped(dims[LAYOUT + WEIGHTS_AT :]):
            fold = _Fold.of(S, call, args)
            results = apply(LayerFunction, call, *fold.inputs(args, dims))
            return fold.results(results, (fold.rows, 1, 1, 1 + fold.rows, 1 + fold.rows))
        return _as_copies(LayerFunction, S, call, args, dims)


@walkable
class LayerGradient(Function):
    """The backward of `LayerFunction`, itself open to vmap and, through the equations, to further derivatives."""

    @staticmethod
    def forward(call: Call, *tensors: Any) -> Any:
        """Return gradients of the inputs, from dy, dh_n, dc_n, the layout's tensors, inputs, y and what was saved."""
        return _on_core_or_operator(_core_gradient, _operator_gradient, call, tensors)

    @staticmethod
    def equations(call: Call, tensors: Sequence[Any]) -> Any:
        """Return gradients of the inputs as torch operations; y and what was saved are not needed."""
        return _equations_gradient(call, tensors[: 3 + LAYOUT + call.count])

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Save everything but y and what the core saved: the equations make their own."""
        ctx.call, end = inputs[0], 1 + 3 + LAYOUT + inputs[0].count
        ctx.after = len(inputs) - end
        ctx.save_for_backward(*inputs[1:end])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        """Return gradients of the arguments of forward: of dy, dh_n, dc_n and of the inputs."""
        call, primals = ctx.call, saved_tensors(ctx)
        needs = [p is not None and p.is_floating_point() for p in primals]
        found = pull_back(lambda *tensors: _equations_gradient(call, tensors), primals, needs, upstream)
        return None, *found, *(None,) * ctx.after

    @staticmethod
    def vmap(info: Any, in_dims: Any, call: Call, *args: Any) -> Any:
        """Map over an axis as `LayerFunction` does; weight gradients, sums over the batch, need copies."""
        S, end, dims = info.batch_size, 3 + LAYOUT + call.count, in_dims[1:]
        by_copy = any(call.needs[WEIGHTS_AT:]) or _mapped(dims[3 + LAYOUT + WEIGHTS_AT : end])
        if S and _may_fold(call, dims[3:6]) and not by_copy and dims[end] is not None:
            fold = _Fold.of(S, call, args[3:])
            upstream = fold.tensors(args[:3], dims[:3], (fold.rows, 1, 1))
            y_and_saved = fold.tensors(args[end:], dims[end:], (fold.rows, 1 + fold.rows, 1 + fold.rows))
            inputs = fold.inputs(args[3:end], dims[3:end])
            results = apply(LayerGradient, call, *upstream, *inputs, *y_and_saved)
            return fold.results(results, (fold.rows, *_STATE_AXES, *(None,) * (call.count - WEIGHTS_AT)))
        return _as_copies(LayerGradient, S, call, args, dims)


_Compute = Callable[[Call, Sequence[Any]], tuple[Any, ...]]


def _on_core_or_operator(core: _Compute, of_operator: _Compute, call: Call, tensors: Sequence[Any]) -> tuple[Any, ...]:
    """Compute all copies in one call of the core, or where it may not be reached each by the operator."""
    if core_reads(*tensors):
        try:
            return core(call, tensors)
        except fused.Unreadable:
            pass
    if call.copies is None:
        return of_operator(call, tensors)
    return call.copies.one_by_one(lambda own: of_operator(call, own), tensors)


def _core_forward(call: Call, tensors: Sequence[Any]) -> tuple[Any, ...]:
    if call.copies is not None:
        return copies.forward(call.kind, call.batch_first, tensors, call.copies, call.save, call.segment)
    layout, inputs = call.layout(tensors), tensors[LAYOUT:]
    x, h_0, c_0, *reset_state = inputs[:WEIGHTS_AT]
    weights = by_direction(inputs[WEIGHTS_AT:])
    found = fused.forward(call.kind, layout, x, h_0, c_0, weights, call.save, call.segment, reset_state)
    return found.y, found.h_n, found.c_n, *((found.gates, found.cells) if call.save else ())


def _operator_forward(call: Call, tensors: Sequence[Any]) -> tuple[Any, ...]:
    return operator.forward(call.kind, call.layout(tensors), tensors[LAYOUT:], call.segment, call.save)


def _core_gradient(call: Call, tensors: Sequence[Any]) -> tuple[Any, ...]:
    if call.copies is not None:
        return copies.backward(call.kind, call.batch_first, tensors, call.needs, call.copies, call.segment)
    layout, inputs, y, saved = unpack(call.batch_first, call.count, tensors[3:])
    return core_backward(call.kind, layout, inputs, y, saved, tensors[:3], call.needs, call.segment)


def _operator_gradient(call: Call, tensors: Sequence[Any]) -> tuple[Any, ...]:
    layout, inputs, y, saved = unpack(call.batch_first, call.count, tensors[3:])
    return operator.backward(call.kind, layout, inputs, y, saved, tensors[:3], call.needs, call.segment)


def transformed(kind: str, layout: Layout, inputs: FlatTensors, segment: int, save: bool) -> tuple[Any, ...]:
    """Return what `operator.forward` returns, under torch.func's transforms."""
    call = Call(kind, layout.batch_first, segment, save or _may_be_differentiated(), len(inputs))
    return apply(LayerFunction, call, *layout[1:], *inputs)  # type: ignore[no-any-return]


def _may_be_differentiated() -> bool:
    """Return whether an outer transform may ask for a gradient: tensors that vmap wraps do not tell."""
    return torch.is_grad_enabled() or any(key != _functorch.TransformType.Vmap for key in _levels())


def _levels() -> list[Any]:
    """Return the kinds of all active transforms."""
    return [level.key() for level in _functorch.get_interpreter_stack() or ()]


def apply(function: type[LayerFunction | LayerGradient], call: Call, *tensors: Any) -> Any:
    """Apply a Function, bypassing torch's dispatch where it adds nothing.

    Under vmap torch takes longer to find a Function's rule than a small layer takes, so the rule is called from here.
    """
    tensors = tuple(t if t is None else _functorch.unwrap_if_dead(t) for t in tensors)
    if forward_ad._current_level >= 0:
        return function.equations(call, tensors)
    if not transforms_active():
        if any(map(_is_legacy, tensors)):
            return _apply_to_legacy(function, call, tensors)
        if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
            return function.apply(call, *tensors)  # type: ignore[no-untyped-call]
        return function.forward(call, *tensors)
    interpreter: Any = retrieve_current_functorch_interpreter()
    level = interpreter.level()
    if interpreter.key() == _functorch.TransformType.Functionalize:
        views = interpreter.functionalize_add_back_views()
        with interpreter.lower():
            results = apply(function, call, *(_functional_values(t, views) for t in tensors))
        return tuple(r if r is None else _functorch._wrap_functional_tensor(r, level) for r in results)
    if interpreter.key() != _functorch.TransformType.Vmap:
        if _functorch.TransformType.Functionalize in _levels():  # for which torch has no rule of Functions
            return function.equations(call, tensors)
        return function.apply(call, *tensors)  # type: ignore[no-untyped-call]
    bare, dims = zip(*((t, None) if t is None else _functorch._unwrap_batched(t, level) for t in tensors), strict=True)
    with interpreter.lower():
        if not _mapped(dims):
            return apply(function, call, *tensors)
        results, where = function.vmap(VmapInfo(interpreter.batch_size(), ""), (None, *dims), call, *bare)
    return tuple(
        r if d is None else _functorch._add_batch_dim(r, d, level) for r, d in zip(results, where, strict=True)
    )


def _functional_values(t: Any, views: bool) -> Any:
    if t is None or not _functorch.is_functionaltensor(t):
        return t
    torch._sync(t)  # type: ignore[attr-defined,no-untyped-call]
    return _functorch._unwrap_functional_tensor(t, views)


def _is_legacy(t: Tensor | None) -> bool:
    return t is not None and _functorch.is_legacy_batchedtensor(t)


def _apply_to_legacy(function: type[LayerFunction | LayerGradient], call: Call, tensors: Sequence[Any]) -> Any:
    """Apply a Function under the vmap of ``autograd.grad(is_grads_batched=True)``, which is older than torch.func's."""
    level = torch._C._vmapmode_increment_nesting() - 1
    torch._C._vmapmode_decrement_nesting()
    dims = [0 if _is_legacy(t) else None for t in tensors]
    bare = [t if d is None else torch._remove_batch_dim(t, level, 1, 0) for t, d in zip(tensors, dims, strict=True)]
    if any(map(_is_legacy, bare)):
        raise NotImplementedError("is_grads_batched inside is_grads_batched; use torch.func.vmap for one of them")
    S = next(len(t) for t, d in zip(bare, dims, strict=True) if d is not None)
    results, where = function.vmap(VmapInfo(S, ""), (None, *dims), call, *bare)
    return tuple(r if d is None else torch._add_batch_dim(r, d, level) for r, d in zip(results, where, strict=True))


def _mapped(dims: Sequence[int | None]) -> bool:
    return any(d is not None for d in dims)


def _as_copies(
    function: type[LayerFunction | LayerGradient],
    S: int,
    call: Call,
    tensors: Sequence[Any],
    dims: Sequence[int | None],
) -> tuple[Any, tuple[int | None, ...]]:
    """Apply a Function to copies of the layer along a mapped axis; return the results and where that axis is."""
    leading = [t if d is None else t.movedim(d, 0) for t, d in zip(tensors, dims, strict=True)]
    if S == 0:  # one copy of zeros has the results' shapes
        leading = [t if d is None else t.new_zeros(1, *t.shape[1:]) for t, d in zip(leading, dims, strict=True)]
    together = replace(call, copies=(call.copies or Copies()).mapped(S or 1, dims))
    results = apply(function, together, *leading)
    return tuple(None if r is None else r[:S] for r in results), tuple(None if r is None else 0 for r in results)


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
        end = LAYOUT + WEIGHTS_AT
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


def _equations_gradient(call: Call, tensors: Sequence[Any]) -> tuple[Tensor | None, ...]:
    """Return what `LayerGradient` returns, as torch operations, from all that it gets but y and what follows."""

    def of_layer(full: Sequence[Any]) -> tuple[Tensor | None, ...]:
        return equations_backward(call.kind, call.layout(full[3:]), full[3 + LAYOUT :], tuple(full[:3]), call.needs)

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
