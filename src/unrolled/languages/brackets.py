"""Languages of brackets: Dyck-k, where all kinds nest, and Shuffle-k, where each kind nests on its own."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from functools import lru_cache

import numpy as np

from unrolled.languages.language import Language, String, choose
from unrolled.saved.vocabulary import EOS

#: The first kinds of brackets of Dyck-k and Shuffle-k; from the fifth on they are numbered.
WRITTEN = ("()", "[]", "{}", "<>")


def brackets(k: int) -> tuple[str, ...]:
    """Return the alphabet of k kinds of brackets, each kind's opening before its closing one.

    >>> brackets(2), brackets(5)[-2:]
    (('(', ')', '[', ']'), ('(5', ')5'))
    """
    pairs = [tuple(WRITTEN[kind]) if kind < len(WRITTEN) else (f"({kind + 1}", f"){kind + 1}") for kind in range(k)]
    return tuple(symbol for pair in pairs for symbol in pair)


class Dyck(Language):
    """Well-nested strings of k kinds of brackets; the size is the number of pairs.

    Args:
        k: kinds of brackets.
        depth: how many may be open at once; None is any number.  With a depth the language is regular.

    >>> language = Dyck(2)
    >>> "".join(language.sample(np.random.default_rng(1), 6)), language.count(3)
    ('()[[()][]][]', 40)
    """

    source = "Chomsky & Schuetzenberger 1963; Suzgun et al. 2019b; bounded depth: Hewitt et al. 2020"

    def __init__(self, k: int, depth: int | None = None) -> None:
        if k < 1 or (depth is not None and depth < 1):
            raise ValueError(f"Dyck: k is {k} and depth {depth}, expected at least 1 of each")
        self.k, self.depth = k, depth
        self.alphabet = brackets(k)
        self.name = f"dyck-{k}" + ("" if depth is None else f"-{depth}")
        self.chomsky = "deterministic context-free" if depth is None else "regular"
        bound = "" if depth is None else f", at most {depth} open at once"
        self.summary = (
            f"well-nested strings of {k} kind{'s'[: k > 1]} of brackets{bound}; the size is the number of pairs"
        )
        self.opens, self.closes = self.alphabet[::2], self.alphabet[1::2]

    # The state is the stack of closing brackets due, as linked pairs (top, rest), and its depth.
    def start(self) -> tuple[tuple[str, object], int]:
        return (EOS, None), 0

    def step(self, state: tuple[tuple[str, object], int], symbol: str) -> object:
        stack, depth = state
        if symbol in self.opens:
            return (self.closes[self.opens.index(symbol)], stack), depth + 1
        return stack[1], depth - 1

    def legal(self, state: tuple[tuple[str, object], int]) -> frozenset[str]:
        (due, _), depth = state
        return frozenset((due,) if depth == self.depth else (due, *self.opens))

    def key(self, state: tuple[object, int]) -> Hashable:
        return state[1]

    def recognises(self, string: Sequence[str]) -> bool:
        pairs = dict(zip(self.closes, self.opens, strict=True))
        open_now: list[str] = []
        deepest = 0
        for symbol in string:
            if symbol in pairs:
                if not open_now or open_now.pop() != pairs[symbol]:
                    return False
            else:
                open_now.append(symbol)
                deepest = max(deepest, len(open_now))
        return not open_now and set(string) <= {*self.alphabet} and (self.depth is None or deepest <= self.depth)

    def length(self, n: int) -> int:
        return 2 * n

    def count(self, n: int) -> int:
        return catalan(n) * self.k**n if self.depth is None else super().count(n)

    def has(self, n: int) -> bool:
        return n >= 0

    def first(self, n: int) -> dict[str, float]:
        return dict.fromkeys(self.opens, 1 / self.k)

    def draw(self, rng: np.random.Generator, n: int) -> String:
        if self.depth is not None:
            return super().draw(rng, n)
        stack: list[int] = []
        string = []
        for kind, opening in zip(rng.integers(self.k, size=2 * n).tolist(), dyck_path(rng, n), strict=True):
            if opening:
                stack.append(kind)
            string.append(self.opens[kind] if opening else self.closes[stack.pop()])
        return tuple(string)


class Shuffle(Language):
    """Interleavings of k Dyck-1 words, each in brackets of its own kind; the size is the number of pairs.

    >>> language = Shuffle(2)
    >>> "".join(language.sample(np.random.default_rng(0), 6)), language.count(3)
    ('([)(([[)]]])', 70)
    """

    source = "Suzgun et al. 2019b, LSTM Networks Can Perform Dynamic Counting"

    def __init__(self, k: int) -> None:
        if k < 1:
            raise ValueError(f"Shuffle: k is {k}, expected at least 1")
        self.k, self.alphabet, self.name = k, brackets(k), f"shuffle-{k}"
        self.chomsky = "deterministic context-free" if k == 1 else "context-sensitive"
        self.summary = f"{k} Dyck-1 words in brackets of their own, interleaved; the size is the number of pairs"

    # The state is how many brackets of each kind are open.
    def start(self) -> tuple[int, ...]:
        return (0,) * self.k

    def step(self, state: tuple[int, ...], symbol: str) -> tuple[int, ...]:
        kind, closing = divmod(self.alphabet.index(symbol), 2)
        return (*state[:kind], state[kind] + (-1 if closing else 1), *state[kind + 1 :])

    def legal(self, state: tuple[int, ...]) -> frozenset[str]:
        closes = [close for close, open_now in zip(self.alphabet[1::2], state, strict=True) if open_now]
        return frozenset([*self.alphabet[::2], *(closes or [EOS])])

    def key(self, state: tuple[int, ...]) -> Hashable:
        return tuple(sorted(state))

    def recognises(self, string: Sequence[str]) -> bool:
        for opening, closing in zip(self.alphabet[::2], self.alphabet[1::2], strict=True):
            word = "".join("(" if symbol == opening else ")" for symbol in string if symbol in (opening, closing))
            while "()" in word:
                word = word.replace("()", "")
            if word:
                return False
        return set(string) <= {*self.alphabet}

    def length(self, n: int) -> int:
        return 2 * n

    def count(self, n: int) -> int:
        return shuffles(self.k, n)

    def has(self, n: int) -> bool:
        return n >= 0

    def first(self, n: int) -> dict[str, float]:
        return dict.fromkeys(self.alphabet[::2], 1 / self.k)

    def draw(self, rng: np.random.Generator, n: int) -> String:
        string = np.empty(2 * n, object)
        left = np.arange(2 * n)  # positions not yet taken by a word
        for kind in range(self.k):
            others = self.k - kind - 1
            weights = [math.comb(len(left), 2 * m) * catalan(m) * shuffles(others, n - m) for m in range(n + 1)]
            m = choose(rng, weights)
            mine = np.sort(rng.choice(len(left), 2 * m, replace=False))
            string[left[mine]] = [self.alphabet[2 * kind + (not opening)] for opening in dyck_path(rng, m)]
            left, n = np.delete(left, mine), n - m
        return tuple(string.tolist())


def catalan(n: int) -> int:
    """Return the number of Dyck-1 words of n pairs.

    >>> [catalan(n) for n in range(6)]
    [1, 1, 2, 5, 14, 42]
    """
    return math.comb(2 * n, n) // (n + 1)


@lru_cache(4096)
def shuffles(k: int, n: int) -> int:
    """Return the number of interleavings of k Dyck-1 words with n pairs in total.

    >>> [shuffles(2, n) for n in range(4)], shuffles(2, 9) == catalan(9) * catalan(10)
    ([1, 2, 10, 70], True)
    """
    if k <= 1:
        return catalan(n) if k else int(n == 0)
    return sum(math.comb(2 * n, 2 * m) * catalan(m) * shuffles(k - 1, n - m) for m in range(n + 1))


def dyck_path(rng: np.random.Generator, n: int) -> list[bool]:
    """Draw a Dyck-1 word of n pairs, each with the same probability, in time O(n).

    Returns: for each of the 2 n symbols whether it opens.
    Source: the cycle lemma (Dvoretzky & Motzkin 1947): of the 2 n + 1 rotations of n ups and n + 1 downs, exactly one
        stays at or above zero until its last step.
    """
    steps = rng.permuted(np.repeat([1, -1], [n, n + 1]))
    lowest = int(np.argmin(np.cumsum(steps)))
    return (np.roll(steps, -lowest - 1)[:-1] == 1).tolist()  # type: ignore[no-any-return]
