"""Tasks on strings: one answer to a string, or another string made from it.

Definitions: Deletang et al. 2022, where an answer after the input is read at further steps with empty input.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from unrolled.languages.language import Language, String
from unrolled.languages.regular import DELETANG
from unrolled.languages.tasks import Strings, Task
from unrolled.saved.vocabulary import EOS

#: Positions on the circle of cycle navigation.
CYCLE = 5


class Parity(Task):
    """The number of 1s, modulo 2."""

    name, inputs, answers, kind, chomsky = "parity", Strings("01"), ("0", "1"), "end", "regular"
    source, summary = DELETANG, "the number of 1s modulo 2"

    def answer(self, given: String) -> String:
        return (str(given.count("1") % 2),)

    def holds(self, given: String, answer: String) -> bool:
        return answer == ("0" if re.fullmatch("(0*10*1)*0*", "".join(given)) else "1",)


class EvenPairs(Task):
    """The number of places ab or ba, modulo 2."""

    name, inputs, answers, kind, chomsky = "even-pairs", Strings("ab"), ("0", "1"), "end", "regular"
    source, summary = DELETANG, "the number of places ab or ba modulo 2"

    def answer(self, given: String) -> String:
        return (str(sum(one != other for one, other in pairwise(given)) % 2),)

    def holds(self, given: String, answer: String) -> bool:
        return answer == ("0" if given[0] == given[-1] else "1",)


class MajorityTask(Task):
    """Whether there are more 1s than 0s, as 0 or 1."""

    name, inputs, answers, kind = "majority", Strings("01"), ("0", "1"), "end"
    chomsky = "deterministic context-free"
    source, summary = "FLaRe (Butoi et al. 2025)", "1 if there are more 1s than 0s, else 0"

    def answer(self, given: String) -> String:
        return (str(int(given.count("1") > given.count("0"))),)

    def holds(self, given: String, answer: String) -> bool:
        middle = sorted(given, reverse=True)[len(given) // 2]  # for an even length, the later of the two in the middle
        return answer == (middle,)


class CycleNavigation(Task):
    """The position on a circle of five after steps left (<), right (>) or none (-), from position 0."""

    name, inputs, kind, chomsky = "cycle-navigation", Strings("<->"), "end", "regular"
    answers = tuple(map(str, range(CYCLE)))
    source, summary = DELETANG, "the position on a circle of 5 after steps < - >, from 0"

    def answer(self, given: String) -> String:
        position = 0
        for move in given:
            position = (position + {"<": -1, "-": 0, ">": 1}[move]) % CYCLE
        return (str(position),)

    def holds(self, given: String, answer: String) -> bool:
        return answer == (str((given.count(">") - given.count("<")) % CYCLE),)


class Copy(Task):
    """The input again."""

    name, inputs, answers, kind, chomsky = "copy", Strings("01"), ("0", "1"), "after", "context-sensitive"
    source, summary = "FLaRe (Butoi et al. 2025), marked copy", "the input again"

    def answer(self, given: String) -> String:
        return given

    def holds(self, given: String, answer: String) -> bool:
        return re.fullmatch(r"([^=]*)=\1", "".join([*given, "=", *answer])) is not None


class Reverse(Task):
    """The input backwards."""

    name, inputs, answers, kind = "reverse", Strings("01"), ("0", "1"), "after"
    chomsky = "deterministic context-free"
    source, summary = DELETANG, "the input backwards"

    def answer(self, given: String) -> String:
        return given[::-1]

    def holds(self, given: String, answer: String) -> bool:
        stack = list(given)
        return len(answer) == len(given) and all(symbol == stack.pop() for symbol in answer)


class Duplicate(Task):
    """The input twice."""

    name, inputs, answers, kind, chomsky = "duplicate", Strings("01"), ("0", "1"), "after", "context-sensitive"
    source, summary = DELETANG, "the input twice"

    def answer(self, given: String) -> String:
        return given + given

    def holds(self, given: String, answer: String) -> bool:
        return re.fullmatch(r"([^=]*)=\1\1", "".join([*given, "=", *answer])) is not None

    def answer_length(self, n: int) -> int:
        return 2 * n


class OddsFirst(Task):
    """The first, third, fifth ... symbol, then the second, fourth ... symbol.

    The published text puts the odd places, counted from 1, first; the published code puts the even ones first.
    """

    name, inputs, answers, kind, chomsky = "odds-first", Strings("01"), ("0", "1"), "after", "context-sensitive"
    source, summary = DELETANG, "the symbols in odd places, then those in even places"

    def answer(self, given: String) -> String:
        return given[::2] + given[1::2]

    def holds(self, given: String, answer: String) -> bool:
        odd = (len(given) + 1) // 2
        return len(answer) == len(given) and all(answer[t // 2 + odd * (t % 2)] == s for t, s in enumerate(given))


class BucketSort(Task):
    """The symbols of the input in ascending order."""

    name, inputs, answers, kind, chomsky = "bucket-sort", Strings("01234"), tuple("01234"), "after", "context-sensitive"
    source, summary = DELETANG, "the symbols in ascending order"

    def answer(self, given: String) -> String:
        return tuple(sorted(given))

    def holds(self, given: String, answer: String) -> bool:
        ascending = all(one <= other for one, other in pairwise(answer))
        return ascending and Counter(given) == Counter(answer)


class StackPrograms(Language):
    """A stack, written from its bottom, then actions on it; the inputs of stack manipulation.

    The size of the stack is uniform on 1 to n - 1; a single symbol is a stack without actions.
    """

    name, alphabet, chomsky, source = "stack-programs", ("0", "1", "pop", "push0", "push1"), "regular", DELETANG
    summary = "0s and 1s, then pop, push0, push1"

    # The state is the number of symbols so far, at most 2, and whether one was an action.
    def start(self) -> tuple[int, bool]:
        return 0, False

    def step(self, state: tuple[int, bool], symbol: str) -> tuple[int, bool]:
        return min(2, state[0] + 1), symbol not in ("0", "1")

    def legal(self, state: tuple[int, bool]) -> frozenset[str]:
        read, acted = state
        stack, actions = self.alphabet[:2], self.alphabet[2:]
        may_end = (EOS,) if acted or read == 1 else ()
        return frozenset((() if acted else stack) + (actions if read else ()) + may_end)

    def recognises(self, string: Sequence[str]) -> bool:
        words = "".join(f"{symbol} " for symbol in string)
        return re.fullmatch(r"[01] |([01] )+((pop|push0|push1) )+", words) is not None

    def nats(self, n: int) -> float:
        return math.log(n - 1) + n / 2 * math.log(6) if n > 1 else math.log(2)

    def first(self, n: int) -> dict[str, float]:
        return {"0": 0.5, "1": 0.5}

    def draw(self, rng: np.random.Generator, n: int) -> String:
        bottom = int(rng.integers(1, n)) if n > 1 else 1
        numbers = [*rng.integers(2, size=bottom).tolist(), *rng.integers(2, 5, size=n - bottom).tolist()]
        return tuple(self.alphabet[k] for k in numbers)


class StackManipulation(Task):
    """The stack after some actions, from its top, padded with "." to one symbol more than the input.

    A pop from an empty stack does nothing.
    """

    name, inputs, answers, kind = "stack-manipulation", StackPrograms(), ("0", "1", "."), "after"
    chomsky = "deterministic context-free"
    source, summary = DELETANG, "the stack after some pops and pushes, from its top"

    def answer(self, given: String) -> String:
        stack: list[str] = []
        for word in given:
            if word == "pop":
                del stack[-1:]
            else:
                stack.append(word[-1])
        return (*reversed(stack), *"." * (len(given) + 1 - len(stack)))

    def holds(self, given: String, answer: String) -> bool:
        pops, left = 0, []  # read backwards, a pop removes the next symbol not yet removed
        for word in reversed(given):
            if word == "pop":
                pops += 1
            elif pops:
                pops -= 1
            else:
                left.append(word[-1])
        return len(answer) == len(given) + 1 and re.fullmatch("".join(left) + r"\.+", "".join(answer)) is not None

    def answer_length(self, n: int) -> int:
        return n + 1
