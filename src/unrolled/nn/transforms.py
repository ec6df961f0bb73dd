"""How torch.func learns of the compiled core: Functions whose backward is a Function too, and their rules for vmap.

A mapped axis never becomes a loop where it need not.  It joins the batch if the weights are shared, because rows do not
see each other; otherwise each entry is a copy of the layer, and the core walks all copies in one call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from unrolled.nn import copies, routes
from unrolled.nn.copies import Copies
from unrolled.nn.reference import LayerResult
from unrolled.nn.routes import FlatWeights, Gradients, Layout, by_direction, recorded, unpack


@dataclass(frozen=True)
class Call:
    """All of a call that is no tensor."""

    kind: str
    batch_first: bool
    segment: int
    save: bool  #: keep what the backward pass needs
    count: int  #: of inputs: x, h0, c0 and the flat weights
    needs: tuple[bool, ...] = ()  #: which gradients of the inputs are wanted
    copies: Copies | None = None  #: of one layer: which of the inputs, or of a gradient's tensors, are theirs


class Transformed(Function):
    """A layer: y, h_n, c_n and what the core saved, from the layout's tensors and the inputs."""

    @staticmethod
    def forward(call: Call, lengths: Any, batch_sizes: Any, reset: Any, *inputs: Any) -> Any:
        """Return y, h_n, c_n and what the core saved."""
        layout = Layout(call.batch_first, lengths, batch_sizes, reset)
        if call.copies is not None:
            y, h_n, c_n, saved = copies.forward(call.kind, layout, inputs, call.copies, call.save, call.segment)
        else:
            x, h0, c0, *flat = inputs
            y, h_n, c_n, saved = routes.forward(
                call.kind, layout, x, h0, c0, by_direction(flat), call.save, call.segment
            )
        return y, h_n, c_n, *saved

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep all tensors; what the core saved has no derivative of its own."""
        ctx.call = inputs[0]
        ctx.save_for_backward(*inputs[1:], output[0], *output[3:])
        ctx.mark_non_differentiable(*output[3:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        """Return gradients of the arguments of forward."""
        call = replace(ctx.call, needs=tuple(ctx.needs_input_grad[4:]))
        tensors = (*upstream[:3], *ctx.saved_tensors)
        own = () if call.copies is None else call.copies.stacked
        if call.copies is not None:
            outputs = len(tensors) - 6 - call.count  # y and what the core saved
            call = replace(call, copies=Copies(call.copies.S, (True,) * 3 + own + (True,) * outputs))
        found = _apply(TransformedGradient, call, *tensors)
        if own:  # what the copies share has the sum of their gradients
            found = [d if d is None or mine else d.sum(0) for d, mine in zip(found, own, strict=True)]
        return None, None, None, None, *found

    @staticmethod
    def vmap(info: Any, in_dims: Any, call: Call, *args: Any) -> Any:
        """Map over an axis: part of the batch if the weights are shared, else copies, else one by one."""
        S, (layout_dims, input_dims) = info.batch_size, (in_dims[1:4], in_dims[4:])
        if _may_fold(call, layout_dims) and S > 0 and not _mapped(input_dims[3:]):
            fold = _Fold.of(S, call, args)
            results = _apply(Transformed, call, *fold.inputs(args, in_dims[1:]))
            return fold.results(results, (fold.rows, 1, 1, 1 + fold.rows, 1 + fold.rows))
        if call.copies is None and S > 0 and not _mapped(layout_dims):
            stacked = replace(call, copies=Copies(S, tuple(d is not None for d in input_dims)))
            results = _apply(Transformed, stacked, *args[:3], *_leading(args[3:], input_dims))
            return results, tuple(None if r is None else 0 for r in results)
        return _one_by_one(Transformed.apply, S, in_dims, (call, *args))


class TransformedGradient(Function):
    """The backward of `Transformed`, itself open to vmap and, through the equations, to further derivatives."""

    @staticmethod
    def forward(call: Call, dy: Any, dh_n: Any, dc_n: Any, *rest: Any) -> Any:
        """Return gradients of the inputs; rest is the layout's tensors, inputs, y and what the core saved."""
        layout, inputs, y, saved = unpack(call.batch_first, call.count, rest)
        upstream = (dy, dh_n, dc_n)
        if call.copies is None:
            return routes.backward(call.kind, layout, inputs, y, saved, upstream, call.needs, call.segment)
        return copies.backward(
            call.kind, layout, upstream, inputs, y, saved, call.needs, call.copies, call.segment
        )  # fmt: skip

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep everything but y and what the core saved: the equations make their own."""
        ctx.call, kept = inputs[0], 7 + inputs[0].count
        ctx.after = len(inputs) - kept
        ctx.save_for_backward(*inputs[1:kept])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        """Return gradients of the arguments of forward: of dy, dh_n, dc_n and of x, h0, c0 and the weights."""
        call, below = ctx.call, ctx.saved_tensors[:3]
        layout, inputs, _, _ = unpack(call.batch_first, call.count, ctx.saved_tensors[3:])
        primals = [*below, *inputs]
        wanted = [k for k, p in enumerate(primals) if p is not None and p.is_floating_point()]
        flowing = [k for k, d in enumerate(upstream) if d is not None]

        def first_order(*varied: Tensor) -> tuple[Tensor | None, ...]:
            full = list(primals)
            for k, value in zip(wanted, varied, strict=True):
                full[k] = value
            gradients = _equations_backward(call, layout, full)
            return tuple(gradients[k] for k in flowing)

        _, pull_back = torch.func.vjp(first_order, *(primals[k] for k in wanted))  # type: ignore[misc]
        found = dict(zip(wanted, pull_back(tuple(upstream[k] for k in flowing)), strict=True))
        gradients = [found.get(k) for k in range(len(primals))]
        return None, *gradients[:3], None, None, None, *gradients[3:], *(None,) * ctx.after

    @staticmethod
    def vmap(info: Any, in_dims: Any, call: Call, *args: Any) -> Any:
        """Map over an axis as `Transformed` does; weight gradients, sums over the batch, need copies."""
        S, end = info.batch_size, 6 + call.count
        above, layout_dims, input_dims, outputs = in_dims[1:4], in_dims[4:7], in_dims[7 : end + 1], in_dims[end + 1 :]
        if call.copies is None and S > 0:
            by_copy = any(call.needs[3:]) or _mapped(input_dims[3:])
            if _may_fold(call, layout_dims) and not by_copy and outputs[0] is not None:
                fold = _Fold.of(S, call, args[3:])
                upstream = fold.tensors(args[:3], above, (fold.rows, 1, 1))
                y_and_saved = fold.tensors(args[end:], outputs, (fold.rows, 1 + fold.rows, 1 + fold.rows))
                inputs = fold.inputs(args[3:end], in_dims[4 : end + 1])
                results = _apply(TransformedGradient, call, *upstream, *inputs, *y_and_saved)
                return fold.results(results, (fold.rows, 1, 1, *(None,) * (call.count - 3)))
            if not _mapped(layout_dims):
                stacked = replace(call, copies=Copies(S, tuple(d is not None for d in (*above, *input_dims, *outputs))))
                upstream, inputs = _leading(args[:3], above), _leading(args[6:], (*input_dims, *outputs))
                results = _apply(TransformedGradient, stacked, *upstream, *args[3:6], *inputs)
                return results, tuple(None if r is None else 0 for r in results)
        return _one_by_one(TransformedGradient.apply, S, in_dims, (call, *args))


def layer(
    kind: str,
    layout: Layout,
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    flat: FlatWeights,
    trace: bool,
    segment: int,
) -> LayerResult:
    """Return what `reference.layer` returns, under torch.func's transforms."""
    call = Call(kind, layout.batch_first, segment, trace or _may_be_differentiated(), 3 + len(flat))
    y, h_n, c_n, *saved = Transformed.apply(call, *layout[1:], x, h0, c0, *flat)  # type: ignore[no-untyped-call]
    return y, h_n, c_n, recorded(kind, layout, saved, by_direction(flat)[0][1]) if trace else None


def _may_be_differentiated() -> bool:
    """Whether anybody outside of here may ask for a gradient: tensors that vmap wraps do not tell."""
    vmap = torch._C._functorch.TransformType.Vmap
    stack = torch._C._functorch.get_interpreter_stack() or ()
    return torch.is_grad_enabled() or any(level.key() != vmap for level in stack)


def _apply(function: type[Function], call: Call, *tensors: Any) -> Any:
    """Apply a Function; where no transform is left and no gradient wanted, without what that costs in torch."""
    gradient = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    if gradient or torch._C._are_functorch_transforms_active():
        return function.apply(call, *tensors)  # type: ignore[no-untyped-call]
    return function.forward(call, *tensors)


def _mapped(dims: Sequence[int | None]) -> bool:
    return any(d is not None for d in dims)


def _leading(tensors: Sequence[Any], dims: Sequence[int | None]) -> list[Any]:
    """Return tensors with their mapped axis in front."""
    return [t if d is None else t.movedim(d, 0) for t, d in zip(tensors, dims, strict=True)]


def _may_fold(call: Call, layout_dims: Sequence[int | None]) -> bool:
    """Whether an axis can join the batch: not where segments end at blocks of steps, which depend on the batch."""
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
        rest = self.tensors(args[2:6], dims[2:6], (self.rows, self.rows, 1, 1))
        return [lengths, batch_sizes, *rest, *args[6:]]

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


def _equations_backward(call: Call, layout: Layout, tensors: Sequence[Any]) -> Gradients:
    """Return what `TransformedGradient` returns, from dy, dh_n, dc_n and the inputs, as torch operations."""
    if call.copies is None:
        return routes.equations_backward(call.kind, layout, tensors[3:], tuple(tensors[:3]), call.needs)
    there = [k for k, t in enumerate(tensors) if t is not None]
    wanted = [k for k, needed in enumerate(call.needs) if needed]

    def one_copy(*present: Tensor) -> tuple[Any, ...]:
        full: list[Any] = [None] * len(tensors)
        for k, value in zip(there, present, strict=True):
            full[k] = value
        gradients = routes.equations_backward(call.kind, layout, full[3:], tuple(full[:3]), call.needs)
        return tuple(gradients[k] for k in wanted)

    dims = tuple(0 if call.copies.stacked[k] else None for k in there)
    found = dict(zip(wanted, torch.vmap(one_copy, in_dims=dims)(*(tensors[k] for k in there)), strict=True))
    return tuple(found.get(k) for k in range(call.count))


def _one_by_one(function: Callable[..., Any], S: int, in_dims: Sequence[Any], args: Sequence[Any]) -> Any:
    """Call a function for each entry of its mapped arguments and stack what it returns."""
    if S == 0:
        raise ValueError("vmap over an axis of size 0: there is no call to learn the results' shapes from")
    calls = [
        function(*(a.select(d, s) if isinstance(d, int) else a for a, d in zip(args, in_dims, strict=True)))
        for s in range(S)
    ]
    results = tuple(None if column[0] is None else torch.stack(column) for column in zip(*calls, strict=True))
    return results, tuple(None if column is None else 0 for column in results)
