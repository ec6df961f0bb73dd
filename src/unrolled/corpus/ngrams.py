"""N-gram models of all orders at once, and their mixture.

The windows of symbols that end at each position are sorted once, the latest symbol first; the n-grams of each order are
then runs of windows that begin alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unrolled.corpus.encoding import Compact
from unrolled.corpus.splitting import Sequences, blocks
from unrolled.saved.vocabulary import Ids

Reals = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.signedinteger[Any]]

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
    """The n-grams of one order: a symbol w after a context h of one length."""

    raw: Numbers  # how often each occurs in training
    ending: Numbers  # each without its first symbol, an n-gram of the order below
    context_of: Numbers  # the context of each
    contexts: int  # how many contexts there are
    h: Numbers  # the context of each scored symbol
    w: Numbers  # the n-gram of each scored symbol


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
    sizes = [part.predicted for part in scored]
    p = np.empty((longest, sum(sizes)))
    seen = np.zeros(sum(sizes), np.int64)
    lower, below = np.full(sum(sizes), 1 / V), None
    for level, row in zip(_levels(known, scored, V, longest), p, strict=True):
        if below:
            spread = np.bincount(level.ending[level.raw > 0], minlength=len(below.raw))
            lower, _ = _interpolated(below, spread, lower)
        row[:], occurs = _interpolated(level, level.raw, lower)
        seen += occurs
        below = level
    ends = np.cumsum(sizes)[:-1]
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


def _levels(known: Sequences, scored: Sequence[Sequences], V: int, longest: int) -> Iterator[_Level]:
    """Yield the n-grams of order 1 to the longest."""
    parts = [known, *scored]
    few = sum(len(part.ids) for part in parts) < 2**31
    narrow: np.dtype[np.signedinteger[Any]] = np.dtype(np.int32 if few else np.int64)  # half the memory
    ids: Numbers = np.concatenate([block for part in parts for block in blocks(part.ids)]).astype(narrow)
    lengths = np.concatenate([part.lengths for part in parts])
    age: Numbers = np.arange(len(ids)).astype(narrow)  # symbols before, in a sequence
    age -= np.repeat((np.cumsum(lengths) - lengths).astype(narrow), lengths)
    keys = [_back(ids, age, V, back) for back in range(longest)]
    order: Numbers = np.lexsort(keys[::-1]).astype(narrow)
    counted = (age > 0)[order] & (order < len(known.ids))
    asked = np.flatnonzero(age[len(known.ids) :] > 0) + len(known.ids)
    new = np.arange(len(ids)) == 0  # whether a window, in sorted order, begins otherwise than the one before
    gram: Numbers = np.zeros(len(ids), narrow)
    number = gram  # the n-gram at each position, and of each window in sorted order
    for key in keys:
        symbols = key[order]
        new[1:] |= symbols[1:] != symbols[:-1]
        first, context, contexts, ending = np.flatnonzero(new), np.roll(gram, 1), int(number[-1]) + 1, number
        number = np.cumsum(new, dtype=narrow) - narrow.type(1)
        gram = np.empty_like(number)
        gram[order] = number
        raw = np.add.reduceat(counted, first, dtype=narrow)
        yield _Level(raw, ending[first], context[order[first]], contexts, context[asked], gram[asked])


def _back(ids: Numbers, age: Numbers, V: int, n: int) -> Compact:
    """Return the symbol n positions before each, counted from 1; 0 before the start of a sequence."""
    symbols = np.roll(ids, n) + 1
    symbols[age < n] = 0
    return symbols.astype(np.min_scalar_type(V))


def _interpolated(level: _Level, c: Numbers, p: Reals) -> tuple[Reals, npt.NDArray[np.bool_]]:
    """Return p(w | h) of each scored symbol, and whether h occurs; p holds that of the context one symbol shorter."""
    d = _discounts(c)[np.minimum(c, 3)]
    C = np.bincount(level.context_of, c, level.contexts)[level.h]
    freed = np.bincount(level.context_of, d, level.contexts)[level.h]
    seen = np.maximum(C, 1)  # a context never seen in training leaves p as it is
    return np.where(C > 0, ((c - d)[level.w] + freed * p) / seen, p), C > 0


def _discounts(c: Numbers) -> Reals:
    """Return the discounts of counts of 0, 1, 2 and of 3 or more; 1/2 where there are too few to estimate."""
    n = [np.count_nonzero(c == k) for k in range(5)]
    discounts = [0.0, 0.5, 0.5, 0.5]
    for k in (1, 2, 3):
        if all(n[1 : k + 2]):
            D = k - (k + 1) * n[1] / (n[1] + 2 * n[2]) * n[k + 1] / n[k]
            discounts[k] = D if D > 0 else 0.5
    return np.array(discounts)
