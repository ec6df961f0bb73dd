"""The file layout of BLISS, a benchmark of strings of formal languages.

BLISS (Lan, Chemla & Katzir 2023) writes one string a line, in single characters, with ``#`` before and after it.
Training files are ``train_<strings>_p_<p>_seed_<seed>.txt``, test strings ``test.txt``, each in a zip with a password.
A mask goes with the test strings: the steps at which the next symbol is forced, or else the symbols that may follow.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from unrolled.corpus.reading import CorpusError, Source, text_lines
from unrolled.languages.language import Language, String
from unrolled.languages.string_files import checked, shortened, write_strings
from unrolled.saved.vocabulary import EOS
from unrolled.words import counted

#: The symbol before and after each string.
FRAME = "#"
#: Password of the zips, given in the README of BLISS; it keeps crawlers out.
PASSWORD = b"1234"


def read_bliss(path: str | Path, language: Language | None = None) -> list[String]:
    """Return the strings of a BLISS file, without their frames.

    Args:
        path: a .txt file, or a .txt.zip with the password of the benchmark.
        language: that must contain every string; None accepts any.

    Raises: CorpusError naming the line that has no frame or whose string is not in the language, or the file if it
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
            raise CorpusError(f"{where} is {shortened(line)}, expected one string between two {FRAME}")
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
        folder: of the language; created if missing.
        language: decides which steps are forced and which symbols may follow.
        test: the test strings; the first ten are also the preview.
        train: the training strings; no file is written if there are none.
        p, seed: of the draw of the training strings, for the name of their file.

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
    """Return the steps at which the next symbol is forced, by the convention of BLISS.

    Args:
        language: whose machine decides.
        strings: B strings without frames.

    Returns: (B, T), T the longest string and the frame before it; step t predicts symbol t, the last step the end.
        The first step is never marked, whatever the language.
    """
    mask = np.zeros((len(strings), 1 + max(map(len, strings), default=0)), bool)
    for b, string in enumerate(strings):
        mask[b, 1 : 1 + len(string)] = [len(legal) == 1 for legal in language.next_symbols(string)][1:]
    return mask


def valid_mask(language: Language, strings: Sequence[Sequence[str]]) -> npt.NDArray[np.bool_]:
    """Return the symbols that may follow at each step, by the convention of BLISS.

    Returns: (B, T, V), T the longest string and both its frames, the last of which is never marked; V the end, then the
        alphabet in the language's order.
    """
    symbols = (EOS, *language.alphabet)
    mask = np.zeros((len(strings), 2 + max(map(len, strings), default=0), len(symbols)), bool)
    for b, string in enumerate(strings):
        for t, legal in enumerate(language.next_symbols(string)):
            mask[b, t] = [symbol in legal for symbol in symbols]
    return mask


def _unpacked_lines(path: Path) -> Iterator[str]:
    if path.suffix != ".zip":
        yield from text_lines(Source(path))
        return
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(names) != 1:
                raise CorpusError(f"{path}: holds {counted(len(names), 'file')}, expected 1")
            with archive.open(names[0], pwd=PASSWORD) as file:
                for line in file:
                    yield line.decode("ascii").rstrip("\r\n")
    except (OSError, zipfile.BadZipFile, RuntimeError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: cannot be unpacked: {error}") from None
