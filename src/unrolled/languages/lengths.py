"""Distributions over the sizes n of strings, given as a short text.

A language defines its size: the n of a^n b^n, the pairs of a Dyck word, else the number of symbols.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt

from unrolled.config import lengths
from unrolled.config.checks import check_value


class Lengths:
    """A distribution over sizes: a finite table of sizes and their probabilities.

    Args:
        text: ``uniform:LOW-HIGH``, ``short:LOW-HIGH`` (mostly short), ``long:LOW-HIGH`` (mostly long) or ``u:LOW-HIGH``
            (mostly short or long), each with an optional ``/STEP``; ``geometric:P``, where each size from 1 on is 1 - P
            times as likely as the one before, or ``geometric:P:LOW-HIGH``; ``list:N,N,N``.

    Raises: ValueError saying what is wrong with the text.
    Source: Suzgun et al. 2019 (shapes), Lan et al. 2022 (geometric).

    >>> lengths = Lengths("uniform:1-50")
    >>> lengths.probability(50), round(lengths.entropy, 3), lengths.mean
    (0.02, 3.912, 25.5)
    >>> round(Lengths("short:1-50").mean, 2), round(Lengths("long:1-50").mean, 2)
    (9.17, 41.83)
    >>> lengths.sample(np.random.default_rng(0))
    32
    """

    def __init__(self, text: str) -> None:
        check_value("lengths", text, str)
        self.text = text.strip()
        table = lengths.read(self.text)
        self.sizes: npt.NDArray[np.int64] = np.array(list(table), np.int64)
        weights = np.array(list(table.values()))
        self.probabilities: npt.NDArray[np.float64] = weights / weights.sum()

    def sample(self, rng: np.random.Generator) -> int:
        """Draw one size."""
        return int(self.sizes[np.searchsorted(self._cumulative, rng.random(), side="right")])

    def probability(self, n: int) -> float:
        """Return the probability of size n, in [0, 1]."""
        return dict(self).get(n, 0.0)

    def __iter__(self) -> Iterator[tuple[int, float]]:
        """Yield every size with its probability."""
        return iter(zip(self.sizes.tolist(), self.probabilities.tolist(), strict=True))

    @property
    def entropy(self) -> float:
        """The entropy of a size, in nats."""
        p = self.probabilities[self.probabilities > 0]
        return float(-(p * np.log(p)).sum())

    @property
    def mean(self) -> float:
        """The mean size."""
        return float(self.sizes @ self.probabilities)

    @property
    def longest(self) -> int:
        """The largest size."""
        return int(self.sizes.max())

    @cached_property
    def _cumulative(self) -> npt.NDArray[np.float64]:
        cumulative = np.cumsum(self.probabilities)
        cumulative[-1] = 1.0  # so that no draw lands past the last size
        return cumulative

    def __repr__(self) -> str:
        return f"Lengths({self.text!r})"
