"""How well a model has learned a language, the most trustworthy metric first.

1. Strings exactly right: every prediction of the string, EOS included, is right by some *criterion*
   (:data:`unrolled.languages.judging.CRITERIA`).
2. The first failing size, and e_k, the k-th smallest failing size.
3. Cross-entropy next to the optimum.
4. Per-symbol accuracy, last and with a warning, because it is misleading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice, pairwise

import numpy as np
import numpy.typing as npt

from unrolled.config.checks import Count, PositiveInt, Seed, check_value
from unrolled.config.options import option
from unrolled.languages.judging import ACCEPTED, Array, Floats, Judged, Marked, Predictor, judge
from unrolled.languages.language import Language
from unrolled.languages.lengths import Lengths
from unrolled.words import counted, rounded

#: Strings read together.
ROWS = 64
#: Up to this size, by default, every size is tried in the search for the first failing one.
SCANNED = 1000
#: Sizes below this, and strings of each, show which symbols may be legal together.
SMALL, PROBES = 16, 8
WARNING = (
    "per-symbol accuracy is misleading: a model that is wrong once in every string still scores near 1, and a perfect "
    "one scores less where several symbols are legal"
)


@dataclass(frozen=True)
class FirstFailing:
    """The size at which a model first fails, and how certain that is.

    Attributes:
        n: The smallest size found with a wrong string; None if none was found.
        exact: Whether every smaller size was tried and is right.
        scanned_to: Every size up to this one was tried.
        tried_to: The largest size tried.
    """

    n: int | None
    exact: bool
    scanned_to: int
    tried_to: int

    def __str__(self) -> str:
        if self.n is None:
            beyond = f", and so are those tried up to {self.tried_to:,}" if self.tried_to > self.scanned_to else ""
            return f"no failing size: every size up to {self.scanned_to:,} is right{beyond}"
        known = "" if self.exact else f" or below: only some sizes above {self.scanned_to:,} were tried"
        return f"first failing size {self.n:,}{known}"


@dataclass(frozen=True)
class StringEvaluation:
    """What a model achieves on strings of a language, the most trustworthy metric first.

    Attributes:
        strings: How many strings were read.
        exhaustive: Whether these are all strings there are, weighted by their probability, not a sample.
        exact: Share of strings right by the criterion ``sets``.
        exact_argmax: Share of strings right by the criterion ``argmax``.
        nats: Cross-entropy of the model, in nats per symbol.
        optimal_nats: The least cross-entropy any model can have on this distribution, exact.
        accuracy: Share of symbols that the model found most probable; misleading.
    """

    strings: int
    exhaustive: bool
    exact: float
    exact_argmax: float
    nats: float
    optimal_nats: float
    accuracy: float

    def __str__(self) -> str:
        which = "every string" if self.exhaustive else f"{counted(self.strings, 'string')} drawn"
        return "\n".join(
            [
                f"strings exactly right      {self.exact:.2%} of {which}",
                f"  by the argmax            {self.exact_argmax:.2%}",
                f"cross-entropy              {rounded(self.nats, 4)} nats per symbol; "
                f"the optimum is {self.optimal_nats:.4f}",
                f"per-symbol accuracy        {self.accuracy:.2%} ({WARNING})",
            ]
        )


def scan(
    predictor: Predictor,
    language: Language,
    sizes: Iterable[int],
    criterion: str = "sets",
    *,
    strings: int = 1,
    seed: int = 0,
    start_mark: bool = False,
) -> Floats:
    """Return the least margin at each size; above 0, all strings read of that size are right.

    Args:
        predictor: one model, or S models that read the same strings.
        language: whose strings are read.
        sizes: N sizes that the language has, preferably in order.
        criterion: what "right" means, a name in :data:`unrolled.languages.judging.CRITERIA`.
        strings: how many to draw of each size; where there are no more, all are read.
        seed: of the draws.
        start_mark: whether EOS is read before each string and the first symbol judged too.

    Returns: margins (N,) or (S, N): differences of scores, or of probabilities for the criterion ``accepts``.
        Once all strings read together are wrong, reading stops; their margins are then upper bounds.
    Raises: ValueError if the language has no string of one of the sizes.

    >>> from unrolled.languages import get
    >>> from unrolled.lab.golden import golden
    >>> from unrolled.lab.predictors import ModelPredictor
    >>> predictor = ModelPredictor(golden("anbn", "lstm"))
    >>> (scan(predictor, get("anbn"), [1, 2, 3, 500]) > 0).tolist()
    [True, True, True, True]
    """
    check_value("strings", strings, PositiveInt)
    check_value("seed", seed, Seed)
    rng = np.random.default_rng(seed)
    sizes = list(sizes)
    for n in sizes:
        language.check(n)
    numbered = ((number, runs) for number, n in enumerate(sizes) for runs in language.probes(rng, n, strings))
    least: Floats = np.full(len(sizes), np.inf)
    while batch := list(islice(numbered, ROWS)):
        marked = [Marked(runs, predictor.vocabulary, start_mark=start_mark) for _, runs in batch]
        margins = judge(predictor, marked, [criterion]).margins[criterion]  # (..., B)
        least = np.broadcast_to(least, (*margins.shape[:-1], len(sizes))).copy()
        for b, (number, _) in enumerate(batch):
            least[..., number] = np.minimum(least[..., number], margins[..., b])  # NaN stays NaN
    return least


def blind_criteria(language: Language) -> tuple[str, ...]:
    """Return the criteria by which scores that never change are right on a whole language: they show no memory there.

    By "sets" an order of the symbols is, where each set of legal symbols holds the smaller ones; by "argmax" the symbol
    that is legal everywhere; by "khot" the only set there is; by "accepts" equal probabilities above 0.01.  What is
    legal is taken from strings of the first sizes; of a language that has none of these nothing is said.

    >>> from unrolled.languages import get
    >>> blind_criteria(get("parity")), blind_criteria(get("dyck-1")), blind_criteria(get("anbn"))
    (('sets', 'argmax', 'accepts'), ('argmax', 'accepts'), ('accepts',))
    """
    rng, legal = np.random.default_rng(0), set[frozenset[str]]()
    for n in filter(language.has, range(SMALL)):
        for (_, at_first, count), *runs in language.probes(rng, n, PROBES):
            legal |= {each for _, each, _ in runs} | ({at_first} if count > 1 else set())  # the first symbol is given
    if not legal:
        return ()
    ordered = sorted(legal, key=len)
    found = {
        "sets": all(small <= large for small, large in pairwise(ordered)),
        "argmax": bool(frozenset.intersection(*ordered)),
        "khot": len(ordered) == 1,
        "accepts": len(language.vocabulary) * ACCEPTED < 1,
    }
    return tuple(name for name, is_blind in found.items() if is_blind)


def blind_note(language: Language, criterion: str) -> str:
    """Return a sentence for what a criterion does not show on a language; "" if scores that never change are wrong."""
    blind = blind_criteria(language)
    if criterion not in blind:
        return ""
    why = {
        "sets": "its legal symbols are nested sets, so one order of the symbols is right everywhere",
        "argmax": "one symbol is legal everywhere",
        "khot": "the same symbols are legal everywhere",
        "accepts": "each symbol may have more than 0.01 everywhere",
    }
    other = "" if "khot" in blind else f"; {option('loss', 'sets')} is judged by 'khot', which does"
    return f"being right on {language.name} by {criterion!r} shows no memory: {why[criterion]}{other}"


def kth_failing(margins: Floats, sizes: Sequence[int], k: int = 1) -> npt.NDArray[np.int64]:
    """Return e_k, the k-th smallest size with a wrong string, (...); 0 where fewer than k sizes fail.

    Args:
        margins: from :func:`scan`, (..., N); wrong unless above 0.
        sizes: the N sizes, ascending.
        k: from 1.

    Source: Suzgun et al. 2019, section 4.

    >>> kth_failing(np.array([[1.0, -1.0, 0.0], [2.0, 2.0, 2.0]]), [1, 2, 3], k=2)
    array([3, 0])
    """
    check_value("k", k, PositiveInt)
    failed = np.cumsum(~(margins > 0), axis=-1)
    at = np.argmax(failed >= k, axis=-1)
    return np.where(failed[..., -1] >= k, np.asarray(sizes)[at], 0)


def smallest_failing(margins: Callable[[list[int], Sequence[int]], Floats], S: int, sizes: Sequence[int]) -> list[int]:
    """Return for each of S models the smallest of the sizes with a wrong string; 0 if there is none.

    The sizes are tried in blocks of 8 to 64, and a model that has failed reads no further, so one that has learned
    nothing is done soon.

    Args:
        margins: takes (numbers of M models, N sizes) and returns their margins, (M, N); see :func:`scan`.
        S: how many models there are.
        sizes: all to be tried, ascending.
    """
    failing, low, width = [0] * S, 0, 8
    while low < len(sizes) and 0 in failing:
        block, left = sizes[low : low + width], [s for s, n in enumerate(failing) if not n]
        for s, n in zip(left, kth_failing(margins(left, block), block).tolist(), strict=True):
            failing[s] = n
        low, width = low + width, min(2 * width, ROWS)
    return failing


def first_failing(
    predictor: Predictor,
    language: Language,
    limit: int = 100_000,
    criterion: str = "sets",
    *,
    scan_to: int = SCANNED,
    strings: int = 1,
    seed: int = 0,
    start_mark: bool = False,
) -> FirstFailing:
    """Find the smallest size at which one model is wrong.

    Up to `scan_to` every size is tried, in ascending order, because a model may fail and be right again at larger
    sizes.  Beyond, doubling and bisection find *a* failing size with few strings; it may not be the first, and the
    result says so.

    Args:
        predictor: one model.
        language, criterion, strings, seed, start_mark: as for :func:`scan`.
        limit: the largest size to try.
        scan_to: up to which every size is tried; the work grows with its square.

    >>> from unrolled.languages import get
    >>> from unrolled.lab.golden import golden
    >>> from unrolled.lab.predictors import ModelPredictor
    >>> print(first_failing(ModelPredictor(golden("anbn", "lstm")), get("anbn"), 3000, scan_to=100))
    no failing size: every size up to 100 is right, and so are those tried up to 3,000
    """
    check_value("limit", limit, PositiveInt)
    check_value("scan_to", scan_to, Count)
    check_value("strings", strings, PositiveInt)
    check_value("seed", seed, Seed)
    margin = partial(scan, predictor, language, criterion=criterion, strings=strings, seed=seed, start_mark=start_mark)
    scanned = [n for n in range(1, min(limit, scan_to) + 1) if language.has(n)]
    (failing,) = smallest_failing(lambda _, block: margin(block)[None], 1, scanned)
    if failing:
        return FirstFailing(failing, True, failing, failing)
    scanned_to = right = scanned[-1] if scanned else 0
    wrong = None
    while wrong is None and right < limit:
        n = _size_near(language, min(2 * right, limit), right, limit + 1)
        if n is None:
            break
        right, wrong = (n, None) if margin([n])[0] > 0 else (right, n)
    if wrong is None:
        return FirstFailing(None, True, scanned_to, right)
    tried_to = wrong
    while (n := _size_near(language, (right + wrong) // 2, right, wrong)) is not None:
        right, wrong = (n, wrong) if margin([n])[0] > 0 else (right, n)
    exact = _size_near(language, wrong - 1, scanned_to, wrong) is None
    return FirstFailing(wrong, exact, scanned_to, tried_to)


def evaluate(
    predictor: Predictor,
    language: Language,
    lengths: Lengths,
    *,
    strings: int = 1000,
    seed: int = 0,
    start_mark: bool = False,
) -> StringEvaluation:
    """Measure one model on strings drawn from a language.

    Args:
        predictor: one model.
        language: whose strings are read.
        lengths: the distribution of sizes.
        strings: how many to draw; if each size has one string and there are no more sizes than this, every string is
            read once, weighted by its probability.
        seed: of the draws.
        start_mark: whether EOS is read before each string and the first symbol predicted too.

    Raises: ValueError if the language has no string of one of the sizes.

    >>> from unrolled.languages import get
    >>> from unrolled.lab.golden import golden
    >>> from unrolled.lab.predictors import ModelPredictor
    >>> found = evaluate(ModelPredictor(golden("anbn", "lstm")), get("anbn"), Lengths("uniform:1-50"))
    >>> found.exact, found.exact_argmax, found.exhaustive, found.nats > found.optimal_nats
    (1.0, 1.0, True, True)
    """
    check_value("strings", strings, PositiveInt)
    check_value("seed", seed, Seed)
    optimal_nats = language.optimal_nats(lengths, start_mark=start_mark)
    rng = np.random.default_rng(seed)
    exhaustive = len(lengths.sizes) <= strings and all(language.count(n) == 1 for n, _ in lengths)
    drawn = list(lengths) if exhaustive else [(lengths.sample(rng), 1.0) for _ in range(strings)]
    drawn.sort()  # so that strings of similar lengths are read together
    weights = np.array([weight for _, weight in drawn])
    marked = [Marked(language.probes(rng, n)[0], predictor.vocabulary, start_mark=start_mark) for n, _ in drawn]
    parts = [
        judge(predictor, marked[b : b + ROWS], ["sets", "argmax"], measured=True) for b in range(0, len(marked), ROWS)
    ]

    def total(each: Callable[[Judged], Array]) -> float:
        return float((weights * np.concatenate([each(part) for part in parts])).sum())

    predictions = total(lambda part: part.predictions)
    return StringEvaluation(
        len(marked),
        exhaustive,
        total(lambda part: part.margins["sets"] > 0) / float(weights.sum()),
        total(lambda part: part.margins["argmax"] > 0) / float(weights.sum()),
        total(lambda part: part.nats) / predictions,
        optimal_nats,
        total(lambda part: part.hits) / predictions,
    )


def _size_near(language: Language, n: int, above: int, below: int) -> int | None:
    """Return the size of the language nearest to n, strictly between two sizes; None if there is none."""
    sizes = chain.from_iterable((n - d, n + d) for d in range(max(n - above, below - n)))
    return next((m for m in sizes if above < m < below and language.has(m)), None)
