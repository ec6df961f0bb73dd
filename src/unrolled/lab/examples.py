"""Training strings as arrays: the inputs of each model and the target after each symbol.

Letters: S models, N strings of a model, T time, B batch, K answers.  A target is a code, the number of a column of
`Targets.table`; the last code stands for no target.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unrolled.config.lab import Loss
from unrolled.languages.language import Language, String
from unrolled.languages.lengths import Lengths
from unrolled.saved.vocabulary import EOS

Ids = NDArray[np.uint16]
#: Batches drawn at a time.
AHEAD = 64
#: The symbols of a string as ids, and the code of the target after each.
Encoded = tuple[Sequence[int], Sequence[int]]


class Targets(NamedTuple):
    """The distinct targets of a set of strings: table (K, codes + 1) float32; the last column, zero, is no target."""

    table: NDArray[np.float32]
    distribution: bool  # whether a column is a distribution over answers (softmax), not a set (sigmoids)

    @property
    def ignored(self) -> int:
        """The code for no target."""
        return int(self.table.shape[1]) - 1


class ExampleBatch(NamedTuple):
    """The next batch of S models: ids and codes (S, T, B), and the length of each model's longest string, at most T."""

    ids: Ids
    codes: Ids
    steps: list[int]


class Examples:
    """The data loader of S models, each with strings and a shuffled order of its own.

    Args:
        strings: of each model.
        targets: what the codes stand for.
        seeds: of the order, one for each model.

    >>> targets = Targets(np.eye(2, 3, dtype=np.float32), True)
    >>> examples = Examples([[([0, 1], [0, 2])]], targets, [5])
    >>> ids, codes, steps = examples.batch(1)
    >>> ids.tolist(), codes.tolist(), steps
    ([[[0], [1]]], [[[0], [2]]], [2])
    """

    def __init__(self, strings: Sequence[Sequence[Encoded]], targets: Targets, seeds: Sequence[int]):
        self.targets = targets
        S, N, T = len(strings), len(strings[0]), max(len(ids) for own in strings for ids, _ in own)
        self.T = T
        self._ids = np.zeros((S, N, T), np.uint16)
        self._codes = np.full((S, N, T), targets.ignored, np.uint16)
        self._lengths = np.array([[len(ids) for ids, _ in own] for own in strings])
        for s, own in enumerate(strings):
            for k, (ids, codes) in enumerate(own):
                self._ids[s, k, : len(ids)] = ids
                self._codes[s, k, : len(codes)] = codes
        self._orders = [_shuffled(np.random.default_rng([seed, 1]), N) for seed in seeds]
        self._drawn = np.empty((S, 0), np.int64)
        self._models = np.arange(S)[:, None]
        self._shortest_first = np.argsort(self._lengths, axis=1, kind="stable")

    @staticmethod
    def memory(S: int, N: int, T: int) -> int:
        """Return about how many bytes the strings of S models take, N of each, of at most T symbols."""
        return S * N * (4 * T + 40)  # ids and codes; length, order, rank and where it is held

    def of(self, models: slice) -> Examples:
        """Return the examples of some of the models; drawing continues there."""
        part = copy.copy(self)
        part._ids, part._codes, part._lengths = self._ids[models], self._codes[models], self._lengths[models]
        part._shortest_first, part._orders = self._shortest_first[models], self._orders[models]
        part._drawn = self._drawn[models]
        part._models = np.arange(len(part._orders))[:, None]
        return part

    def batch(self, B: int, share: float = 1.0) -> ExampleBatch:
        """Return the next batch.

        Args:
            B: batch size of each model; if it has no more strings, all of them.
            share: of the strings; the batch is drawn from this share, the shortest ones.
        """
        N = self._ids.shape[1]
        drawn = self._next(B) if B < N else np.arange(N)[None].repeat(len(self._ids), 0)
        if share < 1:
            drawn = np.take_along_axis(self._shortest_first, (share * drawn).astype(np.int64), 1)
        pick = (self._models, drawn)
        steps = self._lengths[pick].max(1).tolist()
        T = max(steps)
        return ExampleBatch(
            self._ids[pick][..., :T].transpose(0, 2, 1), self._codes[pick][..., :T].transpose(0, 2, 1), steps
        )

    def _next(self, B: int) -> NDArray[np.int64]:
        """Return the numbers of each model's next B strings (S, B)."""
        if self._drawn.shape[1] < B:
            more = np.stack([order(AHEAD * B) for order in self._orders])
            self._drawn = np.concatenate([self._drawn, more], axis=1)
        drawn, self._drawn = self._drawn[:, :B], self._drawn[:, B:]
        return drawn


def _shuffled(rng: np.random.Generator, N: int) -> Callable[[int], NDArray[np.int64]]:
    """Return a function that returns the next B of the numbers below N, which are shuffled for each epoch."""
    numbers = np.empty(0, np.int64)

    def draw(B: int) -> NDArray[np.int64]:
        nonlocal numbers
        while len(numbers) < B:
            numbers = np.concatenate([numbers, *(rng.permutation(N) for _ in range(1 + 1000 // N))])
        drawn, numbers = numbers[:B], numbers[B:]
        return drawn

    return draw


def language_examples(language: Language, lengths: Lengths, samples: int, loss: Loss, seeds: Sequence[int]) -> Examples:
    """Draw the strings of each model from its own seed; the target is the next symbol, or the set of legal ones.

    Args:
        language: of the strings.
        lengths: distribution of their sizes.
        samples: strings of each model.
        loss: with "softmax" the targets are next symbols, EOS included, else sets of legal next symbols.
        seeds: one for each model.

    Raises: ValueError if the language has no string of one of the sizes.
    """
    vocabulary = language.vocabulary
    K = len(vocabulary)
    number = {symbol: k for k, symbol in enumerate(vocabulary.names)}
    sets: dict[frozenset[str], int] = {}
    known: dict[String, Encoded] = {}

    def encoded(string: String) -> Encoded:
        if string not in known:
            if loss == "softmax":
                codes = [number[symbol] for symbol in (*string[1:], EOS)]
            else:
                legal = list(language.next_symbols(string))[1:]
                codes = [sets.setdefault(each, len(sets)) for each in legal]
            known[string] = [number[symbol] for symbol in string], codes
        return known[string]

    streams = [np.random.default_rng([seed, 0]) for seed in seeds]
    drawn = [[encoded(language.sample(rng, lengths)) for _ in range(samples)] for rng in streams]
    table = np.eye(K, dtype=np.float32)
    if loss != "softmax":
        table = np.array([[symbol in each for symbol in vocabulary.names] for each in sets], np.float32)
    with_ignored = np.concatenate([table.T, np.zeros((K, 1), np.float32)], axis=1)
    return Examples(drawn, Targets(with_ignored, loss == "softmax"), seeds)
