"""Numbers symbols in one pass, as they are first seen, for data that can be read only once.

The vocabulary is known only after the data is split, for only training symbols count.  Until then each symbol has a
provisional number, held in the smallest integer type that fits: 0 is the end of a sequence, 1 is an explicit UNK,
2, 3, ... are the symbols.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.saved.vocabulary import EOS, SPLIT, UNK, Kind, code_points

END = 0
UNKNOWN = 1
CODE_POINTS = 0x110000
#: Numbers that there is room for at first.
BLOCK = 1 << 20

#: Symbol ids in the smallest unsigned type that holds them.
Compact = npt.NDArray[np.unsignedinteger[Any]]


class Intake:
    """Takes in text, bytes and symbol lists, and gives back provisional numbers and the symbols they stand for.

    Args:
        kind: what a symbol is.
        lines: whether a line end ends a sequence; else it is a symbol (characters, bytes, words) or white space.

    >>> intake = Intake("characters", lines=True)
    >>> intake.text("ba" + chr(10) + "b")
    >>> intake.end()
    >>> intake.symbols, intake.numbers().tolist()
    (['a', 'b'], [3, 2, 0, 3, 0])
    """

    def __init__(self, kind: Kind, *, lines: bool = False) -> None:
        self.symbols: list[str] = []
        self.kind = kind
        self.length = 0
        self._numbers: Compact = np.empty(BLOCK, np.uint8)  # the first `length` are taken
        self._numbering = _Numbering(self.symbols)
        self._split = SPLIT["words" if lines and kind == "symbols" else kind]
        if kind == "symbols":
            self._numbering |= {EOS: END, UNK: UNKNOWN}
        if lines:
            self._numbering["\n"] = END
        if kind == "bytes":
            self.symbols += [f"{byte:02x}" for byte in range(256)]
            self._table = np.arange(2, 258, dtype=np.uint16)
            self._table[ord("\n")] = END if lines else ord("\n") + 2
        elif kind == "characters":
            self._table = np.zeros(CODE_POINTS, np.uint32)
            self._known = np.zeros(CODE_POINTS, bool)
            self._known[ord("\n")] = lines

    def text(self, text: str) -> None:
        """Take in the next piece of a text; a word must not go on in the next piece."""
        if self.kind == "bytes":
            self.data(text.encode())
        elif self.kind == "characters":
            codes = code_points(text)
            fresh = np.unique(codes[~self._known[codes]])
            self._table[fresh] = np.arange(len(fresh)) + len(self.symbols) + 2
            self._known[fresh] = True
            self.symbols += map(chr, fresh.tolist())
            self._add(self._table[codes])
        else:
            self.record(self._split(text))

    def data(self, data: bytes) -> None:
        """Take in bytes; kind "bytes" only."""
        self._add(self._table[np.frombuffer(data, np.uint8)])

    def record(self, symbols: Sequence[str]) -> None:
        """Take in symbols that are already apart from each other."""
        numbering = self._numbering
        self._add(np.array([numbering[symbol] for symbol in symbols], np.uint32))

    def end(self) -> None:
        """End the sequence; a sequence that has just ended is not ended again."""
        if self.length and self._numbers[self.length - 1] != END:
            self._add(np.array([END], np.uint32))

    def numbers(self) -> Compact:
        """Return the provisional numbers (N,); the intake gives them away and is empty again."""
        numbers, self._numbers = self._numbers, np.empty(BLOCK, np.uint8)
        numbers.resize(self.length, refcheck=False)
        self.length = 0
        return numbers

    def _add(self, numbers: Compact) -> None:
        start, self.length = self.length, self.length + len(numbers)
        dtype = np.min_scalar_type(len(self.symbols) + 1)
        if self._numbers.dtype != dtype:
            self._numbers = self._numbers.astype(dtype)
        if self.length > len(self._numbers):
            self._numbers.resize(max(self.length, len(self._numbers) * 5 // 4), refcheck=False)
        self._numbers[start : self.length] = numbers


class _Numbering(dict[str, int]):
    """The next free number for a symbol that was never asked for before."""

    def __init__(self, symbols: list[str]) -> None:
        self._symbols = symbols

    def __missing__(self, symbol: str) -> int:
        self._symbols.append(symbol)
        self[symbol] = number = len(self._symbols) + 1
        return number
