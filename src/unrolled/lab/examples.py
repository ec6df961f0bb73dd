"""Training strings as arrays: what each net reads, and what it should say after each symbol.

Letters: S nets, N strings of a net, T time, B batch, K answers.  A place's target is a number, the code of a
column of `Answers.table`; the last code stands for a place at which nothing is asked.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unrolled.config.lab import Loss
from unrolled.languages.language import Language, String
from unrolled.languages.lengths import Lengths
from unrolled.saved.vocabulary import EOS

Ids = NDArray[np.uint16]
#: Batches that are dealt at a time.
AHEAD = 64
#: What a net reads, and the code of the answer after each symbol.
Read = tuple[Sequence[int], Sequence[int]]


class Answers(NamedTuple):
    """The distinct targets of a set of strings: table (K, codes + 1) float32; the last column, zero, asks nothing."""

    table: NDArray[np.float32]
    distribution: bool  # whether a column is a distribution over answers (softmax), rather than a set (sigmoids)

    @property
    def nothing(self) -> int:
        """The code of a place at which nothing is asked."""
        return int(self.table.shape[1]) - 1


class Batch(NamedTuple):
    """What S nets read next: ids and codes (S, T, B), and the steps of each net's longest string; T is the most."""

    ids: Ids
    codes: Ids
    steps: list[int]


class Examples:
    """The strings of S nets, read in an order of each net's own.

    Args:
        read: for each net, its strings.
        answers: what the codes stand for.
        seeds: of each net's order.

    >>> answers = Answers(np.eye(2, 3, dtype=np.float32), True)
    >>> examples = Examples([[([0, 1], [0, 2])]], answers, [5])
    >>> ids, codes, steps = examples.batch(1)
    >>> ids.tolist(), codes.tolist(), steps
    ([[[0], [1]]], [[[0], [2]]], [2])
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
        self._dealt = np.empty((S, 0), np.int64)
        self._nets = np.arange(S)[:, None]
        self._shortest_first = np.argsort(self._lengths, axis=1, kind="stable")

    def of(self, nets: slice) -> Examples:
        """Return the strings of some of the nets, which are dealt on from here."""
        part = copy.copy(self)
        part._ids, part._codes, part._lengths = self._ids[nets], self._codes[nets], self._lengths[nets]
        part._shortest_first, part._decks = self._shortest_first[nets], self._decks[nets]
        part._dealt = self._dealt[nets]
        part._nets = np.arange(len(part._decks))[:, None]
        return part

    def batch(self, B: int, share: float = 1.0) -> Batch:
        """Deal each net its next B strings.

        Args:
            B: strings of each net; all of them if there are no more.
            share: of the strings, the shortest ones, that are dealt from.
        """
        N = self._ids.shape[1]
        drawn = self._dealt_next(B) if B < N else np.arange(N)[None].repeat(len(self._ids), 0)
        if share < 1:
            drawn = np.take_along_axis(self._shortest_first, (share * drawn).astype(np.int64), 1)
        pick = (self._nets, drawn)
        steps = self._lengths[pick].max(1).tolist()
        T = max(steps)
        return Batch(self._ids[pick][..., :T].transpose(0, 2, 1), self._codes[pick][..., :T].transpose(0, 2, 1), steps)

    def _dealt_next(self, B: int) -> NDArray[np.int64]:
        """Return each net's next B cards (S, B)."""
        if self._dealt.shape[1] < B:
            more = np.stack([deck(AHEAD * B) for deck in self._decks])
            self._dealt = np.concatenate([self._dealt, more], axis=1)
        drawn, self._dealt = self._dealt[:, :B], self._dealt[:, B:]
        return drawn


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
    return Answers(np.concatenate([table.T, np.zeros((table.shape[1], 1), np.float32)], axis=1), distribution)
