"""The gradient of one batch: backpropagation through head and layers by hand, without autograd's graph.

On the five strings of the textbook example, a^n b^n, the graph costs more time than the arithmetic.  Here each
product of the chain rule is one line, and tests/lm/test_gradients.py compares the gradient of every parameter with
autograd's.  T time, B batch, N = T*B, H hidden, V vocabulary; dX is the gradient of X.

Mixed precision: the layers and the products of the head may run in bfloat16, in which they read rounded weights.  The
weights themselves, the loss, what gradients are added to and the state between batches keep the type of the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from unrolled.config.checks import Precision
from unrolled.config.options import option
from unrolled.core.fields import LayerTensors, Layout, Weights
from unrolled.lm.arguments import is_called
from unrolled.lm.dropout import Mask, add_masked, kept, masked
from unrolled.lm.loader import Batch
from unrolled.lm.model import SequenceModel, State
from unrolled.lm.sampled_softmax import SampledSoftmax
from unrolled.nn import dispatch, fused
from unrolled.nn.modules import beyond_weights, is_hooked
from unrolled.nn.reach import core_reads
from unrolled.nn.recompute import segment_steps
from unrolled.nn.stack import first_input, run_stack

#: Adds the gradient of a batch's summed loss to the ``grad`` of every parameter.
#:
#: Args: the model, whose parameters have a ``grad`` each (:class:`unrolled.lm.optimisers.FlatParameters` gives it to
#: them); the batch; the state before it, each (L, B, H), taken as constant, or None for the initial state.
#: Returns: the sum of -log p(target) in nats, and the state after the batch, detached.
GradientFunction = Callable[[SequenceModel, Batch, State | None], tuple[float, State]]
#: Numbers of looked-up rows beyond those of E up to which a batch looks them up.
LOOKED_UP = 1 << 15
#: Is called with parameters of which a batch has completed the gradient.
Ready = Callable[..., None]


def gradient_function(
    model: SequenceModel,
    precision: Precision = "float32",
    sampled: SampledSoftmax | None = None,
    *,
    ready: Ready | None = None,
) -> GradientFunction:
    """Return `by_hand`, or `by_autograd`.

    That is for a weight that is frozen or computed, for hooks, for methods or layers of the model's own, for an
    embedding that does more than look up, and for where the core cannot run.

    Args: the model; the type that the pass runs in, of which float32 stands for that of the weights; what runs the head
        on a sample of the symbols, None for the softmax over all; what waits for gradients while the walk back goes on.
    Raises: ValueError if the head is to be sampled and the model has one, or a loss, of its own.
    """
    layers = [w for direction in model.rnn.weights() for w in direction if w is not None]
    read = (*layers, model.head.weight, model.head.bias, *model.parameters())
    plain = all(w is not None and w.is_leaf and w.requires_grad for w in read)
    hooked = any(map(is_hooked, (model, *model.parts))) or is_called(model.embedding)
    on_core = dispatch.obstacle(model.head.weight, model.head.weight.dtype) is None and core_reads(*layers)
    function = by_hand if plain and on_core and model.as_made and not hooked else by_autograd
    own_head = not model.as_made or is_hooked(model) or beyond_weights(model.head, hooks_after=False, computing=False)
    if sampled is not None and own_head:
        raise ValueError(
            f"{option('softmax_samples')} runs the head of a SequenceModel on a sample, but this model has a head, a "
            "method, layers or hooks of its own; leave it out"
        )
    options: dict[str, Any] = {"narrow": torch.bfloat16} if precision == "bfloat16" else {}
    options |= {name: given for name, given in {"ready": ready, "sampled": sampled}.items() if given is not None}
    return partial(function, **options) if options else function


def walked_back(model: torch.nn.Module) -> Iterator[torch.nn.Parameter]:
    """Yield every parameter once, about in the order in which a batch completes the gradients: the last layer first."""
    parameters = dict(model.named_parameters())
    initial = [name for name in parameters if name.startswith("initial.")]
    yield from (parameters[name] for name in reversed(parameters) if name not in initial)
    yield from (parameters[name] for name in initial)


def by_autograd(
    model: SequenceModel,
    batch: Batch,
    state: State | None,
    narrow: torch.dtype | None = None,
    ready: Ready | None = None,
    sampled: SampledSoftmax | None = None,
) -> tuple[float, State]:
    """Compute the gradients by autograd, in a narrower type by autocast; see :data:`GradientFunction`.

    Autocast leaves a GRU in float32, as that of torch.
    """
    with nullcontext() if narrow is None else torch.autocast("cpu", narrow):
        if sampled is None:
            loss, after = model.loss(batch.ids, batch.targets, state, batch.lengths, reduction="sum")
        else:
            x, after = model.outputs(batch.ids, state, batch.lengths)
            loss = sampled.loss(x.flatten(0, 1), model.W_hy, model.b_y, batch.targets.flatten())
    trained = [p for p in model.parameters() if p.requires_grad] if ready else []
    hooks = [p.register_post_accumulate_grad_hook(ready) for p in trained]  # type: ignore[no-untyped-call]
    try:
        loss.backward()  # type: ignore[no-untyped-call]
    finally:
        for hook in hooks:
            hook.remove()
    return loss.item(), tuple(s.detach().to(model.head.weight.dtype) for s in after)


@torch.no_grad()
def by_hand(
    model: SequenceModel,
    batch: Batch,
    state: State | None,
    narrow: torch.dtype | None = None,
    ready: Ready = lambda *_: None,
    sampled: SampledSoftmax | None = None,
) -> tuple[float, State]:
    """Compute the gradients by the chain rule, written out, in a narrower type if one is given.

    See :data:`GradientFunction`.
    """
    rnn, kind, L = model.rnn, model.config.kind, model.config.num_layers
    p, p_head = rnn.dropout_between_layers(), model.config.dropout if model.training else 0.0
    layout = Layout(lengths=batch.lengths)
    segment = segment_steps(kind, layout, batch.ids, rnn.checkpoint_steps)
    before = model.initial_state(batch.ids.shape[1]) if state is None else state
    weights, (W_hy, b_y) = rnn.weights(), (model.head.weight, model.head.bias)
    p_hh = model.config.weight_dropout if model.training else 0.0
    masks_hh = [kept(w.W_hh, p_hh) for w in weights]  # each (G*H, H)
    if model.embedding is not None and _is_looked_up(batch.ids, model.E):
        x, first = torch.nn.functional.embedding(batch.ids, model.E), weights[:1]
    else:
        x, first = first_input(batch.ids, weights[:1], None if model.embedding is None else model.E, layout)
    through_E = first[0].W_ih is not weights[0].W_ih  # the first layer reads symbols through W_ih E^T (G*H, V)
    if x.is_floating_point():
        x = masked(x, None, narrow)
    read = [
        Weights(*(None if t is None else masked(t, mask if t is w.W_hh else None, narrow) for t in w))
        for w, mask in zip([*first, *weights[1:]], masks_hh, strict=True)
    ]
    before = tuple(masked(s, None, narrow) for s in before)
    W, b = masked(W_hy, None, narrow), masked(b_y, None, narrow)
    masks: list[Mask | None] = [None]  # of the dropout before each layer

    def drop(x: Tensor) -> Tensor:
        masks.append(kept(x, p))
        return masked(x, masks[-1])

    def run_layer(
        k: int, x: Tensor, h_0: Tensor | None, c_0: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None, LayerTensors]:
        tensors = fused.forward(kind, layout, x, h_0, c_0, read[k : k + 1], True, segment)
        return tensors.y, tensors.h_n, tensors.c_n, tensors

    outputs, after, layers = run_stack(run_layer, x, before, L, between=drop)
    mask = kept(outputs[-1], p_head)
    x = masked(outputs[-1], mask)
    h = x.flatten(0, 1)  # (N, H)
    nats, dh = (sampled or fused.head)(h, W, b, batch.targets.flatten(), _grad(W_hy), _grad(b_y))
    ready(b_y, *(() if model.config.tied else (W_hy,)))
    dy = masked(dh.view(x.shape), mask)  # (T, B, H)
    learned = state is None and len(model.initial) > 0
    for layer in reversed(range(L)):
        tensors, own = layers[layer], weights[layer]
        needs = (tensors.x.is_floating_point(), learned, learned, False, False, False)
        sums = Weights(*(None if w is None else _grad(w) for w in own))
        if mask_hh := masks_hh[layer]:
            sums = sums._replace(W_hh=torch.zeros_like(own.W_hh))
        if through_E and not layer:
            sums = sums._replace(W_ih=own.W_ih.new_zeros(tensors.weights[0].W_ih.shape))
        found = fused.backward(kind, layout, tensors, dy, None, None, needs=needs, segment=segment, sums=[sums])
        if mask_hh:
            add_masked(sums.W_hh, mask_hh, _grad(own.W_hh))
        if through_E and not layer:
            _grad(own.W_ih).addmm_(sums.W_ih, model.E)
            _grad(model.E).addmm_(sums.W_ih.t(), own.W_ih)
        ready(*own)
        if learned:
            for initial, ds in zip(model.initial, (found.dh_0, found.dc_0), strict=False):
                _grad(initial)[layer].add_(ds.sum(1, dtype=initial.dtype))
        if found.dx is None:
            continue  # the first layer read symbols, which have no gradient
        if layer:
            dy = masked(found.dx, masks[layer])
        else:
            _grad(model.E).index_add_(0, batch.ids.flatten(), found.dx.flatten(0, 1).to(model.E.dtype))
    return nats, tuple(s.to(W_hy.dtype) for s in after)


def _is_looked_up(ids: Tensor, E: Tensor) -> bool:
    """Return whether each position's row of E costs less than W_ih E^T for all symbols and its way back.

    That is three products, of which torch takes as long for few symbols as the layer for `LOOKED_UP` more numbers.
    """
    V, width = E.shape
    return (ids.numel() - V) * width <= LOOKED_UP


def _grad(parameter: Tensor | None) -> Tensor:
    """Return the gradient buffer of a parameter, which backward adds to."""
    assert parameter is not None
    assert parameter.grad is not None
    return parameter.grad
