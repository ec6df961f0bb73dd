"""Strings in a text file, one per line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from unrolled.config.options import brief
from unrolled.corpus.reading import CorpusError, Source, text_lines
from unrolled.languages.language import Language, String


def write_strings(path: str | Path, strings: Iterable[Sequence[str]], *, spaced: bool | None = None) -> None:
    """Write one string per line.

    Args:
        path: of the file, which is replaced.
        strings: each a sequence of symbols without white space; an empty one is an empty line.
        spaced: whether to put spaces between symbols; by default only if some symbol is not one character.

    Raises: ValueError if a symbol could not be read back.

    >>> write_strings("strings.txt", ["aabb", "ab"])
    >>> list(read_strings("strings.txt"))
    [('a', 'a', 'b', 'b'), ('a', 'b')]
    """
    listed = [tuple(string) for string in strings]
    symbols = {symbol for string in listed for symbol in string}
    if spaced is None:
        spaced = any(len(symbol) != 1 for symbol in symbols)
    for symbol in sorted(symbols):
        if not symbol or any(c.isspace() for c in symbol) or (len(symbol) > 1 and not spaced):
            raise ValueError(
                f"symbol {brief(symbol)} could not be read back from the file; rename it, or use spaced=True"
            )
    between = " " if spaced else ""
    Path(path).write_text("".join(between.join(string) + "\n" for string in listed), "utf-8")


def read_strings(path: str | Path, language: Language | None = None, *, spaced: bool | None = None) -> Iterator[String]:
    """Yield the string of each line.

    Args:
        path: of the file.
        language: that must contain every string; None accepts any.
        spaced: whether symbols are separated by spaces; by default, whether the line has a space.

    Raises: CorpusError naming the line whose string is not in the language, or the file if it is not UTF-8 text.
    """
    for number, line in enumerate(text_lines(Source(Path(path))), 1):
        spaces = " " in line if spaced is None else spaced
        yield checked(tuple(line.split(" ") if spaces and line else line), language, f"{path}: line {number}")


def checked(string: String, language: Language | None, where: str) -> String:
    """Return the string, if it is in the language or there is none to check against.

    Raises: CorpusError naming the place, the string, and a symbol that is not in the alphabet, if there is one.
    """
    if language is None or language.recognises(string):
        return string
    strange = next((f"{brief(s)} is not in its alphabet: " for s in string if s not in language.alphabet), "")
    raise CorpusError(f"{where}: {shortened(''.join(string))} is not in {language.name}; {strange}{language.summary}")


def shortened(text: str) -> str:
    """Return the repr of a text, without its middle if it is long."""
    return repr(text if len(text) <= 40 else f"{text[:20]}...{text[-10:]}")
