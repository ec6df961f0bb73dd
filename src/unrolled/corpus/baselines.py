"""Baselines for a model: bits per symbol of a uniform guess, of n-grams and of compressors on a split of a corpus.

Counts come from the training split, bits from the split that is scored.  As for the model, EOS and UNK are symbols like
any other, and the first symbol of a sequence is not predicted.  The order of an n-gram and the weights of a mixture are
chosen on other symbols than those scored.
"""

from __future__ import annotations

import bz2
import io
import lzma
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from unrolled.config.checks import check_value
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.ngrams import mixed, predictions, weights
from unrolled.corpus.splitting import Sequences, as_stream, beginning
from unrolled.saved.vocabulary import Vocabulary
from unrolled.words import counted

#: Names and lengths of the n-grams that are always there.
ORDERS = {"unigram": 1, "bigram": 2, "5-gram": 5}
#: The longest n-gram; the best order is sought from 3 to this.
LONGEST = 10
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {"xz": lzma.compress, "bz2": bz2.compress}
#: At most so many training symbols are counted, from the end of the split, to bound memory and time.
COUNTED = 1 << 23
#: So many held-out symbols at most choose an order and the weights of the mixture.
TUNED = 1 << 16
#: So many symbols at most are scored for the line that a model has to cross.
MARK_SCORED = 1 << 16


class Baseline(NamedTuple):
    """A method's name, its bits per symbol on the scored split, and how it was measured."""

    name: str
    bits_per_symbol: float
    note: str

    @property
    def of_first(self) -> bool:
        """Whether it is of the first symbols of sequences too, which a compressor writes and a model is given."""
        return self.name in COMPRESSORS


def table(corpus: Corpus, split: str = "test") -> list[Baseline]:
    """Return the baselines of one split: uniform, n-grams, their mixture, xz and bz2.

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
    scored, V = _scored(corpus, split), len(corpus.vocabulary)
    known = _cut(corpus.train, COUNTED)[1]
    uniform = float(np.log2(V))
    compressed = _compressed(corpus.vocabulary, None if split == "train" else known, scored)
    return [
        Baseline("uniform", uniform, f"log2 of V = {V}"),
        *_ngrams(corpus, known, split, scored),
        *(each for each in compressed if 0 < each.bits_per_symbol < uniform),
    ]


def mark(corpus: Corpus, split: str = "validation") -> Baseline:
    """Return the strongest n-gram on the beginning of a split: the line that a model has to cross.

    It takes less than a second for each million symbols of training.

    Args: as :func:`table`.
    Raises: ValueError if there is no such split, or it is empty.

    >>> from unrolled.corpus.sonnets import sonnets
    >>> name, bits, _ = mark(Corpus.from_text(sonnets()))
    >>> print(f"{name} {bits:.2f}")
    mixture 2.34
    """
    known = _cut(corpus.train, COUNTED)[1]
    found = _ngrams(corpus, known, split, beginning(_scored(corpus, split), MARK_SCORED))
    return min(found, key=lambda each: each.bits_per_symbol)


def _scored(corpus: Corpus, split: str) -> Sequences:
    check_value("split", split, str)
    if not len(corpus.splits.get(split, ())):
        there = ", ".join(name for name, part in corpus.splits.items() if len(part))
        raise ValueError(f"baselines: the corpus has no symbols in split {split!r}; it has {there}")
    return corpus.splits[split]


def _ngrams(corpus: Corpus, known: Sequences, split: str, scored: Sequences) -> list[Baseline]:
    """Return the n-grams of fixed order, that of the best order if it is another, and the mixture of all."""
    V = len(corpus.vocabulary)
    if len(corpus.validation) and split != "validation":
        where, held = "the validation split", beginning(corpus.validation, TUNED)
        tuned, found = predictions(known, [held, scored], V, LONGEST)
    else:
        where, (rest, held) = "the end of training", _cut(known, min(len(known.ids) // 10, TUNED))
        [tuned], [found] = predictions(rest, [held], V, LONGEST), predictions(known, [scored], V, LONGEST)
    bits = [-np.log2(row).mean() for row in found.p]  # row by row, for a logarithm of all takes as much as they do
    note = "interpolated Kneser-Ney, counted in training"
    if len(known.ids) < len(corpus.train.ids):
        note += f", its last {counted(len(known.ids), 'symbol')}"
    rows = [Baseline(name, float(bits[order - 1]), note) for name, order in ORDERS.items()]
    if not tuned.p.size:
        return rows
    best = 3 + int(np.log2(tuned.p[2:]).mean(axis=1).argmax())
    if best not in ORDERS.values():
        rows.append(Baseline(f"{best}-gram", float(bits[best - 1]), f"{note}; the order is the best on {where}"))
    p = mixed(found, weights(tuned))
    how = f"orders 1 to {LONGEST}, weighted by the length of the known context; the weights are the best on {where}"
    return [*rows, Baseline("mixture", float(-np.log2(p).mean()), how)]


def _cut(part: Sequences, n: int) -> tuple[Sequences, Sequences]:
    """Return what comes before, and the whole sequences within the last `n` symbols, or that much of a stream."""
    start = max(len(part.ids) - n, 0)
    first = int(np.searchsorted(part.offsets, start))
    if first == len(part):
        last = as_stream(part.ids[start:])
    else:
        start = int(part.offsets[first])
        last = Sequences(part.ids[start:], part.offsets[first:] - start)
    return Sequences(part.ids[:start], np.append(part.offsets[:first], start)), last


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
    text = io.StringIO()
    for ids in sequences:
        text.writelines(vocabulary.pieces(ids))  # piece by piece, for a list of them takes ten times the text
        text.write("\n")
    return text.getvalue().encode()
