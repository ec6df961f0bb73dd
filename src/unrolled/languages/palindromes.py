"""Palindromes without a mark in the middle, which no deterministic pushdown automaton recognises."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unrolled.languages.language import Language, String
from unrolled.saved.vocabulary import EOS


class UnmarkedReversal(Language):
    """w followed by w backwards; the size is the number of symbols of w.

    Every symbol is legal after every prefix, so a model can be wrong only about where a string may end.

    >>> language = UnmarkedReversal()
    >>> "".join(language.sample(np.random.default_rng(0), 4)), language.count(4)
    ('11100111', 16)
    """

    name, alphabet, chomsky = "unmarked-reversal", ("0", "1"), "context-free"
    source = "DuSell & Chiang 2020, Learning Context-Free Languages with Nondeterministic Stack RNNs; Butoi et al. 2025"
    summary = "w followed by w backwards; the size is the symbols of w"

    # The state is the prefix: less would not determine where the string may end.
    def start(self) -> String:
        return ()

    def step(self, state: String, symbol: str) -> String:
        return (*state, symbol)

    def legal(self, state: String) -> frozenset[str]:
        may_end = len(state) % 2 == 0 and state == state[::-1]
        return frozenset((*self.alphabet, EOS) if may_end else self.alphabet)

    def recognises(self, string: Sequence[str]) -> bool:
        half, odd = divmod(len(string), 2)
        mirrored = all(string[t] == string[-1 - t] for t in range(half))
        return not odd and mirrored and set(string) <= {*self.alphabet}

    def length(self, n: int) -> int:
        return 2 * n

    def ways(self, state: String, left: int) -> int:
        half, odd = divmod(len(state) + left, 2)
        if odd or state[half:] != state[left:half][::-1]:
            return 0
        return 1 << max(0, half - len(state))

    def draw(self, rng: np.random.Generator, n: int) -> String:
        w = tuple(self.alphabet[k] for k in rng.integers(2, size=n).tolist())
        return w + w[::-1]
