"""The one loop over stacked layers, and what the first of them reads.

The layers of this package, the hand-made gradients of the language model and the views all unroll their stacks here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from unrolled.core.fields import Layout, Weights
from unrolled.nn import dispatch, fit, reference
from unrolled.nn.layout import savable
from unrolled.nn.reach import has_values


class Unrolled(NamedTuple):
    """What a stack of layers computed."""

    outputs: list[Tensor]  # y of each layer, (T, B, D*P)
    states: list[Tensor]  # h_n (L*D, B, P), and c_n (L*D, B, H) of a cell that has a cell state
    extras: list[Any]  # what else each layer returned


#: Runs stacked layer k: (k, x, h_0, c_0) -> (y, h_n, c_n, extra), states (D, B, ...) or None.
RunLayer = Callable[[int, Tensor, Tensor | None, Tensor | None], tuple[Tensor, Tensor, Tensor | None, Any]]


def run_stack(
    run_layer: RunLayer,
    x: Tensor,
    states: Sequence[Tensor],
    L: int,
    D: int = 1,
    between: Callable[[Tensor], Tensor] | None = None,
) -> Unrolled:
    """Feed each stacked layer's output to the next.

    Args:
        run_layer: runs one layer.
        x: what the first layer reads.
        states: h_0 (L*D, B, P), and c_0 (L*D, B, H), before the first step; none for zeros.
        between: applied to what every layer but the first reads, such as dropout.

    >>> def double(k, x, h_0, c_0):
    ...     return 2 * x, h_0, c_0, f"layer {k}"
    >>> outputs, states, extras = run_stack(double, torch.ones(1), [torch.zeros(3, 1, 4)], L=3)
    >>> outputs[-1].item(), states[0].shape, extras
    (8.0, torch.Size([3, 1, 4]), ['layer 0', 'layer 1', 'layer 2'])
    """
    outputs, finals, extras = [], [], []
    for k in range(L):
        if k and between is not None:
            x = between(x)
        x, h_n, c_n, extra = run_layer(k, x, *of_layer(states, k, L, D))
        outputs.append(x)
        finals.append([h_n] if c_n is None else [h_n, c_n])
        extras.append(extra)
    return Unrolled(outputs, finals[0] if L == 1 else [_joined(s) for s in zip(*finals, strict=True)], extras)


def of_layer(states: Sequence[Tensor], k: int, L: int, D: int) -> tuple[Tensor | None, Tensor | None]:
    """Return h and c (D, B, ...) of layer k from the states (L*D, B, ...) of a stack; None for those that are missing.

    >>> h, c = of_layer([torch.zeros(6, 3, 4)], 1, L=3, D=2)
    >>> h.shape, c
    (torch.Size([2, 3, 4]), None)
    """
    own = states if L == 1 else [s[k * D : (k + 1) * D] for s in states]
    return (*own, None, None)[:2]  # type: ignore[return-value]


def _joined(states: Sequence[Tensor]) -> Tensor:
    """Return the states (D, B, ...) of two or more stacked layers as one (L*D, B, ...)."""
    if torch.compiler.is_compiling() and dispatch.obstacle(states[0], states[0].dtype) is None:
        return torch.ops.unrolled.cat(states)  # type: ignore[no-any-return]
    return torch.cat(list(states))


def first_input(
    x: Tensor, weights: list[Weights], embedding: Tensor | None, layout: Layout
) -> tuple[Tensor, list[Weights]]:
    """Return what the first stacked layer reads, and its weights, for an int64 input read through an embedding.

    With fewer symbols than positions, W_ih E^T (G*H, V) costs less than W_ih times every position's embedding, and
    turns the layer's input product into a row lookup: x stays one-hot.  Otherwise the layer reads looked-up rows.

    Args: x (T, B), laid out as `layout` says; weights of each direction; embedding E (V, I), None for none.
    Raises: IndexError for an index outside [0, V); past the end of a row it may be anything.

    >>> E, W = torch.randn(3, 4), torch.randn(6, 4)
    >>> x, [weights] = first_input(torch.tensor([[2], [0], [2], [1]]), [Weights(W, W)], E, Layout())
    >>> x.dtype, weights.W_ih.shape
    (torch.int64, torch.Size([6, 3]))
    """
    if embedding is None:
        return x, weights
    # On other devices torch's own operator takes vectors; an exported program has no size to decide by.
    if x.is_cpu and not torch.compiler.is_exporting() and len(embedding) < x.numel():
        with nullcontext() if dispatch.autocast_type(x) is None else torch.autocast("cpu", enabled=False):
            return x, [w._replace(W_ih=linear(w.W_ih, embedding)) for w in weights]  # in the type of the weights
    if has_values(x, layout.lengths):
        fit.memory({"x": x, "lengths": layout.lengths})
        fit.one_hot_range(x, len(embedding), layout)
    if layout.lengths is not None:
        alive = reference.alive(layout.lengths, x.shape[int(layout.batch_first)], layout.batch_first)
        x = torch.where(alive, x, 0)
    return torch.nn.functional.embedding(savable(x), embedding), weights
