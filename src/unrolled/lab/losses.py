"""The losses of S models and their gradients.

Letters: S models, N positions, K answers.  Each takes logits (K, S, N) and targets of the same shape, float32, and
returns the losses (S, N) and their gradients with respect to the logits.  NumPy, because each sum has a fixed order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def softmax(logits: Array, target: Array) -> tuple[Array, Array]:
    """Cross-entropy of the answers and its gradient: p - target."""
    p = np.exp(logits - _over_answers(np.maximum, logits))
    p /= _over_answers(np.add, p)
    return -np.log(np.maximum(_over_answers(np.add, p * target), 1e-30)), p - target


def sets(logits: Array, target: Array) -> tuple[Array, Array]:
    """Binary cross-entropy summed over the answers, and its gradient: p - target."""
    p = _sigmoid(logits)
    likely = np.maximum(np.where(target > 0, p, 1 - p), 1e-30)
    return -_over_answers(np.add, np.log(likely)), p - target


def squared(logits: Array, target: Array) -> tuple[Array, Array]:
    """Squared error of the sigmoids, mean over the answers, and its gradient."""
    p = _sigmoid(logits)
    off = p - target
    K = len(logits)
    return _over_answers(np.add, off * off) / K, 2 * off * p * (1 - p) / K


def _sigmoid(logits: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80))))


def _over_answers(ufunc: Any, values: Array) -> Array:
    """Reduce the first axis in order; NumPy's own reduction may change its order with the shape."""
    folded: Array = values[0]
    for each in values[1:]:
        folded = ufunc(folded, each)
    return folded


LOSSES = {"softmax": softmax, "sets": sets, "squared": squared}
