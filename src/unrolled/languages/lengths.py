"""How large the strings of a data set are: a distribution over sizes n, written as a short text.

A size n is what the language counts: the n of a^n b^n, the pairs of a Dyck word, else the symbols of the string.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

import numpy as np
import numpy.typing as npt

#: Beta-binomial shapes (alpha, beta) over a range.  Source: Suzgun et al. 2019, "On Evaluating the Generalization of
#: LSTM Models in Formal Languages", section 3.2, who call them right-tailed, left-tailed and U-shaped.
SHAPES = {"short": (1.0, 5.0), "long": (5.0, 1.0), "u": (0.25, 0.25)}
#: The probability of all sizes together that an unbounded distribution leaves out.
TAIL = 1e-12
#: Sizes that one distribution may have at most.
MOST = 1_000_000

FORMS = "uniform:1-50, uniform:2-50/2, short:1-50, long:1-50, u:1-50, geometric:0.1, geometric:0.1:1-50, list:1,2,5"


class Lengths:
    """A distribution over the sizes of strings: a finite table of sizes and their probabilities.

    Args:
        text: one of ``uniform:LOW-HIGH``, ``short:LOW-HIGH`` (mostly short), ``long:LOW-HIGH`` (mostly long),
            ``u:LOW-HIGH`` (mostly either), each with ``/STEP`` if not every size is to occur; ``geometric:P``, where
            each size from 1 on is 1 - P times as likely as the one before, or ``geometric:P:LOW-HIGH``; ``list:N,N,N``.

    Raises: ValueError saying what of the text is not as above.
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
        self.text = text.strip()
        form, _, arguments = self.text.partition(":")
        if form not in _READERS:
            raise _unreadable(self.text, f"{form!r} is no distribution")
        table = _READERS[form](self.text, form, arguments)
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
        """How hard a size is to guess, in nats."""
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
        cumulative[-1] = 1.0  # so that no draw falls behind the last size
        return cumulative

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lengths) and dict(self) == dict(other)

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Lengths({self.text!r})"


Table = Mapping[int, float]


def _uniform(text: str, form: str, arguments: str) -> Table:
    return dict.fromkeys(_range(text, arguments), 1.0)


def _shaped(text: str, form: str, arguments: str) -> Table:
    sizes, (alpha, beta) = _range(text, arguments), SHAPES[form]
    top = len(sizes) - 1
    logs = [
        math.lgamma(top + 1) - math.lgamma(k + 1) - math.lgamma(top - k + 1)
        + math.lgamma(alpha + k) + math.lgamma(beta + top - k) - math.lgamma(alpha + beta + top)
        for k in range(len(sizes))
    ]  # fmt: skip
    return {n: math.exp(log - max(logs)) for n, log in zip(sizes, logs, strict=True)}


def _geometric(text: str, form: str, arguments: str) -> Table:
    given, _, bounds = arguments.partition(":")
    try:
        p = float(given)
    except ValueError:
        raise _unreadable(text, f"{given!r} is no probability") from None
    if not 1e-4 <= p <= 1:
        raise _unreadable(text, f"the probability is {p:g}; it must be in [0.0001, 1]")
    unbounded = math.ceil(math.log(TAIL) / math.log1p(-p)) if p < 1 else 1
    sizes = _range(text, bounds) if bounds else range(1, 1 + unbounded)
    return {n: (1 - p) ** k for k, n in enumerate(sizes)}


def _listed(text: str, form: str, arguments: str) -> Table:
    words = arguments.split(",")
    if not all(re.fullmatch(r"\s*\d+\s*", word) for word in words):
        raise _unreadable(text, f"{arguments!r} is no list of whole numbers set apart by commas")
    sizes = [int(word) for word in words]
    return {n: float(sizes.count(n)) for n in sorted({*sizes})}


def _range(text: str, bounds: str) -> range:
    match = re.fullmatch(r"(\d+)-(\d+)(?:/(\d+))?", bounds)
    if not match:
        raise _unreadable(text, f"{bounds!r} is no range such as 1-50")
    low, high, step = int(match[1]), int(match[2]), int(match[3] or 1)
    if high < low:
        raise _unreadable(text, f"the range ends at {high}, before it begins at {low}")
    if step < 1:
        raise _unreadable(text, "the step is 0; it must be at least 1")
    if (high - low) // step >= MOST:
        raise _unreadable(text, f"the range has more than {MOST:,} sizes")
    return range(low, high + 1, step)


def _unreadable(text: str, fault: str) -> ValueError:
    return ValueError(f"lengths {text!r}: {fault}; write, for example, {FORMS}")


_READERS: dict[str, Callable[[str, str, str], Table]] = {
    "uniform": _uniform,
    **dict.fromkeys(SHAPES, _shaped),
    "geometric": _geometric,
    "list": _listed,
}
