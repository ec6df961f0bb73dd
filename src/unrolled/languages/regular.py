"""Regular languages, each as a transition table (the machine) and as a test of the text (the recogniser)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from unrolled.languages.language import Language
from unrolled.saved.vocabulary import EOS


class Regular(Language):
    """A language defined by a deterministic finite automaton and by a test of the whole string.

    Args:
        name, source, summary: as of :class:`Language`.
        rows: for each state, the start state first, the next state for each symbol of the alphabet; "-" if no string
            continues with the symbol.  An accepting state has a name that ends in "!".
        test: whether a string, written as a text of single characters, is in the language.
        alphabet: its symbols, single characters, in the order of the rows.

    >>> language = Regular("ends", {"p": "p q!", "q!": "p q!"}, lambda text: text.endswith("b"), "ab", "-", "... b")
    >>> list(language.strings(2)), language.accepts("aab"), language.recognises("aab")
    ([('b',), ('a', 'b'), ('b', 'b')], True, True)
    """

    chomsky = "regular"

    def __init__(
        self, name: str, rows: Mapping[str, str], test: Callable[[str], bool], alphabet: str, source: str, summary: str
    ) -> None:
        self.name, self.alphabet, self.source, self.summary = name, tuple(alphabet), source, summary
        self.test = test
        self.table = {state: dict(zip(self.alphabet, row.split(), strict=True)) for state, row in rows.items()}

    def start(self) -> str:
        return next(iter(self.table))

    def step(self, state: str, symbol: str) -> str:
        return self.table[state][symbol]

    def legal(self, state: str) -> frozenset[str]:
        return self._legal[state]

    def recognises(self, string: Sequence[str]) -> bool:
        return set(string) <= {*self.alphabet} and self.test("".join(string))

    @cached_property
    def _legal(self) -> dict[str, frozenset[str]]:
        return {
            state: frozenset([s for s, after in row.items() if after != "-"] + [EOS] * state.endswith("!"))
            for state, row in self.table.items()
        }


TOMITA = "Tomita 1982, as in Weiss et al. 2018, Extracting Automata from Recurrent Neural Networks"
DELETANG = "Deletang et al. 2022, Neural Networks and the Chomsky Hierarchy"


def _odd_zeros_after_odd_ones(text: str) -> bool:
    return any(len(ones) % 2 and len(zeros) % 2 for ones, zeros in re.findall("(1+)(0+)", text))


def _even_pairs(text: str) -> bool:
    return (text.count("ab") + text.count("ba")) % 2 == 0


REGULAR = (
    Regular("tomita-1", {"p!": "- p!"}, lambda text: "0" not in text, "01", TOMITA, "1*"),
    Regular(
        "tomita-2", {"p!": "- q", "q": "p! -"}, lambda text: text == "10" * (len(text) // 2), "01", TOMITA, "(1 0)*"
    ),
    Regular(
        "tomita-3",
        {"even!": "even! odd!", "odd!": "owed even!", "owed": "paid! -", "paid!": "owed odd!"},
        lambda text: not _odd_zeros_after_odd_ones(text),
        "01",
        TOMITA,
        "no odd run of 0s right after an odd run of 1s",
    ),
    Regular(
        "tomita-4",
        {"none!": "one! none!", "one!": "two! none!", "two!": "- none!"},
        lambda text: "000" not in text,
        "01",
        TOMITA,
        "no 000",
    ),
    Regular(
        "tomita-5",
        {"ee!": "oe eo", "oe": "ee! oo", "eo": "oo ee!", "oo": "eo oe"},
        lambda text: text.count("0") % 2 == text.count("1") % 2 == 0,
        "01",
        TOMITA,
        "an even number of 0s and an even number of 1s",
    ),
    Regular(
        "tomita-6",
        {"0!": "1 2", "1": "2 0!", "2": "0! 1"},
        lambda text: (text.count("0") - text.count("1")) % 3 == 0,
        "01",
        TOMITA,
        "the number of 0s minus that of 1s is a multiple of 3",
    ),
    Regular(
        "tomita-7",
        {"a!": "a! b!", "b!": "c! b!", "c!": "c! d!", "d!": "- d!"},
        lambda text: re.fullmatch("0*1*0*1*", text) is not None,
        "01",
        TOMITA,
        "0* 1* 0* 1*",
    ),
    Regular(
        "parity",
        {"even!": "even! odd", "odd": "odd even!"},
        lambda text: text.count("1") % 2 == 0,
        "01",
        DELETANG,
        "an even number of 1s",
    ),
    Regular(
        "even-pairs",
        {"none!": "aa! bb!", "aa!": "aa! ab", "ab": "aa! ab", "bb!": "ba bb!", "ba": "ba bb!"},
        _even_pairs,
        "ab",
        DELETANG,
        "as many places ab as ba: the last symbol equals the first",
    ),
)
