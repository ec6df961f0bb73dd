"""From logits to the next symbol: the sampling rules, once, for the torch model and for the numpy runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.runtime.config import GenerationConfig

Logits = NDArray[np.floating[Any]]


def log_softmax(logits: Logits) -> NDArray[np.float64]:
    """Return the log-probabilities (..., V) in nats that logits (..., V) stand for.

    >>> log_softmax(np.zeros((1, 4))).round(4).tolist()
    [[-1.3863, -1.3863, -1.3863, -1.3863]]
    """
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted


def probabilities(logits: Logits, config: GenerationConfig, forbidden: Sequence[int] = ()) -> NDArray[np.float64]:
    """Return the probabilities (B, V) to draw from, after temperature, top-k, top-p and min-p, in this order.

    Rows need not sum to 1; :func:`draw` divides.  Ties at the edge of top-k and min-p are kept.

    Args:
        logits: (B, V).
        config: temperature and the three rules.
        forbidden: symbols that get no share.

    Source: top-p is nucleus sampling, Holtzman et al. 2020; min-p is Nguyen et al. 2024.

    >>> p = probabilities(np.log([[0.5, 0.3, 0.2]]), GenerationConfig(top_k=2))
    >>> (p / p.sum()).round(3).tolist()
    [[0.625, 0.375, 0.0]]
    """
    p: NDArray[np.float64] = np.multiply(logits, 1 / config.temperature, dtype=np.float64)
    for symbol in forbidden:
        p[:, symbol] = -np.inf
    p -= np.maximum.reduce(p, axis=1, keepdims=True)
    np.exp(p, out=p)
    if 0 < config.top_k < p.shape[1]:
        kth = np.partition(p, -config.top_k, axis=1)[:, -config.top_k, None]
        p[p < kth] = 0
    if config.top_p < 1:
        order = np.argsort(-p, axis=1, kind="stable")
        ranked = np.take_along_axis(p, order, axis=1)
        before = np.cumsum(ranked, axis=1) - ranked  # mass of the symbols ahead of each
        ranked[before >= config.top_p * ranked.sum(axis=1, keepdims=True)] = 0
        np.put_along_axis(p, order, ranked, axis=1)
    if config.min_p > 0:
        p[p < config.min_p * p.max(axis=1, keepdims=True)] = 0
    return p


def draw(p: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the symbol (B,) on which each uniform number u (B,) in [0, 1) falls; p (B, V) need not sum to 1.

    >>> draw(np.array([[1.0, 0.0, 3.0]] * 3), np.array([0.0, 0.24, 0.26])).tolist()
    [0, 0, 2]
    """
    if len(p) == 1:  # one row: a search costs less than a comparison with every sum
        sums = p[0].cumsum()
        one: NDArray[np.int64] = sums.searchsorted(u * sums[-1], side="right")
        return one
    cumulative = p.cumsum(axis=1)
    reached = cumulative <= (u * cumulative[:, -1])[:, None]
    chosen: NDArray[np.int64] = reached.sum(axis=1)
    return chosen


class Chooser:
    """Chooses one symbol for each row of a batch; row b draws from its own random stream (seed, b)."""

    def __init__(self, config: GenerationConfig, unk_id: int, B: int):
        self.config = config
        self.forbidden = () if config.allow_unk else (unk_id,)
        self.uniform = [np.random.default_rng([config.seed, b]).random for b in range(B)]

    def __call__(self, logits: Logits, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return the next symbol (R,) of these rows (R,) from their logits (R, V)."""
        p = probabilities(logits, self.config, self.forbidden)
        if self.config.strategy == "greedy":
            likeliest: NDArray[np.int64] = p.argmax(axis=1)
            return likeliest
        return draw(p, np.array([self.uniform[b]() for b in rows]))
