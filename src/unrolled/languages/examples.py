"""Training strings as arrays: what each net reads, and what it should say after each symbol.

Letters: S nets, N strings of a net, T time, B batch, K answers.  A place's target is a number, the code of a row of
`Answers.table`; the last code stands for a place at which nothing is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unrolled.languages.language import Language, String
from unrolled.languages.lengths import Lengths
from unrolled.languages.settings import Loss
from unrolled.lm.vocabulary import EOS

Ids = NDArray[np.uint16]
#: What a net reads, and the code of the answer after each symbol.
Read = tuple[Sequence[int], Sequence[int]]


class Answers(NamedTuple):
    """The distinct targets of a set of strings: table (codes + 1, K) float32, its last row zero: nothing is asked."""

    table: NDArray[np.float32]
    distribution: bool  # whether a row is a distribution over answers (softmax), rather than a set (sigmoids)

    @property
    def nothing(self) -> int:
        """The code of a place at which nothing is asked."""
        return len(self.table) - 1


class Examples:
    """The strings of S nets, read in an order of each net's own.

    Args:
        read: for each net, its strings.
        answers: what the codes stand for.
        seeds: of each net's order.

    >>> answers = Answers(np.eye(3, 2, dtype=np.float32), True)
    >>> examples = Examples([[([0, 1], [0, 2])]], answers, [5])
    >>> ids, codes = examples.batch(1)
    >>> ids.tolist(), codes.tolist()  # (S, T, B)
    ([[[0], [1]]], [[[0], [2]]])
    """

    def __init__(self, read: Sequence[Sequence[Read]], answers: Answers, seeds: Sequence[int]):
        self.answers = answers
        S, N, T = len(read), len(read[0]), max(len(ids) for strings in read for ids, _ in strings)
        self.T = T
        self._ids = np.zeros((S, N, T), np.uint16)
        self._codes = np.full((S, N, T), answers.nothing, np.uint16)
        self._lengths = np.array([[len(ids) for ids, _ in strings] for strings in read])
        for s, strings in enumerate(read):
            for k, (ids, codes) in enumerate(strings):
                self._ids[s, k, : len(ids)] = ids
                self._codes[s, k, : len(codes)] = codes
        self._decks = [_deck(np.random.default_rng([seed, 1]), N) for seed in seeds]
        self._nets = np.arange(S)[:, None]

    def batch(self, B: int) -> tuple[Ids, Ids]:
        """Return what each net reads next: ids (S, T, B) and codes (S, T, B), T the longest of these strings."""
        N = self._ids.shape[1]
        drawn = np.stack([deck(B) for deck in self._decks]) if B < N else np.arange(N)[None].repeat(len(self._ids), 0)
        T = int(self._lengths[self._nets, drawn].max())
        pick = (self._nets, drawn)
        return self._ids[pick][..., :T].transpose(0, 2, 1), self._codes[pick][..., :T].transpose(0, 2, 1)


def _deck(rng: np.random.Generator, N: int) -> Callable[[int], NDArray[np.int64]]:
    """Return a function that deals the next B of N cards; they are shuffled whenever they run out."""
    cards = np.empty(0, np.int64)

    def deal(B: int) -> NDArray[np.int64]:
        nonlocal cards
        while len(cards) < B:
            cards = np.concatenate([cards, *(rng.permutation(N) for _ in range(1 + 1000 // N))])
        dealt, cards = cards[:B], cards[B:]
        return dealt

    return deal


def language_examples(language: Language, lengths: Lengths, samples: int, loss: Loss, seeds: Sequence[int]) -> Examples:
    """Draw each net's strings from its own seed; the answer after a symbol is the next one, or the set of legal ones.

    Args:
        language: that the strings are of.
        lengths: distribution of their sizes.
        samples: strings of each net.
        loss: "softmax" asks for the next symbol, EOS included; the others for the set of legal next symbols.
        seeds: one for each net.

    Raises: ValueError if the language has no string of one of the sizes.
    """
    vocabulary = language.vocabulary
    K = len(vocabulary)
    number = {symbol: k for k, symbol in enumerate(vocabulary.names)}
    sets: dict[frozenset[str], int] = {}
    known: dict[String, Read] = {}

    def read(string: String) -> Read:
        if string not in known:
            if loss == "softmax":
                codes = [number[symbol] for symbol in (*string[1:], EOS)]
            else:
                legal = list(language.next_symbols(string))[1:]
                codes = [sets.setdefault(each, len(sets)) for each in legal]
            known[string] = [number[symbol] for symbol in string], codes
        return known[string]

    streams = [np.random.default_rng([seed, 0]) for seed in seeds]
    drawn = [[read(language.sample(rng, lengths)) for _ in range(samples)] for rng in streams]
    table = np.eye(K, dtype=np.float32)
    if loss != "softmax":
        table = np.array([[symbol in each for symbol in vocabulary.names] for each in sets], np.float32)
    return Examples(drawn, _with_nothing(drawn, table, loss == "softmax"), seeds)


def _with_nothing(drawn: Any, table: NDArray[np.float32], distribution: bool) -> Answers:
    return Answers(np.concatenate([table, np.zeros((1, table.shape[1]), np.float32)]), distribution)
