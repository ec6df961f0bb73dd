"""Baselines for a model: bits per symbol of a uniform guess, of n-grams and of compressors on a split of a corpus.

Counts come from the training split, bits from the split that is scored.  As for the model, EOS and UNK are symbols like
any other, and the first symbol of a sequence is not predicted.
"""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unrolled.corpus.corpus import Corpus
from unrolled.corpus.splitting import Sequences
from unrolled.saved.vocabulary import Ids, Vocabulary
from unrolled.words import counted

Reals = npt.NDArray[np.float64]

#: Names and lengths of the n-grams.
ORDERS = {"unigram": 1, "bigram": 2, "5-gram": 5}
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {"xz": lzma.compress, "bz2": bz2.compress}
#: At most so many training symbols are counted, from the end of the split, to bound memory and time.
COUNTED = 1 << 23
#: Up to this many possible pairs, pairs are numbered through a table; above, by sorting.
TABLE = 1 << 27


class Baseline(NamedTuple):
    """A method's name, its bits per symbol on the scored split, and how it was measured."""

    name: str
    bits_per_symbol: float
    note: str


def table(corpus: Corpus, split: str = "test") -> list[Baseline]:
    """Return the baselines of one split: uniform, unigram, bigram, 5-gram, xz and bz2.

    A compressor that does worse than a uniform guess, or takes less than nothing for the scored symbols, is left out:
    there the form of its files outweighs the data.

    Args:
        corpus: the splits and their vocabulary.
        split: name of the one that is scored; for "train" the counts are of the scored symbols themselves.

    Returns: one entry per method, the simplest first.
    Raises: ValueError if there is no such split, or it is empty.

    >>> corpus = Corpus.from_sequences([["a", "b"], ["a", "a", "b", "b"]] * 20)
    >>> for baseline in table(corpus)[:4]:
    ...     print(f"{baseline.name} {baseline.bits_per_symbol:.3f}")
    uniform 2.000
    unigram 1.564
    bigram 1.126
    5-gram 0.299
    """
    if not len(corpus.splits.get(split, ())):
        there = ", ".join(name for name, part in corpus.splits.items() if len(part))
        raise ValueError(f"baselines: the corpus has no symbols in split {split!r}; it has {there}")
    scored, V = corpus.splits[split], len(corpus.vocabulary)
    known = _tail(corpus.train)
    note = "interpolated Kneser-Ney, counted in training"
    if known is not corpus.train:
        note += f", its last {counted(len(known.ids), 'symbol')}"
    bits = [float(np.mean(-np.log2(p))) for p in ngram_probabilities(known, scored, V, list(ORDERS.values()))]
    uniform = float(np.log2(V))
    compressed = _compressed(corpus.vocabulary, None if split == "train" else known, scored)
    return [
        Baseline("uniform", uniform, f"log2 of V = {V}"),
        *(Baseline(name, b, note) for name, b in zip(ORDERS, bits, strict=True)),
        *(each for each in compressed if 0 < each.bits_per_symbol < uniform),
    ]


def mark(corpus: Corpus, split: str = "validation") -> Baseline:
    """Return the strongest n-gram on a bounded part of a split, in a second or two: the line that a model has to cross.

    Args:
        corpus: the splits and their vocabulary.
        split: name of the one that is scored.

    Raises: ValueError if there is no such split, or it is empty.

    >>> corpus = Corpus.from_sequences([["a", "b"], ["a", "a", "b", "b"]] * 20)
    >>> mark(corpus).name
    '5-gram'
    """
    return min((each for each in table(corpus, split) if each.name.endswith("gram")), key=lambda b: b.bits_per_symbol)


class _Level(NamedTuple):
    """The n-grams of one order: a symbol w after a context h of one length."""

    raw: Ids  # how often each occurs in training
    spread: Ids  # how many symbols are found before each
    context_of: Ids  # the context of each
    contexts: int  # how many contexts there are
    h: Ids  # the context of each scored symbol
    w: Ids  # the n-gram of each scored symbol


def ngram_probabilities(known: Sequences, scored: Sequences, V: int, orders: list[int]) -> list[Reals]:
    """Return the probability of each predicted symbol under n-gram models of several orders.

    With c the count of symbol w after context h, C = sum of c after h, and d(c) the discount of a count,
    p(w | h) = (c - d(c)) / C + (sum of d after h) / C * p(w | h without its first symbol), down to p = 1 / V.
    Below the highest order c is the number of different symbols found before h w.  The start of a sequence counts
    as a symbol of the context.

    Args:
        known: what is counted.
        scored: what is predicted; may be the same.
        V: size of the vocabulary.
        orders: lengths of the n-grams, each 1 or more.

    Returns: for each order an array, (scored.predicted,), in the order of the scored symbols.
    Source: modified interpolated Kneser-Ney: Chen & Goodman 1999, Computer Speech & Language 13, section 3.
    """
    levels = _levels(known, scored, V, max(orders))
    found = []
    for order in orders:
        p = np.full(scored.predicted, 1 / V)
        for level in levels[: order - 1]:
            p = _interpolated(level, level.spread, p)
        found.append(_interpolated(levels[order - 1], levels[order - 1].raw, p))
    return found


def _levels(known: Sequences, scored: Sequences, V: int, order: int) -> list[_Level]:
    ids = np.concatenate([known.ids, scored.ids]).astype(np.int64)
    N = len(known.ids)
    starts = np.concatenate([known.offsets[:-1], N + scored.offsets[:-1]])
    predicted = np.ones(len(ids), bool)
    predicted[starts] = False
    context = np.zeros(len(ids), np.int64)
    levels: list[_Level] = []
    shorter = context
    for length in range(order):
        gram, context_of = _numbered(context, ids, V)
        raw = np.bincount(gram[:N][predicted[:N]], minlength=len(context_of))
        if length:
            ending = np.empty(len(raw), np.int64)
            ending[gram] = shorter
            spread = np.bincount(ending[raw > 0], minlength=len(levels[-1].raw))
            levels[-1] = levels[-1]._replace(spread=spread)
        h, w = context[N:][predicted[N:]], gram[N:][predicted[N:]]
        levels.append(_Level(raw, raw, context_of, int(context.max()) + 1, h, w))
        context, shorter = np.roll(gram, 1), gram
        context[starts] = len(context_of)  # the start of a sequence
    return levels


def _interpolated(level: _Level, c: Ids, p: Reals) -> Reals:
    """Return p(w | h) of each scored symbol, where p holds that of the context one symbol shorter."""
    d = _discounts(c)[np.minimum(c, 3)]
    C = np.bincount(level.context_of, c, level.contexts)[level.h]
    freed = np.bincount(level.context_of, d, level.contexts)[level.h]
    seen = np.maximum(C, 1)  # a context never seen in training leaves p as it is
    return np.where(C > 0, ((c - d)[level.w] + freed * p) / seen, p)


def _discounts(c: Ids) -> Reals:
    """Return the discounts of counts of 0, 1, 2 and of 3 or more; 1/2 where there are too few to estimate."""
    n = [np.count_nonzero(c == k) for k in range(5)]
    discounts = [0.0, 0.5, 0.5, 0.5]
    for k in (1, 2, 3):
        if all(n[1 : k + 2]):
            D = k - (k + 1) * n[1] / (n[1] + 2 * n[2]) * n[k + 1] / n[k]
            discounts[k] = D if D > 0 else 0.5
    return np.array(discounts)


def _numbered(context: Ids, ids: Ids, V: int) -> tuple[Ids, Ids]:
    """Number the different pairs (context, symbol); return the number of each pair given, and each number's context."""
    pairs = context * V + ids
    space = int(pairs.max()) + 1
    if space > TABLE:
        kinds, numbers = np.unique(pairs, return_inverse=True)
        return numbers, kinds // V
    number_of = np.zeros(space, np.int64)
    number_of[pairs] = 1
    kinds = np.flatnonzero(number_of)
    number_of[kinds] = np.arange(len(kinds))
    return number_of[pairs], kinds // V


def _tail(train: Sequences) -> Sequences:
    """Return the whole sequences within the last ``COUNTED`` symbols, or that much of a stream."""
    N = len(train.ids)
    if N <= COUNTED:
        return train
    first = int(np.searchsorted(train.offsets, N - COUNTED))
    if first == len(train):
        return Sequences(train.ids[-COUNTED:], np.array([0, COUNTED]))
    start = train.offsets[first]
    return Sequences(train.ids[start:], train.offsets[first:] - start)


def _compressed(vocabulary: Vocabulary, before: Sequences | None, scored: Sequences) -> list[Baseline]:
    """Return the bits per symbol that the scored symbols add to what was compressed before, if anything was."""
    data = _as_bytes(scored, vocabulary)
    prefix = b"" if before is None else _as_bytes(before, vocabulary)
    texts = [data] if before is None else [prefix + data, prefix]
    note = "size of these symbols alone" if before is None else "size of training and these symbols, less training"
    with ThreadPoolExecutor() as pool:  # a compressor lets other threads run
        packed = {name: list(pool.map(compress, texts)) for name, compress in COMPRESSORS.items()}
    sizes = {name: len(whole) - sum(map(len, rest)) for name, (whole, *rest) in packed.items()}
    return [Baseline(name, 8 * size / len(scored.ids), note) for name, size in sizes.items()]


def _as_bytes(sequences: Sequences, vocabulary: Vocabulary) -> bytes:
    """Return one byte per symbol where V allows it, else the text with a line end for each EOS."""
    if len(vocabulary) <= 256:
        return sequences.ids.astype(np.uint8).tobytes()
    return "".join(vocabulary.text(ids) + "\n" for ids in sequences).encode()
