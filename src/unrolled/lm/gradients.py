"""The gradient of one batch: back through head and layers by hand, without building a graph.

On the five strings of the founding example autograd's bookkeeping costs more than all arithmetic; here every product
of the chain rule is one line, and `test_gradients.py` holds each against autograd.

T time, B batch, N = T*B, H hidden, V vocabulary; dX is the gradient of X.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from unrolled.lm.loader import Batch
from unrolled.nn import dispatch
from unrolled.nn.reference import DirectionWeights
from unrolled.nn.routes import fused

if TYPE_CHECKING:
    from unrolled.lm.model import SequenceModel, State

aten = torch.ops.aten


class Layer(NamedTuple):
    """What the forward pass of one layer leaves for its backward pass; mask is what dropout kept of its input."""

    x: Tensor
    mask: Tensor | None
    h_0: Tensor | None
    c_0: Tensor | None
    weights: DirectionWeights
    y: Tensor
    saved: fused.Saved


#: Adds the gradient of a batch's summed loss to the ``grad`` of every parameter.
#:
#: Args: the model, whose parameters each have a ``grad``, which an optimiser of this package sees to; the batch, whose
#: symbols are the model's; the state to go on from, each (L, B, H), taken as constant, or None for the initial one.
#: Returns: the sum of -log p(target) in nats, and the state after the batch, detached.
Way = Callable[["SequenceModel", Batch, "State | None"], tuple[float, "State"]]


def way(model: SequenceModel) -> Way:
    """Return the quickest way to gradients that a model allows.

    By hand, unless a weight is frozen or computed from others, or the compiled core cannot take the calls.
    """
    layers = [w for layer in range(model.config.num_layers) for w in model.weights(layer, None) if w is not None]
    plain = all(w.is_leaf and w.requires_grad for w in (*layers, *model.parameters()))
    return by_hand if plain and dispatch.obstacle(model.head.weight, model.head.weight.dtype) is None else by_autograd


def by_autograd(model: SequenceModel, batch: Batch, state: State | None) -> tuple[float, State]:
    """Let autograd find the gradients; see :data:`Way`."""
    loss, after = model.loss(batch.ids, batch.targets, state, batch.lengths)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.item(), tuple(s.detach() for s in after)


@torch.no_grad()
def by_hand(model: SequenceModel, batch: Batch, state: State | None) -> tuple[float, State]:
    """Find the gradients by the chain rule, written out; see :data:`Way`."""
    kind, p, lengths = model.config.kind, model.config.dropout if model.training else 0.0, batch.lengths
    before = model.initial_state(batch.ids.shape[1]) if state is None else state

    first, W_ih = model.first_input(batch.ids)
    x = first
    layers: list[Layer] = []
    ends: list[tuple[Tensor, ...]] = []
    for layer in range(model.config.num_layers):
        x, mask = _dropped(x, p if layer else 0.0)
        weights = model.weights(layer, W_ih if layer == 0 else None)
        h_0, c_0, *_ = (*(s[layer : layer + 1] for s in before), None, None)
        y, h_n, c_n, saved = fused.forward(kind, x, h_0, c_0, [weights], lengths=lengths, save=True)
        assert saved is not None
        layers.append(Layer(x, mask, h_0, c_0, weights, y, saved))
        ends.append((h_n,) if c_n is None else (h_n, c_n))
        x = y
    x, mask = _dropped(x, p)
    h = x.flatten(0, 1)  # (N, H)
    W_hy, b_y = model.head.weight, model.head.bias
    nats, dh = fused.head(h, W_hy, b_y, batch.targets.flatten(), _grad(W_hy), _grad(b_y))
    dy = _dropped_back(dh.view(x.shape), mask, p)  # (T, B, H)
    learned = state is None and len(model.initial) > 0
    for layer in reversed(range(len(layers))):
        each = layers[layer]
        needs = (each.x.is_floating_point(), learned, learned, True)
        dx, dh_0, dc_0, [dweights] = fused.backward(
            kind, each.saved, each.x, each.h_0, each.c_0, [each.weights], each.y, dy, None, None,
            lengths=lengths, needs=needs,
        )  # fmt: skip
        W_ih, *own = model.weights(layer, None)[:4]
        dW_ih, *others = (dw for dw in dweights if dw is not None)
        for w, dw in zip(own, others, strict=True):
            _grad(w).add_(dw)
        if each.weights[0] is W_ih:
            _grad(W_ih).add_(dW_ih)
        else:  # the layer read symbols through W_ih E^T (G*H, V)
            _grad(W_ih).addmm_(dW_ih, model.E)
            _grad(model.E).addmm_(dW_ih.t(), W_ih)
        if learned:
            for initial, ds in zip(model.initial, (dh_0, dc_0), strict=False):
                assert ds is not None
                _grad(initial)[layer].add_(ds.sum(1))
        if dx is None:
            continue  # symbols have no gradient
        if layer:
            dy = _dropped_back(dx, each.mask, p)
        else:
            _grad(model.E).index_add_(0, batch.ids.flatten(), dx.flatten(0, 1))
    after = tuple(s[0] if len(s) == 1 else torch.cat(s) for s in zip(*ends, strict=True))
    return nats, after


def _dropped(x: Tensor, p: float) -> tuple[Tensor, Tensor | None]:
    """Return x with dropout, and what it kept; the same draws as torch.nn.functional.dropout."""
    if not p:
        return x, None
    x, mask = torch.native_dropout(x, p, True)
    return x, mask


def _dropped_back(dx: Tensor, mask: Tensor | None, p: float) -> Tensor:
    if mask is None:
        return dx
    back: Tensor = aten.native_dropout_backward(dx, mask, 1 / (1 - p))
    return back


def _grad(parameter: Tensor | None) -> Tensor:
    """Return the gradient buffer of a parameter, which backward adds to."""
    assert parameter is not None
    assert parameter.grad is not None
    return parameter.grad
