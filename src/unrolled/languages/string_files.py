"""Strings to and from files: one string a line, and the layout of the BLISS benchmark.

BLISS (Lan, Chemla & Katzir 2023) writes one string a line, in single characters, with ``#`` before and after it.  Train
files are ``train_<strings>_p_<p>_seed_<seed>.txt``, test strings ``test.txt``, each in a zip with a password.  With the
test strings comes a mask: the steps at which the next symbol is forced, or else the symbols that may follow.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from unrolled.corpus.reading import CorpusError, Source, text_lines
from unrolled.languages.language import Language, String
from unrolled.saved.vocabulary import EOS

#: What BLISS frames its strings with: the start and the end of a string, one symbol.
FRAME = "#"
#: What the zips of BLISS are locked with, says its README, so that crawlers pass them by.
BLISS_PASSWORD = b"1234"


def write_strings(path: str | Path, strings: Iterable[Sequence[str]], *, spaced: bool | None = None) -> None:
    """Write one string a line.

    Args:
        path: of the file; what is there is replaced.
        strings: each a sequence of symbols without white space; an empty one is an empty line.
        spaced: whether a space stands between symbols; by default only if some symbol has not just one character.

    Raises: ValueError if a symbol cannot be told from its neighbours in the file.

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
                f"symbol {symbol!r} cannot be written so that it is read back; rename it, or use spaced=True"
            )
    between = " " if spaced else ""
    Path(path).write_text("".join(between.join(string) + "\n" for string in listed), "utf-8")


def read_strings(path: str | Path, language: Language | None = None, *, spaced: bool | None = None) -> Iterator[String]:
    """Yield the string of each line.

    Args:
        path: of the file.
        language: that every string must be of; None takes any.
        spaced: whether a space stands between symbols; by default, whether the line has a space.

    Raises: CorpusError naming the line whose string is not in the language; or the file, if it is no UTF-8 text.
    """
    for number, line in enumerate(text_lines(Source(Path(path))), 1):
        spaces = " " in line if spaced is None else spaced
        yield checked(tuple(line.split(" ") if spaces and line else line), language, f"{path}: line {number}")


def read_bliss(path: str | Path, language: Language | None = None) -> list[String]:
    """Return the strings of a BLISS file, without their frames.

    Args:
        path: a .txt file, or a .txt.zip with the password of the benchmark.
        language: that every string must be of; None takes any.

    Raises: CorpusError naming the line that has no frame, or whose string is not in the language; or the file, if it
        cannot be read.

    >>> from unrolled.languages import get
    >>> write_bliss("an_bn", get("anbn"), ["ab", "aabb"])
    >>> read_bliss("an_bn/test.txt", get("anbn"))
    [('a', 'b'), ('a', 'a', 'b', 'b')]
    """
    strings = []
    for number, line in enumerate(_unpacked_lines(Path(path)), 1):
        where = f"{path}: line {number}"
        if len(line) < 2 or line[0] != FRAME or line[-1] != FRAME or FRAME in line[1:-1]:
            raise CorpusError(f"{where} is {_short(line)}, expected one string between two {FRAME}")
        strings.append(checked(tuple(line[1:-1]), language, where))
    return strings


def write_bliss(
    folder: str | Path,
    language: Language,
    test: Iterable[Sequence[str]],
    train: Iterable[Sequence[str]] = (),
    *,
    p: float = 0.3,
    seed: int = 100,
) -> None:
    """Write strings of a language in the layout of BLISS, without zips: preview, test and train files, and the mask.

    Args:
        folder: of the language; it is made if it is not there.
        language: that decides which steps are forced and which symbols may follow.
        test: the test strings; the first ten are also the preview.
        train: the training strings; there is no such file if there are none.
        p, seed: that the training strings were drawn with, for the name of their file.

    Raises: ValueError if a symbol has more than one character, or a string is not in the language.
    """
    folder, tests, trains = Path(folder), [tuple(s) for s in test], [tuple(s) for s in train]
    folder.mkdir(parents=True, exist_ok=True)
    for string in (*tests, *trains):
        checked(string, language, "write_bliss")
    framed = [(FRAME, *string, FRAME) for string in tests]
    write_strings(folder / "test.txt", framed, spaced=False)
    write_strings(folder / "preview.txt", framed[:10], spaced=False)
    if trains:
        name = f"train_{len(trains)}_p_{str(p).replace('.', '_')}_seed_{seed}.txt"
        write_strings(folder / name, [(FRAME, *string, FRAME) for string in trains], spaced=False)
    forced = forced_mask(language, tests)
    if forced[:, 1:].any():
        np.savez_compressed(folder / "test_deterministic_mask.npz", data=forced)
    else:
        np.savez_compressed(folder / "test_valid_next_symbols.npz", data=valid_mask(language, tests))


def forced_mask(language: Language, strings: Sequence[Sequence[str]]) -> npt.NDArray[np.bool_]:
    """Return at which steps the next symbol is forced, as BLISS has it.

    Args:
        language: whose machine decides.
        strings: B strings without frames.

    Returns: (B, T), T the longest string and the frame before it; step t predicts symbol t, and the last one the end.
        The first step is never marked, whatever the language.
    """
    mask = np.zeros((len(strings), 1 + max(map(len, strings), default=0)), bool)
    for b, string in enumerate(strings):
        mask[b, 1 : 1 + len(string)] = [len(legal) == 1 for legal in language.next_symbols(string)][1:]
    return mask


def valid_mask(language: Language, strings: Sequence[Sequence[str]]) -> npt.NDArray[np.bool_]:
    """Return which symbols may follow at each step, as BLISS has it.

    Returns: (B, T, V), T the longest string and both its frames, of which the last is never marked; V the end and then
        the alphabet in the language's order.
    """
    symbols = (EOS, *language.alphabet)
    mask = np.zeros((len(strings), 2 + max(map(len, strings), default=0), len(symbols)), bool)
    for b, string in enumerate(strings):
        for t, legal in enumerate(language.next_symbols(string)):
            mask[b, t] = [symbol in legal for symbol in symbols]
    return mask


def checked(string: String, language: Language | None, where: str) -> String:
    """Return the string, if it is in the language, or none is asked for.

    Raises: CorpusError naming the place, the string, and the symbol that is not in the alphabet, if there is one.
    """
    if language is None or language.recognises(string):
        return string
    strange = next((f"{s!r} is none of its symbols: " for s in string if s not in language.alphabet), "")
    raise CorpusError(f"{where}: {_short(''.join(string))} is not in {language.name}; {strange}{language.summary}")


def _unpacked_lines(path: Path) -> Iterator[str]:
    if path.suffix != ".zip":
        yield from text_lines(Source(path))
        return
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(names) != 1:
                raise CorpusError(f"{path}: holds {len(names)} files, expected 1")
            with archive.open(names[0], pwd=BLISS_PASSWORD) as file:
                for line in file:
                    yield line.decode("ascii").rstrip("\r\n")
    except (OSError, zipfile.BadZipFile, RuntimeError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: cannot be unpacked: {error}") from None


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:20]}...{text[-10:]}")
