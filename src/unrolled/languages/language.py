"""A formal language as one object: generator, recogniser, next-symbol oracle, negatives and optimal cross-entropy.

A language is defined twice, in two independent ways: as a machine that reads a string from left to right (``start``,
``step``, ``legal``) and as a test of the whole string (``recognises``).  Everything else follows from the machine;
:func:`unrolled.languages.self_check.self_check` compares the two.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from functools import cached_property
from itertools import chain, groupby, repeat
from typing import Any, Literal

import numpy as np

from unrolled.config.checks import Count, check_value
from unrolled.languages.lengths import Lengths
from unrolled.saved.vocabulary import EOS, Vocabulary
from unrolled.words import counted

Chomsky = Literal["regular", "deterministic context-free", "context-free", "context-sensitive"]
String = tuple[str, ...]
#: A symbol, the symbols legal in its place, and how many positions in a row this holds for.
Run = tuple[str, frozenset[str], int]

#: Random attempts before the number of edits is raised by one.
TRIES = 100
#: Most states that the machine may reach after one number of symbols while strings are counted.
STATES = 200_000


class Language(ABC):
    """A set of strings over an alphabet, each of some size n; strings of one size are drawn with equal probability.

    All strings of size n have the same number of symbols, ``length(n)``, and a longer string has a larger size.
    A new language defines the five attributes, the three methods of its machine and ``recognises``; the rest may be
    overridden where a formula is faster than the machine.

    Attributes:
        name: Its name on the command line.
        alphabet: Its symbols, distinct.
        chomsky: Its class in the Chomsky hierarchy.
        source: Where it is defined or measured.
        summary: Its strings in one line.

    >>> class Blocks(Language):
    ...     name, alphabet, chomsky, source = "blocks", ("a", "b"), "regular", "an example"
    ...     summary = "a's, then at least one b"
    ...     def start(self): return "a"
    ...     def step(self, state, symbol): return symbol
    ...     def legal(self, state): return frozenset("ab") if state == "a" else frozenset(["b", EOS])
    ...     def recognises(self, string): return "b" in string and "ba" not in "".join(string)
    >>> language, rng = Blocks(), np.random.default_rng(0)
    >>> ["".join(string) for string in language.strings(3)]
    ['b', 'ab', 'bb', 'aab', 'abb', 'bbb']
    >>> "".join(language.sample(rng, 9)), language.count(9), language.accepts("ba")
    ('aaaaaaabb', 9, False)
    >>> round(language.optimal_nats(Lengths("uniform:1-20")), 4)  # nats per symbol
    0.442
    """

    name: str
    alphabet: tuple[str, ...]
    chomsky: Chomsky
    source: str
    summary: str

    @abstractmethod
    def start(self) -> Any:
        """Return the machine's state before the first symbol."""

    @abstractmethod
    def step(self, state: Any, symbol: str) -> Any:
        """Return the state after one more symbol, which must be legal in this state."""

    @abstractmethod
    def legal(self, state: Any) -> frozenset[str]:
        """Return the symbols with which some string of the language continues, EOS included."""

    @abstractmethod
    def recognises(self, string: Sequence[str]) -> bool:
        """Return whether the string is in the language, without using the machine."""

    def key(self, state: Any) -> Hashable:
        """Return a key; states with equal keys have equally many continuations of each length.  Default: the state."""
        return state  # type: ignore[no-any-return]

    def length(self, n: int) -> int:
        """Return the number of symbols of a string of size n, EOS not counted."""
        return n

    @property
    def vocabulary(self) -> Vocabulary:
        """The alphabet as models read it, followed by EOS and UNK."""
        return Vocabulary(self.alphabet)

    def accepts(self, string: Sequence[str]) -> bool:
        """Return whether the machine reads the whole string and may end there."""
        state = self.read(string)
        return state is not None and EOS in self.legal(state)

    def read(self, prefix: Sequence[str]) -> Any | None:
        """Return the machine's state after a prefix; None if no string of the language begins with it."""
        state = self.start()
        for symbol in prefix:
            if symbol not in self.legal(state) or symbol == EOS:
                return None
            state = self.step(state, symbol)
        return state

    def next_symbols(self, string: Sequence[str]) -> Iterator[frozenset[str]]:
        """Yield the legal next symbols after each prefix of a string, the empty prefix first.

        Raises: ValueError naming the first illegal symbol.
        """
        state = self.start()
        for t, symbol in enumerate(chain(string, [EOS])):
            legal = self.legal(state)
            yield legal
            if symbol not in legal:
                expected = ", ".join(sorted(legal))
                raise ValueError(f"{self.name}: symbol {t} is {symbol}, expected one of {expected}")
            if symbol != EOS:
                state = self.step(state, symbol)

    def runs(self, string: Sequence[str]) -> Iterator[Run]:
        """Yield a string and its EOS as runs of equal symbols in places where the same symbols are legal.

        Raises: ValueError naming the first illegal symbol.

        >>> from unrolled.languages import get
        >>> [(symbol, sorted(legal), count) for symbol, legal, count in get("anbn").runs("aabb")]
        [('a', ['a'], 1), ('a', ['a', 'b'], 1), ('b', ['a', 'b'], 1), ('b', ['b'], 1), ('EOS', ['EOS'], 1)]
        """
        for (symbol, legal), run in groupby(zip(chain(string, [EOS]), self.next_symbols(string), strict=True)):
            yield symbol, legal, len(list(run))

    def probes(self, rng: np.random.Generator, n: int, most: int = 1) -> list[list[Run]]:
        """Return the strings on which a model is judged at size n, as runs: all of them, or `most` drawn at random."""
        if self.count(n) <= most:
            return [list(self.runs(string)) for string in self._walk((), self.start(), self.length(n))]
        return [list(self.runs(self.draw(rng, n))) for _ in range(most)]

    def has(self, n: int) -> bool:
        """Return whether there is a string of size n."""
        return n >= 0 and self.count(n) > 0

    def strings(self, up_to: int) -> Iterator[String]:
        """Yield every string of at most `up_to` symbols, the shortest first, found by the machine."""
        for length in range(up_to + 1):
            yield from self._walk((), self.start(), length)

    def _walk(self, prefix: String, state: Any, left: int) -> Iterator[String]:
        paths = [(prefix, state, left)]
        while paths:
            prefix, state, left = paths.pop()
            if not self.ways(state, left):
                continue
            if not left:
                yield prefix
                continue
            following = [symbol for symbol in reversed(self.alphabet) if symbol in self.legal(state)]
            paths += [((*prefix, symbol), self.step(state, symbol), left - 1) for symbol in following]

    def count(self, n: int) -> int:
        """Return how many strings of size n there are."""
        return self.ways(self.start(), self.length(n))

    def nats(self, n: int) -> float:
        """Return the entropy of a string given its size n, in nats."""
        return math.log(self.count(n))

    def first(self, n: int) -> dict[str, float]:
        """Return the probability of each first symbol of a string of size n >= 1."""
        start, left, total = self.start(), self.length(n) - 1, self.count(n)
        return {s: self.ways(self.step(start, s), left) / total for s in sorted(self.legal(start) - {EOS})}

    def draw(self, rng: np.random.Generator, n: int) -> String:
        """Draw a string of a size n that the language has, each with the same probability."""
        state, string = self.start(), []
        for left in range(self.length(n) - 1, -1, -1):
            moves = [(symbol, self.step(state, symbol)) for symbol in sorted(self.legal(state) - {EOS})]
            symbol, state = moves[choose(rng, [self.ways(after, left) for _, after in moves])]
            string.append(symbol)
        return tuple(string)

    def sample(self, rng: np.random.Generator, size: int | Lengths) -> String:
        """Draw a string.

        Args:
            rng: the random stream to draw from.
            size: n, or the distribution from which n is drawn first.

        Returns: its symbols, without EOS.
        Raises: ValueError if the language has no string of this size.
        """
        n = size.sample(rng) if isinstance(size, Lengths) else size
        self.check(n)
        return self.draw(rng, n)

    def check(self, size: int | Lengths) -> None:
        """Refuse sizes that no string of the language has.

        Raises: ValueError naming the first such size and the sizes near it that exist.
        """
        if not isinstance(size, Lengths):
            check_value("size", size, Count)
        for n in size.sizes.tolist() if isinstance(size, Lengths) else [size]:
            if not self.has(n):
                near = [m for m in range(max(0, n - 5), max(0, n) + 6) if self.has(m)]
                hint = f"sizes near it: {', '.join(map(str, near))}" if near else "there are none near it either"
                raise ValueError(f"{self.name} has no string of size {n}; {hint} ({self.summary})")

    def optimal_nats(self, lengths: Lengths, *, start_mark: bool = False) -> float:
        """Return the least cross-entropy that any model can have on strings drawn at random, in nats per symbol.

        Args:
            lengths: the distribution of sizes; strings of one size are distributed as ``draw`` draws them.
            start_mark: whether the model reads EOS before the string and predicts the first symbol too; otherwise the
                first symbol is given, and all others and EOS are predicted.

        Raises: ValueError if the language has no string of one of the sizes, or only the empty one without start mark.
        Source: the chain rule: H(string) = H(first) + H(rest | first) = H(n) + sum p(n) H(string | n).
        """
        self.check(lengths)
        total, symbols = lengths.entropy, 0.0
        first = dict.fromkeys(self.alphabet, 0.0)
        for n, p in lengths:
            if not start_mark and not self.length(n):
                raise ValueError(f"{self.name}: the empty string has no first symbol to read; use start_mark=True")
            total += p * self.nats(n)
            symbols += p * (self.length(n) + start_mark)
            for symbol, share in ({} if start_mark else self.first(n)).items():
                first[symbol] += p * share
        return (total + sum(share * math.log(share) for share in first.values() if share)) / symbols

    def negatives(self, rng: np.random.Generator, string: Sequence[str], edits: int = 1) -> Iterator[String]:
        """Yield strings outside the language that are a few edits away from this one, without end.

        Args:
            rng: the random stream to draw from.
            string: a string of the language.
            edits: the least number of edits, made one after the other: swap a symbol with the next, delete, insert or
                replace one.  If they keep leading into the language, one more is tried.

        Raises: ValueError if three edits more than the string has symbols still lead into the language.
        Source: Butoi et al. 2025, who also draw the number of edits.

        >>> from unrolled.languages import get
        >>> negatives = get("anbn").negatives(np.random.default_rng(0), "aabb")
        >>> ["".join(next(negatives)) for _ in range(4)]
        ['aabbb', 'abb', 'aabbb', 'aaba']
        """
        while True:
            counts = chain.from_iterable(repeat(k, TRIES) for k in range(edits, edits + len(string) + 4))
            outside = (s for s in (self.edited(rng, string, k) for k in counts) if not self.recognises(s))
            negative = next(outside, None)
            if negative is None:
                raise ValueError(f"{self.name}: no edits of {' '.join(string) or 'the empty string'} lead outside it")
            yield negative

    def edited(self, rng: np.random.Generator, string: Sequence[str], edits: int = 1) -> String:
        """Return a string after some random edits; it may still be in the language."""
        check_value("edits", edits, Count)
        edited = list(string)
        for _ in range(edits):
            edit = rng.integers(4) if len(edited) > 1 else 2 + rng.integers(2) if edited else 3
            k = int(rng.integers(len(edited) + (edit == 3)))
            symbol = self.alphabet[rng.integers(len(self.alphabet))]
            if edit == 0:
                k = min(k, len(edited) - 2)
                edited[k : k + 2] = edited[k + 1], edited[k]
            elif edit == 1:
                del edited[k]
            elif edit == 2:
                edited[k] = symbol
            else:
                edited.insert(k, symbol)
        return tuple(edited)

    def ways(self, state: Any, left: int) -> int:
        """Return how many strings of exactly `left` symbols lead from a state to the end of a string."""
        known = self._ways
        if (left, self.key(state)) in known:
            return known[left, self.key(state)]
        layers = [{self.key(state): state}]
        for r in range(left, 0, -1):
            unknown = [s for key, s in layers[-1].items() if (r, key) not in known]
            after = (self.step(s, symbol) for s in unknown for symbol in self.legal(s) - {EOS})
            layers.append({self.key(s): s for s in after})
            if len(layers[-1]) > STATES:
                raise ValueError(
                    f"{self.name}: the machine has more than {STATES:,} states after "
                    f"{counted(left - r + 1, 'symbol')}; give states with equally many continuations "
                    "the same key(state), or override count and draw"
                )
        for r, layer in enumerate(reversed(layers)):
            for key, s in layer.items():
                if (r, key) not in known:
                    moves = self.legal(s)
                    after = (self.step(s, symbol) for symbol in moves - {EOS})
                    known[r, key] = sum(known[r - 1, self.key(t)] for t in after) if r else int(EOS in moves)
        return known[left, self.key(state)]

    @cached_property
    def _ways(self) -> dict[tuple[int, Hashable], int]:
        return {}

    def __repr__(self) -> str:
        return f"<{self.name}: {self.summary}>"


def choose(rng: np.random.Generator, weights: Sequence[int]) -> int:
    """Draw an index with probability exactly proportional to its weight, an integer of any size.

    >>> choose(np.random.default_rng(0), [0, 10**400, 0])
    1
    """
    drawn = total = sum(weights)
    bits = total.bit_length()
    size, mask = (bits + 7) // 8, (1 << bits) - 1
    while drawn >= total:
        drawn = int.from_bytes(rng.bytes(size), "little") & mask
    for k, weight in enumerate(weights):
        drawn -= weight
        if drawn < 0:
            return k
    raise AssertionError("unreachable")
