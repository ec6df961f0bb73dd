"""The languages and tasks known by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from unrolled.config.checks import check_value
from unrolled.config.options import brief
from unrolled.languages.arithmetic import BracketedArithmetic, ModularArithmetic
from unrolled.languages.brackets import Dyck, Shuffle
from unrolled.languages.counting import Blocks, Majority, Sum
from unrolled.languages.language import Language
from unrolled.languages.palindromes import UnmarkedReversal
from unrolled.languages.regular import REGULAR
from unrolled.languages.self_check import unsound
from unrolled.languages.tasks import Recognition, Task
from unrolled.languages.transduction import (
    BucketSort,
    Copy,
    CycleNavigation,
    Duplicate,
    EvenPairs,
    MajorityTask,
    OddsFirst,
    Parity,
    Reverse,
    StackManipulation,
)

_LANGUAGES: dict[str, Language] = {}
_TASKS: dict[str, Task] = {}


def register(language: Language) -> Language:
    """Register a language under its name, where the command line and the tests of every language find it.

    Raises: ValueError if the name is missing or taken, a symbol of the alphabet is empty, repeated or reserved, or a
        string may begin with what is no symbol of the alphabet; :func:`self_check` looks at all that follows.
    """
    check_value("name", language.name, str)
    if not language.alphabet or not all(language.alphabet):
        raise ValueError(f"{language.name}: the alphabet is {language.alphabet!r}, expected symbols that are not empty")
    if language.name in _LANGUAGES:
        raise ValueError(f"a language named {language.name} is already registered; choose another name")
    assert language.vocabulary  # refuses a reserved or repeated symbol
    if fault := unsound(language, 0, 1):
        raise ValueError(f"{language.name}: {fault}")
    _LANGUAGES[language.name] = language
    return language


def get(name: str) -> Language:
    """Return a language by its name.

    Args:
        name: one of :func:`names`, or ``dyck-K``, ``dyck-K-DEPTH`` or ``shuffle-K`` with any numbers.

    Raises: ValueError naming the languages with similar names.

    >>> get("dyck-3-5").summary
    'well-nested strings of 3 kinds of brackets, at most 5 open at once; the size is the number of pairs'
    >>> get("anbcn")
    Traceback (most recent call last):
        ...
    ValueError: no language is named 'anbcn'; similar names: anbncn, anbn, anbmcnm
    """
    check_value("name", name, str)
    if name in _LANGUAGES:
        return _LANGUAGES[name]
    family = re.fullmatch(r"dyck-(\d+)(?:-(\d+))?", name)
    if family:
        return Dyck(int(family[1]), int(family[2]) if family[2] else None)
    family = re.fullmatch(r"shuffle-(\d+)", name)
    if family:
        return Shuffle(int(family[1]))
    raise unknown("language", name, _LANGUAGES)


def register_task(added: Task) -> Task:
    """Register a task under its name, and its strings "input = answer" as a language unless one has that name.

    Raises: ValueError if the name is taken.
    """
    if added.name in _TASKS:
        raise ValueError(f"a task named {added.name} is already registered; choose another name")
    _TASKS[added.name] = added
    if added.name not in _LANGUAGES and added.kind != "each":
        register(added.language())
    return added


def task(name: str) -> Task:
    """Return a task by its name; for the name of a language, the task of recognising its strings.

    Raises: ValueError naming the tasks and languages with similar names.

    >>> task("copy"), task("dyck-1").answers
    (<copy: the input again>, ('no', 'yes'))
    """
    check_value("name", name, str)
    if name in _TASKS:
        return _TASKS[name]
    try:
        return Recognition(get(name))
    except ValueError:
        raise unknown("task or language", name, [*_TASKS, *_LANGUAGES]) from None


def task_names() -> tuple[str, ...]:
    """Return the names of all tasks, in order of registration."""
    return tuple(_TASKS)


def names() -> tuple[str, ...]:
    """Return the names of all languages, in order of registration."""
    return tuple(_LANGUAGES)


def unknown(what: str, name: str, known: Iterable[str]) -> ValueError:
    """Return the error for an unknown name, with the known names that are similar."""
    listed = list(known)
    near = difflib.get_close_matches(name, listed, n=3, cutoff=0.5)
    hint = f"similar names: {', '.join(near)}" if near else f"the names are {', '.join(listed)}"
    return ValueError(f"no {what} is named {brief(name)}; {hint}")


_GERS = "Gers & Schmidhuber 2001, LSTM Recurrent Networks Learn Simple Context-Free and Context-Sensitive Languages"
_LAN = "Lan et al. 2022, Minimum Description Length Recurrent Neural Networks"

for _language in (
    Blocks("anbn", {"a": 1, "b": 1}, "deterministic context-free", _GERS),
    Blocks("anbncn", {"a": 1, "b": 1, "c": 1}, "context-sensitive", _GERS),
    Blocks("anbncndn", {"a": 1, "b": 1, "c": 1, "d": 1}, "context-sensitive", _LAN),
    Blocks("anb2n", {"a": 1, "b": 2}, "deterministic context-free", _LAN),
    Sum(),
    Dyck(1),
    Dyck(2),
    Dyck(2, 3),
    Shuffle(2),
    Shuffle(6),
    *REGULAR,
    Majority(),
    UnmarkedReversal(),
):
    register(_language)

for _task in (
    *(Parity(), EvenPairs(), MajorityTask(), CycleNavigation(), ModularArithmetic(), BracketedArithmetic()),
    *(Copy(), Reverse(), Duplicate(), OddsFirst(), BucketSort(), StackManipulation()),
):
    register_task(_task)
