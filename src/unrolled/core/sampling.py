"""From logits to the next symbol, for the torch model and the runtime; the rules themselves are csrc/sampler.cpp."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.config.generation import GenerationConfig
from unrolled.core import _core

Logits = NDArray[np.floating[Any]]
Uniforms = NDArray[np.float64]


def log_softmax(logits: Logits) -> NDArray[np.float64]:
    """Return the log-probabilities (..., V) in nats of logits (..., V).

    Raises: ValueError if a logit is NaN or +inf, or all of a row are -inf.

    >>> log_softmax(np.zeros((1, 4))).round(4).tolist()
    [[-1.3863, -1.3863, -1.3863, -1.3863]]
    """
    return logits.astype(np.float64) - _log_sums(logits)[..., None]


def log_softmax_at(logits: Logits, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the log-probability of one symbol a row, ids (...), from logits (..., V): the bits of :func:`log_softmax`.

    Raises: as :func:`log_softmax`.

    >>> log_softmax_at(np.zeros((1, 4)), np.array([2])).round(4).tolist()
    [-1.3863]
    """
    return np.take_along_axis(logits, ids[..., None], axis=-1)[..., 0].astype(np.float64) - _log_sums(logits)


def _log_sums(logits: Logits) -> NDArray[np.float64]:
    """Return log sum e^logits of each row, (...)."""
    rows: Any = np.ascontiguousarray(logits, np.float32 if logits.dtype == np.float32 else np.float64)
    sums = np.empty(logits.shape[:-1])
    _core.log_sums(rows.reshape(-1, logits.shape[-1]), sums.reshape(-1))
    if np.isnan(sums).any():
        wrong = logits[np.isnan(sums)][0].max()
        raise ValueError(
            f"the largest logit is {wrong}, expected a number; the model's weights are damaged or its training diverged"
        )
    return sums


def rules(config: GenerationConfig, unk_id: int) -> _core.Choice:
    """Return the sampling rules in the form that the core reads; UNK is forbidden unless the config allows it."""
    return _core.Choice(
        forbidden=-1 if config.allow_unk else unk_id,
        temperature=config.temperature,
        top_k=config.top_k,
        top_p=config.top_p,
        min_p=config.min_p,
        likeliest=config.strategy == "greedy",
    )


def probabilities(logits: Logits, config: GenerationConfig, unk_id: int = -1) -> NDArray[np.float64]:
    """Return the probabilities (B, V) to draw from, after temperature, top-k, top-p and min-p, in this order.

    Ties at the edge of top-k and min-p are kept.

    Args:
        logits: (B, V).
        config: temperature and the three rules.
        unk_id: the symbol that is never drawn unless `config.allow_unk`; -1 for none.
    Raises: ValueError if a logit is NaN or +inf, or no symbol is left.

    Source: top-p is nucleus sampling, Holtzman et al. 2020; min-p is Nguyen et al. 2024.

    >>> probabilities(np.log([[0.5, 0.3, 0.2]]), GenerationConfig(top_k=2)).round(3).tolist()
    [[0.625, 0.375, 0.0]]
    """
    p = np.empty(logits.shape, np.float64)
    choice = rules(config, unk_id)
    for row, shares in zip(logits, p, strict=True):
        _core.shares(choice, row, shares)
    p /= p.sum(axis=1, keepdims=True)
    return p


class Chooser:
    """Chooses the symbols of a batch; row b draws from its own random stream (seed, b), one number a symbol."""

    def __init__(self, config: GenerationConfig, unk_id: int, B: int):
        self.rules = rules(config, unk_id)
        self._streams = [np.random.default_rng([config.seed, b]) for b in range(B)]
        self._ahead = [np.empty(0) for _ in range(B)]  # drawn but not yet used

    def __call__(self, logits: Logits, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """Return the next symbol (R,) of these rows (R,) from their logits (R, V)."""
        u = self.ahead(rows, 1)[0]
        self.used(rows, 1)
        return np.array([_core.choose(self.rules, row, x) for row, x in zip(logits, u, strict=True)], np.int64)

    def ahead(self, rows: NDArray[np.intp], n: int) -> Uniforms:
        """Return the numbers (n, R) in [0, 1) that the next n symbols of these rows will use."""
        for b in rows:
            missing = n - len(self._ahead[b])
            if missing > 0:
                self._ahead[b] = np.append(self._ahead[b], self._streams[b].random(missing))
        return np.stack([self._ahead[b][:n] for b in rows], axis=1)

    def used(self, rows: NDArray[np.intp], n: int) -> None:
        """Record that these rows have used n numbers."""
        for b in rows:
            self._ahead[b] = self._ahead[b][n:]
