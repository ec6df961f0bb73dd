"""torch's own operator in the place of the core: it serves every device that the core does not."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unrolled.core.fields import Layout, Weights


def of_torch(
    layer: torch.nn.RNNBase, x: Tensor, states: Sequence[Tensor], layout: Layout, weights: Sequence[Weights]
) -> tuple[Tensor, list[Tensor]]:
    """Return y and the final states of a whole call.

    Args: the layer, whose attributes say how many layers and directions there are; x, states and weights as of a stack.

    >>> gru, x = torch.nn.GRU(4, 6), torch.randn(5, 3, 4)
    >>> weights = [Weights(gru.weight_ih_l0, gru.weight_hh_l0, gru.bias_ih_l0, gru.bias_hh_l0)]
    >>> y, [h_n] = of_torch(gru, x, [torch.zeros(1, 3, 6)], Layout(), weights)
    >>> torch.equal(y, gru(x)[0])
    True
    """
    hx = tuple(states) if len(states) == 2 else states[0]
    flat = [w for direction in weights for w in direction if w is not None]
    options = (flat, layer.bias, layer.num_layers, layer.dropout, layer.training, layer.bidirectional)
    operator = getattr(torch._VF, layer.mode.lower())
    if layout.batch_sizes is None:
        y, *finals = operator(x, hx, *options, layout.batch_first)
    else:
        y, *finals = operator(x, layout.batch_sizes, hx, *options)
    return y, finals
