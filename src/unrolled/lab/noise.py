"""Noise on the cell state during training.

The kernel cannot inject noise, so strings run in 8-step segments, one call each, and the noise is added to c between
them.  Letters: S models, T time, B batch, H hidden.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from unrolled.lab.replicas import Replicas

#: Steps of a segment.
SEGMENT = 8


class NoisyReplicas:
    """S models as in :class:`unrolled.lab.replicas.Replicas`, with Gaussian noise on c after every 8 steps.

    Args:
        kind: of a cell that has a cell state.
        weights, T, B, gradients, width, threads: as for `Replicas`.
        sigma: standard deviation of the noise.
        seeds: of the noise, one for each model.

    >>> from unrolled.notation import weight_shapes
    >>> weights = [torch.zeros(1, *shape) for shape in weight_shapes("LSTM", 3, 2).values()]
    >>> gradients = [torch.zeros_like(w) for w in weights]
    >>> replicas = NoisyReplicas("LSTM", weights, 16, 1, gradients, 2, 1, sigma=1.0, seeds=[0])
    >>> replicas.forward([16])
    >>> replicas.y[0, [7, 8], 0].any(-1)  # the output is zero until there is noise
    tensor([False,  True])
    """

    def __init__(
        self,
        kind: str,
        weights: list[Tensor],
        T: int,
        B: int,
        gradients: list[Tensor],
        width: int,
        threads: int,
        *,
        sigma: float,
        seeds: Sequence[int],
    ):
        self.T, self.gradients = T, gradients
        self._segments = [
            Replicas(kind, weights, SEGMENT, B, [torch.zeros_like(g) for g in gradients], width, threads, states=True)
            for _ in range(math.ceil(T / SEGMENT))
        ]
        whole = (len(seeds), len(self._segments) * SEGMENT, B)
        self.ids = torch.zeros(whole, dtype=torch.int64, device="cpu")
        self.y, self.dy = weights[0].new_zeros((*whole, width)), weights[0].new_zeros((*whole, width))
        self._sigma, self._rngs = sigma, [np.random.default_rng([seed, 3]) for seed in seeds]

    def forward(self, steps: Sequence[int]) -> None:
        """Run `ids` from zero states and write `y`, up to the end of the last segment."""
        used = self._used(steps)
        noise = self._noise()
        for k, segment in enumerate(used):
            if k:
                segment.h_0.copy_(used[k - 1].h_n)
                torch.add(used[k - 1].c_n, noise[:, k], out=segment.c_0)
            places = slice(k * SEGMENT, (k + 1) * SEGMENT)
            segment.ids.copy_(self.ids[:, places])
            segment.forward(SEGMENT)
            self.y[:, places, :, : segment.H] = segment.y[..., : segment.H]

    def backward(self, steps: Sequence[int]) -> None:
        """Overwrite the weights' gradients with those of the last forward, from `dy`, which is zero after the end."""
        used = self._used(steps)
        for gradient in self.gradients:
            gradient.zero_()
        used[-1].dh_n.zero_()
        used[-1].dc_n.zero_()
        for k in reversed(range(len(used))):
            segment = used[k]
            segment.dy.copy_(self.dy[:, k * SEGMENT : (k + 1) * SEGMENT])
            segment.backward(SEGMENT)
            for gradient, part in zip(self.gradients, segment.gradients, strict=True):
                gradient += part
            if k:
                used[k - 1].dh_n.copy_(segment.dh_0)
                used[k - 1].dc_n.copy_(segment.dc_0)

    def _used(self, steps: Sequence[int]) -> list[Replicas]:
        return self._segments[: math.ceil(max(steps) / SEGMENT)]

    def _noise(self) -> Tensor:
        """Draw the noise of all segments, used or not, (S, segments, B, H), so that it depends on no other model."""
        shape = (len(self._segments), *self._segments[0].c_0.shape[1:])
        drawn = np.stack([rng.standard_normal(shape, np.float32) for rng in self._rngs])
        return self._sigma * torch.from_numpy(drawn)
