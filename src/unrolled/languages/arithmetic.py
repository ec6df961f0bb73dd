"""Arithmetic modulo 5, with and without brackets, and the languages of its inputs."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Sequence

import numpy as np

from unrolled.languages.language import Language, String
from unrolled.languages.regular import DELETANG
from unrolled.languages.tasks import Task
from unrolled.saved.vocabulary import EOS

MODULUS = 5
DIGITS = tuple(map(str, range(MODULUS)))
OPERATORS = ("+", "-", "*")


class Sums(Language):
    """Numbers with an operator between each two; the size is the number of numbers."""

    name, alphabet, chomsky, source = "sums", (*DIGITS, *OPERATORS), "regular", DELETANG
    summary = "numbers with + - * between them; the size is how many numbers"

    def start(self) -> bool:
        return False

    def step(self, state: bool, symbol: str) -> bool:
        return symbol in DIGITS

    def legal(self, state: bool) -> frozenset[str]:
        return frozenset((*OPERATORS, EOS) if state else DIGITS)

    def recognises(self, string: Sequence[str]) -> bool:
        return re.fullmatch("[0-4]([-+*][0-4])*", "".join(string)) is not None

    def length(self, n: int) -> int:
        return 2 * n - 1

    def count(self, n: int) -> int:
        return MODULUS**n * len(OPERATORS) ** (n - 1) if n > 0 else 0

    def first(self, n: int) -> dict[str, float]:
        return dict.fromkeys(DIGITS, 1 / MODULUS)

    def draw(self, rng: np.random.Generator, n: int) -> String:
        string = np.empty(2 * n - 1, object)
        string[::2] = rng.choice(DIGITS, n)
        string[1::2] = rng.choice(OPERATORS, n - 1)
        return tuple(map(str, string))


class ModularArithmetic(Task):
    """The value of a sum of products, modulo 5; * binds tighter than + and -."""

    name, inputs, answers, kind, chomsky = "modular-arithmetic", Sums(), DIGITS, "end", "regular"
    source, summary = DELETANG, "the value of numbers with + - * between them, modulo 5"

    def answer(self, given: String) -> String:
        total, sign, term = 0, 1, int(given[0])
        for operator, digit in zip(given[1::2], given[2::2], strict=True):
            if operator == "*":
                term *= int(digit)
            else:
                total, sign, term = (total + sign * term) % MODULUS, 1 if operator == "+" else -1, int(digit)
        return (str((total + sign * term) % MODULUS),)

    def holds(self, given: String, answer: String) -> bool:
        terms = re.findall(r"([-+]?)([0-4*]+)", "".join(given))
        values = [(-1 if sign == "-" else 1) * math.prod(map(int, term.split("*"))) for sign, term in terms]
        return answer == (str(sum(values) % MODULUS),)


class Bracketed(Language):
    """Expressions with brackets around each operation: d, -d, (d), (-d), and (E o E) from five symbols on.

    The length of the left expression is uniform on 1 to n - 4, and so are digits and operators.
    """

    name, alphabet, source = "bracketed", (*DIGITS, *OPERATORS, "(", ")"), DELETANG
    chomsky = "deterministic context-free"
    summary = "expressions with brackets around each operation"

    # The state is the open brackets as linked pairs, each with whether its operator has been read; and what was read
    # last: "" or "(" before an expression, "o" an operator, "-" a sign, "d" a digit, ")".
    def start(self) -> tuple[object, str]:
        return None, ""

    def step(self, state: tuple[tuple[bool, object], str], symbol: str) -> tuple[object, str]:
        open_now, last = state
        if symbol == "(":
            return (False, open_now), "("
        if symbol == ")":
            return open_now[1], ")"
        if symbol in DIGITS:
            return open_now, "d"
        return (open_now, "-") if last in ("", "(", "o") else ((True, open_now[1]), "o")

    def legal(self, state: tuple[tuple[bool, object] | None, str]) -> frozenset[str]:
        open_now, last = state
        if last == "-":
            return frozenset(DIGITS)
        if last in ("", "(", "o"):
            return frozenset([*DIGITS, "-", "("])
        if open_now is None:
            return frozenset([EOS])
        if open_now[0]:
            return frozenset([")"])
        return frozenset([*OPERATORS, ")"] if last == "d" else OPERATORS)

    def key(self, state: tuple[tuple[bool, object] | None, str]) -> Hashable:
        open_now, last = state
        innermost, operators, open_brackets = open_now and open_now[0], 0, 0
        while open_now:
            operators, open_brackets = operators + open_now[0], open_brackets + 1
            open_now = open_now[1]  # type: ignore[assignment]
        return innermost, operators, open_brackets, last

    def recognises(self, string: Sequence[str]) -> bool:
        text, before = "".join(string), ""
        while text != before:  # E is a reduced operation or number in brackets
            before, text = text, re.sub(r"\((-?[0-4]|E)[-+*](-?[0-4]|E)\)|\(-?[0-4]\)", "E", text)
        return re.fullmatch("-?[0-4]|E", text) is not None and set(string) <= {*self.alphabet}

    def has(self, n: int) -> bool:
        return n > 0

    def count(self, n: int) -> int:
        return _TABLES.up_to(n).counts[n]

    def nats(self, n: int) -> float:
        return _TABLES.up_to(n).nats[n]

    def first(self, n: int) -> dict[str, float]:
        return dict.fromkeys(DIGITS, 1 / MODULUS) if n == 1 else {"-" if n == 2 else "(": 1.0}

    def draw(self, rng: np.random.Generator, n: int) -> String:
        string: list[str] = []
        todo: list[int | str] = [n]
        while todo:
            task = todo.pop()
            if isinstance(task, str):
                string.append(task)
            elif task < 5:
                digit = DIGITS[rng.integers(MODULUS)]
                string += {1: [digit], 2: ["-", digit], 3: ["(", digit, ")"], 4: ["(", "-", digit, ")"]}[task]
            else:
                left = int(rng.integers(1, task - 3))
                todo += [")", task - 3 - left, OPERATORS[rng.integers(len(OPERATORS))], left, "("]
        return tuple(string)


class BracketedArithmetic(Task):
    """The value of an expression with brackets around each operation, modulo 5.

    The published code leaves out * by default; the published text has it, and so does this task.
    """

    name, inputs, answers, kind = "modular-arithmetic-brackets", Bracketed(), DIGITS, "end"
    chomsky = "deterministic context-free"
    source, summary = DELETANG, "the value of an expression in brackets, modulo 5"

    def answer(self, given: String) -> String:
        values: list[int] = []
        waiting: list[str] = []  # brackets, operators, and "n" for a sign
        expected = True  # whether a number comes next, so that - is a sign
        for symbol in given:
            if symbol in DIGITS:
                sign = waiting[-1:] == ["n"]
                values.append(-int(symbol) if sign else int(symbol))
                waiting = waiting[:-1] if sign else waiting
            elif symbol == ")":
                operator = waiting.pop()
                if operator != "(":
                    waiting.pop()
                    right, left = values.pop(), values.pop()
                    values.append(_value(left, operator, right))
            else:
                waiting.append("n" if expected and symbol == "-" else symbol)
            expected = symbol == "(" or symbol in OPERATORS
        return (str(values[0] % MODULUS),)

    def holds(self, given: String, answer: String) -> bool:
        text = "".join(given)
        while not re.fullmatch("-?[0-4]", text):
            text = re.sub(r"\((-?[0-4])(?:([-+*])(-?[0-4]))?\)", _reduced, text)
        return answer == (str(int(text) % MODULUS),)


def _reduced(match: re.Match[str]) -> str:
    return match[1] if match[2] is None else str(_value(int(match[1]), match[2], int(match[3])))


def _value(left: int, operator: str, right: int) -> int:
    return {"+": left + right, "-": left - right, "*": left * right}[operator] % MODULUS


class _Tables:
    """Number and entropy (nats) of the expressions of each number of symbols, from 0 on."""

    def __init__(self) -> None:
        self.counts = [0] + 4 * [MODULUS]
        self.nats = 5 * [math.log(MODULUS)]

    def up_to(self, n: int) -> _Tables:
        for m in range(len(self.counts), n + 1):
            splits = [(left, m - 3 - left) for left in range(1, m - 3)]
            self.counts.append(len(OPERATORS) * sum(self.counts[left] * self.counts[right] for left, right in splits))
            inside = sum(self.nats[left] + self.nats[right] for left, right in splits) / len(splits)
            self.nats.append(math.log(len(splits) * len(OPERATORS)) + inside)
        return self


_TABLES = _Tables()
