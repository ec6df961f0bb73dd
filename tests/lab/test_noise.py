"""Noise on the cell state has the gradients of autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unrolled.lab.noise import SEGMENT, NoisyReplicas
from unrolled.nn import dispatch
from unrolled.notation import weight_shapes


@pytest.mark.parametrize("B", [1, 3])
def test_cell_noise_has_the_gradients_of_autograd(B):
    """Compare with the layer, run segment by segment with the same noise."""
    S, I, H, T = 2, 3, 5, 2 * SEGMENT + 3
    torch.manual_seed(0)
    weights = [torch.randn(S, *shape) for shape in weight_shapes("LSTM", I, H).values()]
    gradients = [torch.full_like(w, 7.0) for w in weights]
    replicas = NoisyReplicas("LSTM", weights, T, B, gradients, H, 1, sigma=0.5, seeds=[4, 5])
    noise = 0.5 * torch.from_numpy(np.stack([
        np.random.default_rng([seed, 3]).standard_normal((3, B, H), np.float32) for seed in (4, 5)
    ]))  # fmt: skip
    ids, dy = torch.randint(I, (S, T, B)), torch.randn(S, T, B, H)
    replicas.ids[:, :T] = ids
    replicas.forward([T, T])
    replicas.dy[:, :T] = dy
    replicas.backward([T, T])
    for s in range(S):
        own = [w[s].clone().requires_grad_() for w in weights]
        h = c = torch.zeros(1, B, H)
        ys = []
        for k in range(3):
            c = c + noise[s, k] if k else c
            y, h, c, *_ = dispatch.layer("LSTM", ids[s, k * SEGMENT : (k + 1) * SEGMENT], h, c, [(*own, None)])
            ys.append(y)
        want = torch.cat(ys)
        want.backward(dy[s])
        torch.testing.assert_close(replicas.y[s, :T], want)
        for got, w in zip(gradients, own, strict=True):
            torch.testing.assert_close(got[s], w.grad)
