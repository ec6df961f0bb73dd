"""Tensors in one flat list, as autograd takes them, and the two backward passes over such lists.

Flat tensors are x, h_0, c_0, h_reset, c_reset and then every weight of every direction, None where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.autograd import Function

from unrolled.core.fields import LayerTensors, Layout, Weights
from unrolled.nn import fused, reference
from unrolled.nn.reach import transforms_active

FlatTensors: TypeAlias = Sequence[Tensor | None]

#: How many flat tensors stand before the weights, and of how many a layout consists.
WEIGHTS_AT = 5
LAYOUT = len(Layout._fields) - 1

_COUNT = len(Weights._fields)
_Function = TypeVar("_Function", bound=Function)


def flatten(weights: Sequence[Weights]) -> list[Tensor | None]:
    """Return the weights of all directions in one list.

    >>> W = torch.ones(1, 1)
    >>> len(flatten([Weights(W, W)] * 2)) == 2 * len(Weights._fields)
    True
    """
    return [*chain.from_iterable(weights)]


def by_direction(flat: FlatTensors) -> list[Weights]:
    """Return the weights of each direction from one list: the inverse of `flatten`.

    >>> W = torch.ones(1, 1)
    >>> by_direction(flatten([Weights(W, W)]))[0].W_hh is W
    True
    """
    return [Weights._make(flat[k : k + _COUNT]) for k in range(0, len(flat), _COUNT)]


def unpack(batch_first: bool, count: int, tensors: Sequence[Any]) -> tuple[Layout, list[Any], Any, tuple[Any, ...]]:
    """Return layout, inputs, y and what the core saved from the tensors of a context.

    Args: count of the inputs; tensors lengths, batch_sizes, reset, the inputs, y, and what the core saved.
    """
    end = LAYOUT + count
    return Layout(batch_first, *tensors[:LAYOUT]), list(tensors[LAYOUT:end]), tensors[end], tuple(tensors[end + 1 :])


_FunctionBase = torch._C._FunctionBase
_every_saved = _FunctionBase.saved_tensors.__get__  # type: ignore[attr-defined]


def walkable(function: type[_Function]) -> type[_Function]:
    """Leave out None where others read ``grad_fn.saved_tensors``: tools that draw a graph expect tensors there."""
    there = property(lambda ctx: tuple(t for t in _every_saved(ctx) if t is not None))
    function._backward_cls.saved_tensors = there  # type: ignore[attr-defined]
    return function


def saved_tensors(ctx: Any) -> Sequence[Any]:
    """Return what a Function that is `walkable` saved, None where it saved None."""
    return _every_saved(ctx) if isinstance(ctx, _FunctionBase) else ctx.saved_tensors  # type: ignore[no-any-return]


def spread(present: Sequence[bool], values: Sequence[Any]) -> list[Any]:
    """Return the values at the places that are present, None at the others.

    >>> spread([True, False, True], [5, 7])
    [5, None, 7]
    """
    rest = iter(values)
    return [next(rest) if is_present else None for is_present in present]


def intact_tensors(ctx: Any, count: int, again: Callable[[Sequence[Any]], Iterable[Any]]) -> Sequence[Any]:
    """Return what a context saved: `count` tensors that it was given, then those of its results.

    Results belong to the caller, who may have written into them; they are then computed again from what was given.

    Args: again: from the tensors given to those of the results.
    """
    try:
        return saved_tensors(ctx)
    except RuntimeError:  # a tensor given that was written to raises it below
        if not hasattr(torch._C._autograd.SavedTensor, "unpack"):  # torch 2.11
            raise
        given = [t.unpack() for t in ctx._raw_saved_tensors[:count]]
    return [*given, *again(given)]


def core_backward(
    kind: str,
    layout: Layout,
    inputs: FlatTensors,
    y: Tensor,
    saved: Sequence[Tensor],
    upstream: FlatTensors,
    needs: Sequence[bool],
    segment: int,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the inputs from the compiled core, None where not needed.

    Args: upstream gradients of y, h_n and c_n, None for zeros; needs: of each input.
    """
    x, h_0, c_0, *reset_state = inputs[:WEIGHTS_AT]
    flat = inputs[WEIGHTS_AT:]
    tensors = LayerTensors(x, h_0, c_0, by_direction(flat), y, None, None, *saved, *reset_state)
    wanted = (*needs[:WEIGHTS_AT], any(needs[WEIGHTS_AT:]))
    found = fused.backward(kind, layout, tensors, *upstream, needs=wanted, segment=segment)
    dflat = [None] * len(flat) if found.weights is None else flatten(found.weights)
    gradients = (found.dx, found.dh_0, found.dc_0, found.dh_reset, found.dc_reset, *dflat)
    return tuple([d if needed else None for d, needed in zip(gradients, needs, strict=True)])  # a list is faster


def equations(kind: str, layout: Layout, inputs: FlatTensors) -> tuple[Any, ...]:
    """Return y, h_n and c_n as torch operations."""
    x, h_0, c_0, *reset_state = inputs[:WEIGHTS_AT]
    weights = by_direction(inputs[WEIGHTS_AT:])
    return reference.layer(kind, layout, x, h_0, c_0, weights, reset_state=reset_state)[:3]  # type: ignore[arg-type]


def equations_backward(
    kind: str, layout: Layout, inputs: FlatTensors, upstream: FlatTensors, needs: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """Return what `core_backward` returns, as torch operations that can be differentiated again."""
    return pull_back(lambda *flat: equations(kind, layout, flat), inputs, needs, upstream)


def pull_back(
    function: Callable[..., Sequence[Any]], inputs: Sequence[Any], needs: Sequence[bool], upstream: Sequence[Any]
) -> tuple[Tensor | None, ...]:
    """Return the gradients of a function's inputs, None where not needed, for those of its results, None for zeros.

    Results need not depend on the inputs: what no gradient reaches has zeros, as from the core.

    >>> pull_back(lambda a, b: (a * b, None), (torch.tensor(2.0), 5), (True, False), (torch.tensor(1.0), None))
    (tensor(5.), None)
    """
    wanted = [k for k, needed in enumerate(needs) if needed]
    flowing = [k for k, d in enumerate(upstream) if d is not None]
    if not flowing:  # torch.func.vjp refuses a function without results
        return tuple(filled([None] * len(inputs), wanted, [torch.zeros_like(inputs[k]) for k in wanted]))

    def results(*varied: Tensor) -> tuple[Any, ...]:
        found = function(*filled(inputs, wanted, varied))
        return tuple(found[k] for k in flowing)

    vjp: Any = torch.func.vjp if transforms_active() else _vjp
    _, pull = vjp(results, *(inputs[k] for k in wanted))
    return tuple(filled([None] * len(inputs), wanted, pull(tuple(upstream[k] for k in flowing))))


def _vjp(function: Callable[..., Sequence[Tensor]], *primals: Tensor) -> tuple[Sequence[Tensor], Callable[..., Any]]:
    """Do what torch.func.vjp does by autograd alone, whose saved tensors may have hooks."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # Aliases: one primal may have been computed from another, or be the same.
        varied = [p.view_as(p) for p in primals]
        varied = [v if v.requires_grad else v.requires_grad_() for v in varied]
        found = function(*varied)

    def pull(upstream: Sequence[Tensor]) -> Sequence[Tensor]:
        reached = [(r, d) for r, d in zip(found, upstream, strict=True) if r.requires_grad]
        if not reached:
            return [torch.zeros_like(v) for v in varied]
        results, flowing = zip(*reached, strict=True)
        return torch.autograd.grad(results, varied, flowing, create_graph=again, materialize_grads=True)

    return found, pull


def filled(before: Sequence[Any], places: Sequence[int], values: Sequence[Any]) -> list[Any]:
    """Return a list with other values in some places.

    >>> filled([None, 7, None], [0], [5])
    [5, 7, None]
    """
    new = list(before)
    for k, value in zip(places, values, strict=True):
        new[k] = value
    return new
