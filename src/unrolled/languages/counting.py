"""Languages that one or a few counters recognise: a^n b^n and its relatives, and majority."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from unrolled.languages.language import Chomsky, Language, Run, String
from unrolled.saved.vocabulary import EOS


class Blocks(Language):
    """Blocks of equal symbols whose lengths have a fixed ratio, such as a^n b^n c^n: one string for each n >= 1.

    Args:
        name, chomsky, source: as of :class:`Language`.
        powers: the symbols in order, each with its number per n; 1 for the first.

    Raises: ValueError if the number of the first symbol is not 1.

    >>> language = Blocks("anb2n", {"a": 1, "b": 2}, "deterministic context-free", "an example")
    >>> language.draw(np.random.default_rng(0), 2), language.summary
    (('a', 'a', 'b', 'b', 'b', 'b'), 'a^n b^2n, n >= 1')
    """

    def __init__(self, name: str, powers: dict[str, int], chomsky: Chomsky, source: str) -> None:
        self.name, self.alphabet, self.chomsky, self.source = name, tuple(powers), chomsky, source
        self.powers = tuple(powers.values())
        if self.powers[0] != 1:
            raise ValueError(f"{name}: the power of {self.alphabet[0]} is {self.powers[0]}; the first must be 1")
        exponents = [f"{symbol}^{'' if power == 1 else power}n" for symbol, power in powers.items()]
        self.summary = f"{' '.join(exponents)}, n >= 1"

    # The state is (block, symbols read of this block, n); n counts up while the first block is read.
    def start(self) -> tuple[int, int, int]:
        return 0, 0, 0

    def step(self, state: tuple[int, int, int], symbol: str) -> tuple[int, int, int]:
        block, read, n = state
        after = self.alphabet.index(symbol)
        return after, read + 1 if after == block else 1, n + 1 if after == 0 else n

    def legal(self, state: tuple[int, int, int]) -> frozenset[str]:
        block, read, n = state
        following = self.alphabet[block + 1] if block + 1 < len(self.alphabet) else EOS
        if block == 0:
            return frozenset([self.alphabet[0], following] if n else [self.alphabet[0]])
        return frozenset([self.alphabet[block] if read < n * self.powers[block] else following])

    def recognises(self, string: Sequence[str]) -> bool:
        blocks = [(symbol, len(list(run))) for symbol, run in groupby(string)]
        n = len(string) // sum(self.powers)
        return n > 0 and blocks == [(s, n * power) for s, power in zip(self.alphabet, self.powers, strict=True)]

    def length(self, n: int) -> int:
        return n * sum(self.powers)

    def count(self, n: int) -> int:
        return int(n > 0)

    def first(self, n: int) -> dict[str, float]:
        return {self.alphabet[0]: 1.0}

    def probes(self, rng: np.random.Generator, n: int, most: int = 1) -> list[list[Run]]:
        # A formula, because the machine would take a step for each of up to 300,000 symbols.
        start, *others = self.alphabet
        runs: list[Run] = [(start, frozenset([start]), 1), (start, frozenset([start, others[0]]), n - 1)]
        due = frozenset([start, others[0]])
        for symbol, power in zip(others, self.powers[1:], strict=True):
            runs += [(symbol, due, 1), (symbol, frozenset([symbol]), power * n - 1)]
            due = frozenset([*others, EOS][others.index(symbol) + 1 :][:1])
        return [[run for run in [*runs, (EOS, due, 1)] if run[2]]]

    def draw(self, rng: np.random.Generator, n: int) -> String:
        return tuple(s for s, power in zip(self.alphabet, self.powers, strict=True) for _ in range(power * n))


class Sum(Language):
    """a^k b^m c^(k+m) with k, m >= 1; its size is n = k + m.

    >>> "".join(Sum().sample(np.random.default_rng(0), 4)), Sum().count(4)
    ('aaabcccc', 3)
    """

    name, alphabet, chomsky = "anbmcnm", ("a", "b", "c"), "deterministic context-free"
    source = "Lan et al. 2022; BLISS (Lan et al. 2023)"
    summary = "a^k b^m c^(k+m), k, m >= 1, of size k + m"

    # The state is (last symbol, c's due).
    def start(self) -> tuple[str, int]:
        return "", 0

    def step(self, state: tuple[str, int], symbol: str) -> tuple[str, int]:
        return symbol, state[1] + (-1 if symbol == "c" else 1)

    def legal(self, state: tuple[str, int]) -> frozenset[str]:
        last, due = state
        return frozenset({"": "a", "a": "ab", "b": "bc", "c": "c"}[last]) if due or not last else frozenset([EOS])

    def recognises(self, string: Sequence[str]) -> bool:
        match = re.fullmatch("(a+b+)(c+)", "".join(string))
        return match is not None and len(match[1]) == len(match[2])

    def length(self, n: int) -> int:
        return 2 * n

    def count(self, n: int) -> int:
        return max(0, n - 1)

    def first(self, n: int) -> dict[str, float]:
        return {"a": 1.0}

    def draw(self, rng: np.random.Generator, n: int) -> String:
        k = int(rng.integers(1, n))
        return ("a",) * k + ("b",) * (n - k) + ("c",) * n


class Majority(Language):
    """Strings with more 1s than 0s.

    >>> "".join(Majority().sample(np.random.default_rng(0), 7)), Majority().count(7)
    ('0011111', 64)
    """

    name, alphabet, chomsky = "majority", ("0", "1"), "deterministic context-free"
    source = "FLaRe (Butoi et al. 2025)"
    summary = "more 1s than 0s"

    # The state is how many more 1s than 0s have been read.
    def start(self) -> int:
        return 0

    def step(self, state: int, symbol: str) -> int:
        return state + (1 if symbol == "1" else -1)

    def legal(self, state: int) -> frozenset[str]:
        return frozenset(self.alphabet + ((EOS,) if state > 0 else ()))

    def recognises(self, string: Sequence[str]) -> bool:
        return set(string) <= {"0", "1"} and 2 * sum(symbol == "1" for symbol in string) > len(string)

    def has(self, n: int) -> bool:
        return n > 0

    def ways(self, state: int, left: int) -> int:
        needed = (left - state) // 2 + 1  # least number of 1s among the symbols left
        return sum(math.comb(left, ones) for ones in range(max(0, needed), left + 1))

    def draw(self, rng: np.random.Generator, n: int) -> String:
        while True:  # at least every fourth string of a size has a majority of 1s
            bits = rng.integers(2, size=n)
            if 2 * bits.sum() > n:
                return tuple(np.where(bits, "1", "0").tolist())
