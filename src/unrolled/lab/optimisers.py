"""Optimisers of S models, element by element on (S, P) float32, so that no model affects another.

A new one is a class here and its entry in `OPTIMISERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: Decay of Adam's mean and mean square and of RMSprop's mean square; added to the root of the mean square.
BETA_1, BETA_2, RHO, EPSILON = 0.9, 0.999, 0.99, 1e-8
#: Added to the norm of a gradient before dividing by it, as in torch.
CLIP_EPSILON = 1e-6


def clip(gradients: Array, most: float) -> None:
    """Clip the gradient of each model, a row of (S, P), in place to a norm of at most `most`."""
    norms = np.sqrt(np.add.reduce(np.square(gradients, dtype=np.float64), axis=1))  # squares may overflow float32
    gradients *= np.minimum(1, most / (norms + CLIP_EPSILON)).astype(np.float32)[:, None]


class Adam:
    """Adam.  Source: Kingma and Ba 2015, algorithm 1.

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
    """RMSprop, as in torch.optim.  Source: Tieleman and Hinton 2012, lecture 6.5.

    >>> round(float(RMSprop(np.zeros((1, 1), np.float32))(np.ones((1, 1), np.float32), np.float32(0.1))[0, 0]), 6)
    1.0
    """

    def __init__(self, weights: Array):
        self.square = np.zeros_like(weights)

    def __call__(self, gradients: Array, rate: np.float32) -> Array:
        """Return what to subtract from the weights."""
        self.square += np.float32(1 - RHO) * (gradients * gradients - self.square)
        return rate * gradients / (np.sqrt(self.square) + np.float32(EPSILON))


#: Optimisers by name: each takes the weights, then returns its step for (gradients, learning rate).
OPTIMISERS: dict[str, Callable[[Array], Any]] = {"adam": Adam, "rmsprop": RMSprop}


def optimiser(name: str) -> Callable[[Array], Any]:
    """Return an optimiser by its name.

    Raises: ValueError naming the optimisers there are.

    >>> optimiser("adamw")
    Traceback (most recent call last):
        ...
    ValueError: optimiser is 'adamw'; it must be one of adam, rmsprop
    """
    if name not in OPTIMISERS:
        raise ValueError(f"optimiser is {name!r}; it must be one of {', '.join(OPTIMISERS)}")
    return OPTIMISERS[name]
