"""How well a net knows a language, in the order in which the numbers deserve trust.

1. strings exactly right: every prediction of the string, EOS included, is right (what "right" is: a *reading*, see
   :data:`unrolled.languages.judging.READINGS`); 2. the first failing size, and e_k, the k-th smallest failing size;
3. cross-entropy beside the best possible; 4. per-symbol accuracy, which flatters, and so comes last with a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.languages.judging import Floats, Judged, Marked, Predictor, judge
from unrolled.languages.language import Language
from unrolled.languages.lengths import Lengths

#: Strings that are read side by side.
ROWS = 64
#: Up to this size, by default, no size is left out in the search for the first that fails.
SCANNED = 1000
WARNING = "per-symbol accuracy flatters: a net that is wrong once in every string still scores near 1"


@dataclass(frozen=True)
class FirstFailing:
    """Where a net first fails, and how much of that is known.

    Attributes:
        n: The smallest size found at which a string is wrong; None if none was found.
        exact: Whether every smaller size was tried, and found right.
        scanned_to: Up to here every size was tried.
        tried_to: The largest size that was tried.
        reading: What "right" meant.
    """

    n: int | None
    exact: bool
    scanned_to: int
    tried_to: int
    reading: str

    def __str__(self) -> str:
        if self.n is None:
            beyond = (
                f", and of those beyond the ones tried up to {self.tried_to:,}"
                if self.tried_to > self.scanned_to
                else ""
            )
            return f"no failing size: every size up to {self.scanned_to:,} is right{beyond}"
        known = "" if self.exact else f" or before: between {self.scanned_to:,} and it only some sizes were tried"
        return f"first failing size {self.n:,}{known}"


@dataclass(frozen=True)
class Evaluation:
    """What a net achieves on a language's own distribution of strings, in the order of trust.

    Attributes:
        strings: How many strings were read.
        exhaustive: Whether these were all there are, weighted by their probability, rather than a sample.
        exact: Share of strings right by the reading ``sets``: every legal symbol above every illegal one, everywhere.
        exact_argmax: Share of strings whose likeliest symbol is legal everywhere, and so the forced one where one is.
        nats: Cross-entropy of the net, in nats per predicted symbol.
        optimal_nats: The least that any model can have on this distribution, exactly.
        accuracy: Share of symbols that were the likeliest; flatters.
    """

    strings: int
    exhaustive: bool
    exact: float
    exact_argmax: float
    nats: float
    optimal_nats: float
    accuracy: float

    def __str__(self) -> str:
        which = "every string" if self.exhaustive else f"{self.strings:,} strings drawn"
        return "\n".join(
            [
                f"strings exactly right      {self.exact:.2%} of {which}",
                f"  by the likeliest symbol  {self.exact_argmax:.2%}",
                f"cross-entropy              {self.nats:.4f} nats per symbol; the optimum is {self.optimal_nats:.4f}",
                f"per-symbol accuracy        {self.accuracy:.2%} ({WARNING})",
            ]
        )


def scan(
    predictor: Predictor,
    language: Language,
    sizes: Iterable[int],
    reading: str = "sets",
    *,
    strings: int = 1,
    seed: int = 0,
    start_mark: bool = False,
) -> Floats:
    """Return the least margin of a predictor at each size; above 0 all its strings of that size are right.

    Args:
        predictor: one net, or S nets that read the same strings.
        language: whose strings are read.
        sizes: N sizes that the language has, best in order.
        reading: what "right" means, a name in :data:`unrolled.languages.judging.READINGS`.
        strings: how many strings of a size are drawn, where it has more than that; where not, all are read.
        seed: of the draws.
        start_mark: whether EOS is read before each string, and its first symbol judged too.

    Returns: margins (N,), or (S, N), in the unit of the scores: logits, or probability for the reading ``accepts``.
        Once all strings that are read together are wrong, reading ends; their margins are then upper bounds.
    Raises: ValueError if the language has no string of one of the sizes.

    >>> from unrolled.languages import get
    >>> from unrolled.lab.golden import golden
    >>> from unrolled.languages.judging import ModelPredictor
    >>> net = ModelPredictor(golden("anbn", "lstm"))
    >>> (scan(net, get("anbn"), [1, 2, 3, 500]) > 0).tolist()
    [True, True, True, True]
    """
    rng = np.random.default_rng(seed)
    sizes = list(sizes)
    for n in sizes:
        language.check(n)
    numbered = ((number, runs) for number, n in enumerate(sizes) for runs in language.probes(rng, n, strings))
    least: Floats = np.full(len(sizes), np.inf)
    while batch := list(islice(numbered, ROWS)):
        marked = [Marked(runs, predictor.vocabulary, start_mark=start_mark) for _, runs in batch]
        margins = judge(predictor, marked, [reading]).margins[reading]  # (..., B)
        least = np.broadcast_to(least, (*margins.shape[:-1], len(sizes))).copy()
        for b, (number, _) in enumerate(batch):
            least[..., number] = np.minimum(least[..., number], margins[..., b])  # NaN stays NaN
    return least


def kth_failing(margins: Floats, sizes: Sequence[int], k: int = 1) -> npt.NDArray[np.int64]:
    """Return e_k, the k-th smallest size at which a string is wrong; 0 where fewer than k sizes fail.

    Args:
        margins: of :func:`scan`, (..., N); wrong is what is not above 0.
        sizes: the N sizes, ascending.
        k: from 1.

    Returns: sizes, (...).
    Source: Suzgun et al. 2019, section 4.

    >>> kth_failing(np.array([[1.0, -1.0, 0.0], [2.0, 2.0, 2.0]]), [1, 2, 3], k=2)
    array([3, 0])
    """
    failed = np.cumsum(~(margins > 0), axis=-1)
    at = np.argmax(failed >= k, axis=-1)
    return np.where(failed[..., -1] >= k, np.asarray(sizes)[at], 0)


def first_failing(
    predictor: Predictor,
    language: Language,
    limit: int = 100_000,
    reading: str = "sets",
    *,
    scan_to: int = SCANNED,
    strings: int = 1,
    seed: int = 0,
    start_mark: bool = False,
) -> FirstFailing:
    """Find the smallest size at which one net is wrong.

    Up to `scan_to` every size is tried, in ascending order, for a net may fail and be right again at larger sizes.
    Beyond, doubling and bisection find *a* failing size in few strings; whether it is the first is then not known, and
    the result says so.  Raise `scan_to` to make it known.

    Args:
        predictor: one net.
        language, reading, strings, seed, start_mark: as for :func:`scan`.
        limit: the largest size to try.
        scan_to: how far no size is left out; the work grows with its square.

    >>> from unrolled.languages import get
    >>> from unrolled.lab.golden import golden
    >>> from unrolled.languages.judging import ModelPredictor
    >>> print(first_failing(ModelPredictor(golden("anbn", "lstm")), get("anbn"), 3000, scan_to=100))
    no failing size: every size up to 100 is right, and of those beyond the ones tried up to 3,000
    """
    margin = partial(scan, predictor, language, reading=reading, strings=strings, seed=seed, start_mark=start_mark)
    scanned_to = 0
    sizes = (n for n in range(1, min(limit, scan_to) + 1) if language.has(n))
    while block := list(islice(sizes, ROWS)):
        failing = int(kth_failing(margin(block), block))
        if failing:
            return FirstFailing(failing, True, failing, failing, reading)
        scanned_to = block[-1]
    right, wrong = scanned_to, None
    while wrong is None and right < limit:
        n = _size_near(language, min(2 * right, limit), right, limit + 1)
        if n is None:
            break
        right, wrong = (n, None) if margin([n])[0] > 0 else (right, n)
    if wrong is None:
        return FirstFailing(None, True, scanned_to, right, reading)
    tried_to = wrong
    while (n := _size_near(language, (right + wrong) // 2, right, wrong)) is not None:
        right, wrong = (n, wrong) if margin([n])[0] > 0 else (right, n)
    exact = _size_near(language, wrong - 1, scanned_to, wrong) is None
    return FirstFailing(wrong, exact, scanned_to, tried_to, reading)


def evaluate(
    predictor: Predictor,
    language: Language,
    lengths: Lengths,
    *,
    strings: int = 1000,
    seed: int = 0,
    start_mark: bool = False,
) -> Evaluation:
    """Measure one net on strings as the language and a distribution of sizes make them.

    Args:
        predictor: one net.
        language: whose strings are read.
        lengths: the distribution of sizes.
        strings: how many to draw; where each size has one string, and there are no more sizes than that, every string
            is read once and counts as much as it is likely.
        seed: of the draws.
        start_mark: whether EOS is read before each string, and its first symbol predicted too.

    Raises: ValueError if the language has no string of one of the sizes.

    >>> from unrolled.languages import get
    >>> from unrolled.lab.golden import golden
    >>> from unrolled.languages.judging import ModelPredictor
    >>> found = evaluate(ModelPredictor(golden("anbn", "lstm")), get("anbn"), Lengths("uniform:1-50"))
    >>> found.exact, found.exact_argmax, found.exhaustive, found.nats > found.optimal_nats
    (1.0, 1.0, True, True)
    """
    optimal_nats = language.optimal_nats(lengths, start_mark=start_mark)
    rng = np.random.default_rng(seed)
    exhaustive = len(lengths.sizes) <= strings and all(language.count(n) == 1 for n, _ in lengths)
    drawn = list(lengths) if exhaustive else [(lengths.sample(rng), 1.0) for _ in range(strings)]
    drawn.sort()  # strings of similar lengths are read together
    weights = np.array([weight for _, weight in drawn])
    marked = [Marked(language.probes(rng, n)[0], predictor.vocabulary, start_mark=start_mark) for n, _ in drawn]
    parts = [
        judge(predictor, marked[b : b + ROWS], ["sets", "argmax"], measured=True) for b in range(0, len(marked), ROWS)
    ]

    def total(each: Callable[[Judged], npt.NDArray[Any]]) -> float:
        return float((weights * np.concatenate([each(part) for part in parts])).sum())

    predictions = total(lambda part: part.predictions)
    return Evaluation(
        len(marked),
        exhaustive,
        total(lambda part: part.margins["sets"] > 0) / float(weights.sum()),
        total(lambda part: part.margins["argmax"] > 0) / float(weights.sum()),
        total(lambda part: part.nats) / predictions,
        optimal_nats,
        total(lambda part: part.hits) / predictions,
    )


def _size_near(language: Language, n: int, above: int, below: int) -> int | None:
    """Return the size of the language that is nearest to n of those strictly between two sizes."""
    sizes = chain.from_iterable((n - d, n + d) for d in range(max(n - above, below - n)))
    return next((m for m in sizes if above < m < below and language.has(m)), None)
