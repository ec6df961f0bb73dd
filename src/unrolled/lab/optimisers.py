"""Rules that turn the gradients of S nets, (S, P) float32, into steps: each net's by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: Adam's decay of mean and mean square, RMSprop's of the mean square, and what is added to its root.
BETA_1, BETA_2, RHO, EPSILON = 0.9, 0.999, 0.99, 1e-8
#: What is added to a gradient's norm before it is divided by, as torch does.
CLIP_EPSILON = 1e-6


def clip(gradients: Array, most: float) -> None:
    """Shorten each net's gradient (S, P) in place to a norm of at most `most`."""
    norms = np.sqrt(np.add.reduce(np.square(gradients, dtype=np.float64), axis=1))  # squares may leave float32
    gradients *= np.minimum(1, most / (norms + CLIP_EPSILON)).astype(np.float32)[:, None]


class Adam:
    """Adam on (S, P) weights.  Source: Kingma and Ba 2015, algorithm 1.

    >>> round(float(Adam(np.zeros((1, 1), np.float32))(np.ones((1, 1), np.float32), np.float32(0.1))[0, 0]), 6)
    0.1
    """

    def __init__(self, weights: Array):
        self.mean, self.square, self.steps = np.zeros_like(weights), np.zeros_like(weights), 0

    def __call__(self, gradients: Array, rate: np.float32) -> Array:
        """Return what to subtract from the weights."""
        self.steps += 1
        self.mean += np.float32(1 - BETA_1) * (gradients - self.mean)
        self.square += np.float32(1 - BETA_2) * (gradients * gradients - self.square)
        root = np.sqrt(self.square / np.float32(1 - BETA_2**self.steps)) + np.float32(EPSILON)
        return rate / np.float32(1 - BETA_1**self.steps) * self.mean / root


class RMSprop:
    """RMSprop on (S, P) weights, as in torch.optim.  Source: Tieleman and Hinton 2012, lecture 6.5.

    >>> round(float(RMSprop(np.zeros((1, 1), np.float32))(np.ones((1, 1), np.float32), np.float32(0.1))[0, 0]), 6)
    1.0
    """

    def __init__(self, weights: Array):
        self.square = np.zeros_like(weights)

    def __call__(self, gradients: Array, rate: np.float32) -> Array:
        """Return what to subtract from the weights."""
        self.square += np.float32(1 - RHO) * (gradients * gradients - self.square)
        return rate * gradients / (np.sqrt(self.square) + np.float32(EPSILON))


RULES: dict[str, Callable[[Array], Any]] = {"adam": Adam, "rmsprop": RMSprop}
