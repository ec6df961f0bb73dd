"""Tasks: functions from an input string to an answer, and each task as the language of strings "input = answer".

A task asks for one answer at the end (``kind`` is "end"), one at each step ("each"), or a string after the end
("after").  As a language, its strings are the input, the symbol ``=`` and the answer, as in Butoi et al. 2025: each
symbol of the answer is forced, and every metric of a language applies to the task.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Literal

import numpy as np

from unrolled.languages.language import Chomsky, Language, String
from unrolled.languages.lengths import Lengths
from unrolled.saved.vocabulary import EOS

Kind = Literal["end", "each", "after"]
State = tuple[Any, Any, int]
#: Between input and answer.
EQUALS = "="


class Strings(Language):
    """Every string over an alphabet, of at least one symbol: the inputs of most tasks."""

    name, chomsky, source, summary = "strings", "regular", "-", "every string of at least one symbol"

    def __init__(self, alphabet: Sequence[str]) -> None:
        self.alphabet = tuple(alphabet)

    # The state is whether there has been a symbol.
    def start(self) -> bool:
        return False

    def step(self, state: bool, symbol: str) -> bool:
        return True

    def legal(self, state: bool) -> frozenset[str]:
        return frozenset((*self.alphabet, EOS) if state else self.alphabet)

    def recognises(self, string: Sequence[str]) -> bool:
        return len(string) > 0 and all(symbol in self.alphabet for symbol in string)

    def count(self, n: int) -> int:
        return len(self.alphabet) ** n if n else 0

    def draw(self, rng: np.random.Generator, n: int) -> String:
        return tuple(self.alphabet[k] for k in rng.integers(len(self.alphabet), size=n).tolist())


class Task(ABC):
    """A function from input strings to answers, defined twice: by computing it, and by a test of input and answer.

    Attributes:
        name: Its name on the command line.
        inputs: The language of its inputs, which also draws them.
        answers: The symbols of its answers, distinct.
        kind: "end": one symbol after the input; "each": one after each symbol of it; "after": a string after it.
        chomsky: Its class in the Chomsky hierarchy, as the source gives it.
        source: Where it is defined.
        summary: What is asked, in one line.
    """

    name: str
    inputs: Language
    answers: tuple[str, ...]
    kind: Kind
    chomsky: Chomsky
    source: str
    summary: str

    @abstractmethod
    def answer(self, given: String) -> String:
        """Return the answer to an input: one symbol, or as many as :meth:`answer_length` says."""

    @abstractmethod
    def holds(self, given: String, answer: String) -> bool:
        """Return whether this is the answer, decided in another way than by :meth:`answer`."""

    def answer_length(self, n: int) -> int:
        """Return the number of symbols of the answer to an input of size n."""
        return 1 if self.kind == "end" else self.inputs.length(n)

    def sample(self, rng: np.random.Generator, size: int | Lengths) -> tuple[String, String]:
        """Draw an input, of size n or of a size drawn first, and return it with its answer.

        Raises: ValueError if no input has this size.
        """
        given = self.inputs.sample(rng, size)
        return given, self.answer(given)

    def language(self) -> Language:
        """Return the language of strings "input = answer".

        Raises: ValueError if the task asks for an answer at each step.
        """
        if self.kind == "each":
            raise ValueError(f"{self.name} asks for an answer at each step; a language needs one after the input")
        return TaskLanguage(self)

    def __repr__(self) -> str:
        return f"<{self.name}: {self.summary}>"


class TaskLanguage(Language):
    """The strings "input = answer" of a task; the size is the input's.

    >>> from unrolled.languages import get
    >>> language = get("reverse")
    >>> sorted(language.legal(language.read("01=1"))), language.recognises("01=10")
    (['0'], True)
    """

    def __init__(self, task: Task) -> None:
        self.task, self.name, self.chomsky, self.source = task, task.name, task.chomsky, task.source
        self.summary = f"input = answer: {task.summary}"
        inputs, answers = task.inputs.alphabet, task.answers
        self.alphabet = (*inputs, *(symbol for symbol in answers if symbol not in inputs), EQUALS)

    # The state is (state of the input's machine, input so far, its length) before the mark, and (None, answer due, its
    # length) after it; both strings are linked lists: (last or first symbol, the others).
    def start(self) -> State:
        return (self.task.inputs.start(),), (), 0

    def step(self, state: State, symbol: str) -> State:
        machine, string, length = state
        if machine is None:
            return None, string[1], length - 1
        if symbol != EQUALS:
            return (self.task.inputs.step(machine[0], symbol),), (symbol, string), length + 1
        answer = self.task.answer(tuple(_unlinked(string))[::-1])
        due: tuple[Any, ...] = ()
        for symbol in reversed(answer):
            due = symbol, due
        return None, due, len(answer)

    def legal(self, state: State) -> frozenset[str]:
        machine, string, _ = state
        if machine is None:
            return frozenset([string[0] if string else EOS])
        legal = self.task.inputs.legal(machine[0])
        return legal - {EOS} | {EQUALS} if EOS in legal else legal

    def key(self, state: State) -> Hashable:
        machine, _, length = state
        return machine and self.task.inputs.key(machine[0]), length

    def recognises(self, string: Sequence[str]) -> bool:
        if EQUALS not in string:
            return False
        mark = list(string).index(EQUALS)
        given, answer = tuple(string[:mark]), tuple(string[mark + 1 :])
        return self.task.inputs.recognises(given) and self.task.holds(given, answer)

    def length(self, n: int) -> int:
        return self.task.inputs.length(n) + 1 + self.task.answer_length(n)

    def has(self, n: int) -> bool:
        return self.task.inputs.has(n)

    def count(self, n: int) -> int:
        return self.task.inputs.count(n)

    def nats(self, n: int) -> float:
        return self.task.inputs.nats(n)

    def first(self, n: int) -> dict[str, float]:
        return self.task.inputs.first(n)

    def draw(self, rng: np.random.Generator, n: int) -> String:
        given = self.task.inputs.draw(rng, n)
        return (*given, EQUALS, *self.task.answer(given))


class EachStep(Task):
    """A task with one answer at the end that is asked after each symbol instead.

    Raises: ValueError if the task asks for more than one answer, or not every prefix of an input is an input.

    >>> from unrolled.languages.registry import task
    >>> EachStep(task("parity")).answer(("0", "1", "1", "1"))
    ('0', '1', '0', '1')
    """

    kind = "each"

    def __init__(self, task: Task) -> None:
        if task.kind != "end" or not isinstance(task.inputs, Strings):
            raise ValueError(
                f"{task.name} cannot be asked at each step: that needs one answer at the end, defined for every string"
            )
        self.task, self.name, self.inputs, self.answers = task, f"{task.name}-each", task.inputs, task.answers
        self.chomsky, self.source, self.summary = task.chomsky, task.source, f"{task.summary}, after each symbol"

    def sample(self, rng: np.random.Generator, size: int | Lengths) -> tuple[String, String]:
        given, _ = self.task.sample(rng, size)
        return given, self.answer(given)

    def answer(self, given: String) -> String:
        return tuple(self.task.answer(given[: t + 1])[0] for t in range(len(given)))

    def holds(self, given: String, answer: String) -> bool:
        return len(answer) == len(given) and all(self.task.holds(given[: t + 1], (a,)) for t, a in enumerate(answer))


class Recognition(Task):
    """Whether a string is in a language: half of the inputs are drawn from the language, half are outside it.

    A negative is, with probability 1/2 each, a random string, or one or more edits away from a string of the language.

    Args:
        language: whose strings are to be recognised.
        edits: the probability of one more edit after each; the mean number is 1 / (1 - edits).

    Source: Butoi et al. 2025, section 3.2: hard negatives matter (Dave et al. 2024).

    >>> from unrolled.languages import get
    >>> task, rng = Recognition(get("anbn")), np.random.default_rng(0)
    >>> [("".join(given), *answer) for given, answer in (task.sample(rng, 3) for _ in range(4))]
    [('aaaaab', 'no'), ('abaabbb', 'no'), ('aaabbb', 'yes'), ('bbbaab', 'no')]
    """

    kind, answers = "end", ("no", "yes")

    def __init__(self, language: Language, edits: float = 0.5) -> None:
        self.of, self.edits, self.name = language, edits, language.name
        self.inputs = Strings(language.alphabet)
        self.chomsky, self.source = language.chomsky, language.source
        self.summary = f"is it in {language.name} ({language.summary})?"

    def answer(self, given: String) -> String:
        return ("yes" if self.of.accepts(given) else "no",)

    def holds(self, given: String, answer: String) -> bool:
        return answer == (("yes",) if self.of.recognises(given) else ("no",))

    def sample(self, rng: np.random.Generator, size: int | Lengths) -> tuple[String, String]:
        string = self.of.sample(rng, size)
        if rng.random() < 0.5:
            return string, ("yes",)
        if rng.random() < 0.5:
            for _ in range(100):
                given = self.inputs.draw(rng, max(1, len(string)))
                if not self.of.recognises(given):
                    return given, ("no",)
        for left in reversed(range(100)):
            try:
                return next(self.of.negatives(rng, string, int(rng.geometric(1 - self.edits)))), ("no",)
            except ValueError:  # of a short string every edit may be in the language: another is drawn
                if not left:
                    raise
                string = self.of.sample(rng, size)
        raise AssertionError


def _unlinked(linked: tuple[Any, ...]) -> Iterator[str]:
    while linked:
        symbol, linked = linked
        yield symbol
