"""N-gram models of all orders at once, and their mixture.

The windows of symbols that end at each position are sorted, the latest symbol first; the n-grams of each order are then
runs of windows that begin alike.  They are sorted in groups that follow the same few symbols, which takes
little memory: once to see how many n-grams occur how often, which all discounts depend on, and once to predict.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unrolled.corpus.encoding import Compact
from unrolled.corpus.splitting import Sequences, blocks, counts
from unrolled.saved.vocabulary import Ids

Reals = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.signedinteger[Any]]

#: Windows of a group, at most, unless they follow one frequent symbol.
WINDOWS = 1 << 19
#: Steps of the EM algorithm that fits weights.
STEPS = 30
#: A context length's weights are drawn to those of all lengths as if by so many symbols, and these to equal weights.
PRIOR = 20.0


class Predictions(NamedTuple):
    """What n-grams of order 1 to n say of each predicted symbol.

    Attributes:
        p: (n, M) its probability, a row for each order.
        known: (M,) the highest order whose context occurs in training; 0 if even the empty one does not.
    """

    p: Reals
    known: Ids


class _Level(NamedTuple):
    """N-grams of one order: a symbol w after a context h of one length."""

    raw: Numbers  # how often each occurs in training
    ending: Numbers  # each without its first symbol, an n-gram of the order below
    context_of: Numbers  # the context of each
    contexts: int  # how many contexts there are
    h: Numbers  # the context of each scored symbol
    w: npt.NDArray[np.integer[Any]]  # the n-gram of each scored symbol

    def spread(self, below: int) -> Numbers:
        """Return how many different symbols are found in training before each of so many n-grams of the order below."""
        return np.bincount(self.ending[self.raw > 0], minlength=below)


class _Windows(NamedTuple):
    """The symbol at each position and those before it; positions that are counted come before those that are scored."""

    ids: Compact  # of all parts, end to end
    age: Compact  # symbols before each in its sequence, at most as many as the longest n-gram has
    counted: int  # so many positions are counted
    V: int

    @classmethod
    def of(cls, parts: Sequence[Sequences], V: int, longest: int) -> _Windows:
        """Return the windows of several parts, of which the first is counted."""
        ids: Compact = np.concatenate([block for part in parts for block in blocks(part.ids)])
        lengths = np.concatenate([part.lengths for part in parts])
        starts = np.cumsum(lengths) - lengths
        age = np.full(len(ids), longest, np.min_scalar_type(longest))
        for back in reversed(range(longest)):  # the nearest start is written last
            after = starts + back
            age[after[after < len(ids)]] = back
        return cls(ids, age, len(parts[0].ids), V)

    @property
    def scored(self) -> npt.NDArray[np.int64]:
        """The positions whose symbols are predicted, (M,)."""
        return np.flatnonzero(self.age[self.counted :]) + self.counted

    def groups(self) -> Iterator[npt.NDArray[np.int64]]:
        """Yield the positions that follow the same few symbols, in order: all windows that have their contexts."""
        before, low, size = np.roll(self.ids, 1), 0, 0
        for symbol, often in enumerate([*counts(self.ids, self.V).tolist(), WINDOWS + 1]):
            if size and size + often > WINDOWS:
                if len(at := np.flatnonzero((before >= low) & (before < symbol) & (self.age > 0))):
                    yield at
                low, size = symbol, 0
            size += often

    def back(self, at: npt.NDArray[np.int64], n: int) -> Compact:
        """Return the symbol n positions before each of these, counted from 1; 0 before the start of a sequence."""
        symbols = self.ids.take(at - n, mode="clip").astype(np.min_scalar_type(self.V))
        symbols += 1
        symbols[self.age[at] < n] = 0
        return symbols


def predictions(known: Sequences, scored: Sequence[Sequences], V: int, longest: int) -> list[Predictions]:
    """Return the probability of each predicted symbol under n-gram models of every order.

    With c the count of symbol w after context h, C = sum of c after h, and d(c) the discount of a count,
    p(w | h) = (c - d(c)) / C + (sum of d after h) / C * p(w | h without its first symbol), down to p = 1 / V.
    Below the highest order c is the number of different symbols found before h w.  The start of a sequence counts
    as a symbol of the context.

    Args:
        known: what is counted.
        scored: what is predicted, in one or several parts; may be what is counted.
        V: size of the vocabulary.
        longest: the highest order, 1 or more.

    Returns: for each part its predictions, in the order of its predicted symbols.
    Source: modified interpolated Kneser-Ney: Chen & Goodman 1999, Computer Speech & Language 13, section 3.
    """
    windows = _Windows.of([known, *scored], V, longest)
    asked = windows.scored
    p, seen = np.empty((longest, len(asked))), np.zeros(len(asked), np.int64)
    single = _single(windows, asked)
    spread, of_raw, of_spread = _occurrences(windows, single.raw, longest)
    p[0], seen[:] = _interpolated(single, single.raw, of_raw[0], 1 / V)
    lowest, _ = _interpolated(single, spread, of_spread[0], 1 / V)
    for at in windows.groups():
        column = np.searchsorted(asked, at[np.searchsorted(at, windows.counted) :])
        lower, below = lowest[column], None
        for k, level in enumerate(_levels(windows, at, longest), 1):
            if below:
                lower, _ = _interpolated(below, level.spread(len(below.raw)), of_spread[k - 1], lower)
            p[k, column], occurs = _interpolated(level, level.raw, of_raw[k], lower)
            seen[column] += occurs
            below = level
    ends = np.cumsum([part.predicted for part in scored])[:-1]
    return [Predictions(*each) for each in zip(np.split(p, ends, axis=1), np.split(seen, ends), strict=True)]


def weights(held: Predictions) -> Reals:
    """Return the weights of a mixture of all orders under which held-out symbols are likeliest, by the EM algorithm.

    Returns: (n + 1, n), row k for symbols whose longest known context is of order k.
    Source: deleted interpolation: Jelinek & Mercer 1980, Pattern Recognition in Practice, pages 381-397.
    """
    n = len(held.p)
    found = np.full((n + 1, n), 1 / n)
    for _ in range(STEPS):
        shares = found[held.known].T * held.p
        shares /= shares.sum(0)
        sums = np.stack([np.bincount(held.known, share, n + 1) for share in shares], axis=1)
        everywhere = (sums.sum(0) + PRIOR / n) / (sums.sum() + PRIOR)
        found = (sums + PRIOR * everywhere) / (sums.sum(1, keepdims=True) + PRIOR)
    return found


def mixed(each: Predictions, weights: Reals) -> Reals:
    """Return the probability of each predicted symbol, (M,), under the mixture of all orders."""
    p = np.zeros(each.p.shape[1])
    for column, row in zip(weights.T, each.p, strict=True):
        p += column[each.known] * row
    return p


def _single(windows: _Windows, asked: npt.NDArray[np.int64]) -> _Level:
    """Return the n-grams of order 1, which are the symbols, after the empty context."""
    known = windows.ids[: windows.counted][windows.age[: windows.counted] > 0]
    raw, everywhere = counts(known, windows.V), np.zeros(1, np.int64)
    return _Level(
        raw, everywhere, np.zeros(windows.V, np.int64), 1, np.broadcast_to(everywhere, asked.shape), windows.ids[asked]
    )


def _occurrences(windows: _Windows, single: Numbers, longest: int) -> tuple[Numbers, Numbers, Numbers]:
    """Return before how many different symbols each is found, and how many n-grams of each order are, 0 to 4 times.

    The latter are two arrays, (longest, 5): for how often they occur, and in how many contexts a symbol longer.
    """
    spread = np.zeros(windows.V, np.int64)
    of_raw, of_spread = np.zeros((longest, 5), np.int64), np.zeros((longest, 5), np.int64)
    of_raw[0] = _few(single)
    for at in windows.groups():
        below = None
        for k, level in enumerate(_levels(windows, at, longest), 1):
            of_raw[k] += _few(level.raw)
            if below is None:
                spread += level.spread(windows.V)
            else:
                of_spread[k - 1] += _few(level.spread(below))
            below = len(level.raw)
    of_spread[0] = _few(spread)
    return spread, of_raw, of_spread


def _levels(windows: _Windows, at: npt.NDArray[np.int64], longest: int) -> Iterator[_Level]:
    """Yield the n-grams of order 2 to the longest at positions that have whole contexts."""
    if longest == 1:
        return
    keys = [windows.back(at, n) for n in range(longest)]
    by_context: Numbers = np.lexsort(keys[:0:-1]).astype(np.int32)
    by_gram: Numbers = by_context[np.argsort(keys[0][by_context], kind="stable")]
    counted, asked = (at < windows.counted)[by_gram], slice(int(np.searchsorted(at, windows.counted)), None)
    symbols = keys[0][by_gram]
    new_context = np.arange(len(at)) == 0  # whether a window, in sorted order, begins otherwise than the one before
    new_gram = np.append(True, symbols[1:] != symbols[:-1])
    number: Numbers = symbols.astype(np.int64) - 1  # the n-gram of each window, in sorted order
    for key in keys[1:]:
        for new, order in ((new_context, by_context), (new_gram, by_gram)):
            symbols = key[order]
            new[1:] |= symbols[1:] != symbols[:-1]
        first, ending = np.flatnonzero(new_gram), number
        context, gram = np.empty_like(by_gram), np.empty_like(by_gram)
        context[by_context] = np.cumsum(new_context, dtype=np.int32) - 1
        gram[by_gram] = number = np.cumsum(new_gram, dtype=np.int32) - 1
        raw = np.add.reduceat(counted, first, dtype=np.int32)
        contexts = int(context[by_context[-1]]) + 1
        yield _Level(raw, ending[first], context[by_gram[first]], contexts, context[asked], gram[asked])


def _interpolated(
    level: _Level, c: Numbers, occurrences: Numbers, p: Reals | float
) -> tuple[Reals, npt.NDArray[np.bool_]]:
    """Return p(w | h) of each scored symbol, and whether h occurs; p holds that of the context one symbol shorter."""
    d = _discounts(occurrences)[np.minimum(c, 3)]
    C = np.bincount(level.context_of, c, level.contexts)[level.h]
    freed = np.bincount(level.context_of, d, level.contexts)[level.h]
    seen = np.maximum(C, 1)  # a context never seen in training leaves p as it is
    return np.where(C > 0, (c[level.w] - d[level.w] + freed * p) / seen, p), C > 0


def _few(c: Numbers) -> Numbers:
    """Return how many counts are 0 to 4, (5,)."""
    return np.bincount(np.minimum(c, 5), minlength=6)[:5]


def _discounts(n: Numbers) -> Reals:
    """Return the discounts of counts of 0, 1, 2 and of 3 or more, of which there are n[k] of count k.

    They are 1/2 where there are too few to estimate.
    """
    discounts = [0.0, 0.5, 0.5, 0.5]
    for k in (1, 2, 3):
        if all(n[1 : k + 2]):
            D = k - (k + 1) * n[1] / (n[1] + 2 * n[2]) * n[k + 1] / n[k]
            discounts[k] = D if D > 0 else 0.5
    return np.array(discounts)
