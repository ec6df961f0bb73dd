"""Tensors in one flat list, as autograd takes them, and the two backward passes over such lists.

Flat tensors are x, h_0, c_0, h_reset, c_reset and then every weight of every direction, None where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, TypeAlias

import torch
from torch import Tensor

from unrolled.core.fields import LayerTensors, Layout, Weights
from unrolled.nn import fused, reference

FlatTensors: TypeAlias = Sequence[Tensor | None]

#: Where the weights begin among the flat tensors.
WEIGHTS_AT = 5

_COUNT = len(Weights._fields)


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
    end = 3 + count
    return Layout(batch_first, *tensors[:3]), list(tensors[3:end]), tensors[end], tuple(tensors[end + 1 :])


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
    return tuple(d if needed else None for d, needed in zip(gradients, needs, strict=True))


def equations_backward(
    kind: str, layout: Layout, inputs: FlatTensors, upstream: FlatTensors, needs: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """Return what `core_backward` returns, as torch operations that can be differentiated again."""

    def outputs(x: Any, h_0: Any, c_0: Any, h_reset: Any, c_reset: Any, *flat: Any) -> Sequence[Any]:
        return reference.layer(kind, layout, x, h_0, c_0, by_direction(flat), reset_state=(h_reset, c_reset))

    return pull_back(outputs, inputs, needs, upstream)


def pull_back(
    function: Callable[..., Sequence[Any]], inputs: Sequence[Any], needs: Sequence[bool], upstream: Sequence[Any]
) -> tuple[Tensor | None, ...]:
    """Return the gradients of a function's inputs, None where not needed, for those of its results, None for zeros.

    >>> pull_back(lambda a, b: (a * b, None), (torch.tensor(2.0), 5), (True, False), (torch.tensor(1.0), None))
    (tensor(5.), None)
    """
    wanted = [k for k, needed in enumerate(needs) if needed]
    flowing = [k for k, d in enumerate(upstream) if d is not None]

    def results(*varied: Tensor) -> tuple[Any, ...]:
        found = function(*filled(inputs, wanted, varied))
        return tuple(found[k] for k in flowing)

    _, pull = torch.func.vjp(results, *(inputs[k] for k in wanted))  # type: ignore[misc]
    return tuple(filled([None] * len(inputs), wanted, pull(tuple(upstream[k] for k in flowing))))


def filled(before: Sequence[Any], places: Sequence[int], values: Sequence[Any]) -> list[Any]:
    """Return a list with other values in some places.

    >>> filled([None, 7, None], [0], [5])
    [5, 7, None]
    """
    new = list(before)
    for k, value in zip(places, values, strict=True):
        new[k] = value
    return new
