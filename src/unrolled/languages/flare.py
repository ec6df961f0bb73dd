"""The file layout of FLaRe, a benchmark of recognition: is a string in a language?

A folder holds ``main.tok`` (one string a line, symbols separated by spaces), ``labels.txt`` (1 if the string is in the
language, else 0), ``next-symbols.jsonl`` (for each string in the language, after each prefix: the symbols that may
follow, and whether it may end) and ``num-edits.txt`` (for each other string, its number of edits from a string in the
language, empty if it was drawn at random).  The training data are in the folder of the language, others in
``datasets/<name>`` below it.

Source: Butoi et al. 2025, Training Neural Networks as Recognizers of Formal Languages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from unrolled.config.options import brief
from unrolled.corpus.reading import CorpusError, Source, text_lines
from unrolled.languages.language import Language, String
from unrolled.languages.string_files import read_strings, write_strings
from unrolled.saved.vocabulary import EOS
from unrolled.words import counted

Item = TypeVar("Item")


@dataclass(frozen=True)
class Labelled:
    """One string of a FLaRe folder.

    Attributes:
        string: Its symbols.
        label: Whether it is in the language.
        next_symbols: After each prefix, the empty one first, what may follow, EOS included; None if the folder does not
            say, or the string is not in the language.
        edits: Its number of edits from a string in the language; None if it was not made by edits.
    """

    string: String
    label: bool
    next_symbols: tuple[frozenset[str], ...] | None = None
    edits: int | None = None


class _Step(msgspec.Struct, forbid_unknown_fields=True):
    s: str
    e: bool


def label(language: Language, strings: Iterable[Sequence[str]]) -> list[Labelled]:
    """Return strings with their labels by a language, and with legal next symbols if they are in it.

    >>> from unrolled.languages import get
    >>> [(example.label, len(example.next_symbols or ())) for example in label(get("anbn"), ["ab", "ba"])]
    [(True, 3), (False, 0)]
    """
    return [
        Labelled(tuple(s), True, tuple(language.next_symbols(s)))
        if language.recognises(s)
        else Labelled(tuple(s), False)
        for s in strings
    ]


def write_flare(folder: str | Path, examples: Iterable[Labelled]) -> None:
    """Write a FLaRe folder.

    Args:
        folder: created if missing; files of these names are replaced.
        examples: what to write; ``next-symbols.jsonl`` is written if every string in the language has next symbols.

    Raises: ValueError if a symbol is empty or contains white space.

    >>> from unrolled.languages import get
    >>> write_flare("anbn", label(get("anbn"), ["aabb", "ba"]))
    >>> read_flare("anbn", get("anbn")) == label(get("anbn"), ["aabb", "ba"])
    True
    """
    folder, listed = Path(folder), list(examples)
    folder.mkdir(parents=True, exist_ok=True)
    write_strings(folder / "main.tok", [example.string for example in listed], spaced=True)
    _write(folder / "labels.txt", (str(int(example.label)) for example in listed))
    edits = (example.edits for example in listed if not example.label)
    _write(folder / "num-edits.txt", ("" if number is None else str(number) for number in edits))
    steps = [example.next_symbols for example in listed if example.label]
    if None not in steps:
        lines = ([_Step(" ".join(sorted(legal - {EOS})), EOS in legal) for legal in sets or ()] for sets in steps)
        _write(folder / "next-symbols.jsonl", (msgspec.json.encode(line).decode() for line in lines))


def read_flare(
    folder: str | Path, language: Language | None = None, *, rename: Mapping[str, str] | None = None
) -> list[Labelled]:
    """Read a FLaRe folder.

    Args:
        folder: with main.tok and labels.txt, and optionally next-symbols.jsonl and num-edits.txt.
        language: must agree with every label and every set of next symbols; None skips the check.
        rename: symbols of the files and their names here, such as ``{"(0": "(", ")0": ")"}``.

    Raises: CorpusError naming the file, the line and what is wrong with it.
    """
    folder, names = Path(folder), dict(rename or {})
    strings = [tuple(names.get(s, s) for s in string) for string in read_strings(folder / "main.tok", spaced=True)]
    labels = [
        _parsed(folder / "labels.txt", number, line, {"0": False, "1": True}.get(line), "0 or 1")
        for number, line in enumerate(text_lines(Source(folder / "labels.txt")), 1)
    ]
    _same_count(folder / "labels.txt", len(labels), len(strings), "the strings of main.tok")
    inside = [string for string, label in zip(strings, labels, strict=True) if label]
    sets = iter(_next_symbols(folder / "next-symbols.jsonl", inside, names))
    edits = iter(_edits(folder / "num-edits.txt", len(strings) - len(inside)))
    examples = [
        Labelled(string, True, next(sets)) if label else Labelled(string, False, None, next(edits))
        for string, label in zip(strings, labels, strict=True)
    ]
    for number, example in enumerate(examples if language else (), 1):
        _check(language, example, f"{folder / 'main.tok'}: line {number}")  # type: ignore[arg-type]
    return examples


def _next_symbols(
    path: Path, inside: Sequence[String], names: Mapping[str, str]
) -> Sequence[tuple[frozenset[str], ...] | None]:
    if not path.exists():
        return [None] * len(inside)
    decoder = msgspec.json.Decoder(list[_Step])
    found = []
    for number, line in enumerate(text_lines(Source(path)), 1):
        try:
            steps = decoder.decode(line)
        except msgspec.DecodeError as error:
            raise CorpusError(f"{path}: line {number} is not a list of steps: {error}") from None
        found.append(
            tuple(frozenset(names.get(s, s) for s in step.s.split()) | ({EOS} if step.e else set()) for step in steps)
        )
        if number <= len(inside) and len(steps) != len(inside[number - 1]) + 1:
            expected = len(inside[number - 1]) + 1
            raise CorpusError(
                f"{path}: line {number} has {counted(len(steps), 'step')}, expected {expected}: one more than symbols"
            )
    _same_count(path, len(found), len(inside), "the strings with label 1")
    return found


def _edits(path: Path, outside: int) -> Sequence[int | None]:
    if not path.exists():
        return [None] * outside
    found = []
    for number, line in enumerate(text_lines(Source(path)), 1):
        whole = int(line) if line.isascii() and line.isdigit() else None
        found.append(_parsed(path, number, line, whole, "a whole number or an empty line") if line else None)
    _same_count(path, len(found), outside, "the strings with label 0")
    return found


def _check(language: Language, example: Labelled, where: str) -> None:
    if language.recognises(example.string) != example.label:
        said, known = ("in", "not in") if example.label else ("not in", "in")
        raise CorpusError(f"{where}: labelled as {said} {language.name}, but it is {known} it: {language.summary}")
    if example.next_symbols is not None and example.next_symbols != tuple(language.next_symbols(example.string)):
        raise CorpusError(f"{where}: the next symbols in next-symbols.jsonl are not those of {language.name}")


def _parsed(path: Path, number: int, line: str, value: Item | None, expected: str) -> Item:
    if value is None:
        raise CorpusError(f"{path}: line {number} is {brief(line)}, expected {expected}")
    return value


def _same_count(path: Path, found: int, expected: int, of: str) -> None:
    if found != expected:
        raise CorpusError(f"{path}: has {counted(found, 'line')}, expected {expected:,}: one for each of {of}")


def _write(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
