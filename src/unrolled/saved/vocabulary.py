"""Symbols and their numbers: the data's own symbols in code-point order, then EOS, then UNK.

V vocabulary.  Symbol k of the data has id k; EOS is V-2 and UNK is V-1, always there, whatever the data holds.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import msgspec
import numpy as np
import numpy.typing as npt

Kind = Literal["symbols", "characters", "bytes", "words"]
Ids = npt.NDArray[np.int64]

EOS = "EOS"
UNK = "UNK"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
FORMAT_VERSION = 1

#: A text, or a list of symbols.
Text = str | Sequence[str]

#: How a text falls into symbols.  A line end is a word of its own; between symbols it is white space like any other.
SPLIT: dict[str, Callable[[str], list[str]]] = {
    "symbols": str.split,
    "characters": list,
    "words": re.compile(r"\n|\S+").findall,
    "bytes": lambda text: [f"{byte:02x}" for byte in text.encode("utf-8", "surrogatepass")],
}


def code_points(text: str) -> npt.NDArray[np.uint32]:
    """Return the code points of a text (N,), lone surrogates included."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


@dataclass(frozen=True, repr=False)
class Vocabulary:
    """A fixed, ordered set of symbols with EOS and UNK at its end; no input makes ``encode`` fail.

    Args:
        symbols: the data's own symbols, distinct, without EOS and UNK.  Characters are single code points, bytes
            are two hexadecimal digits, words hold no white space (a line end is a word of its own).
        kind: what a symbol is: "symbols" (any strings), "characters", "bytes" or "words".
        nfc: whether text is brought to Unicode normal form C before it is read; characters and words only.

    Raises: ValueError if a symbol does not fit the kind, occurs twice, or is one of the two reserved names.
    Source: the founding example: V = 4 in the order a, b, EOS, UNK.

    >>> vocabulary = Vocabulary(["a", "b"], "symbols")
    >>> vocabulary.names, len(vocabulary)
    (('a', 'b', 'EOS', 'UNK'), 4)
    >>> vocabulary.encode(["a", "b", "EOS", "never seen"])
    array([0, 1, 2, 3])
    """

    symbols: tuple[str, ...]
    kind: Kind = "symbols"
    nfc: bool = False

    def __init__(self, symbols: Iterable[str], kind: Kind = "symbols", nfc: bool = False) -> None:
        object.__setattr__(self, "symbols", tuple(symbols))
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "nfc", nfc)
        _check(self.symbols, kind, nfc)

    @classmethod
    def build(
        cls,
        data: str | bytes | Iterable[str | bytes | Sequence[str]],
        kind: Kind = "characters",
        *,
        min_count: int = 1,
        nfc: bool = False,
    ) -> Vocabulary:
        """Return the vocabulary of a text, or of several sequences, in code-point order.

        Args:
            data: one text, or an iterable of texts or symbol lists.
            kind: what a symbol is.
            min_count: a symbol that occurs fewer times is left out, and so becomes UNK.
            nfc: bring text to normal form C first.

        Returns: the vocabulary; the reserved names of a symbol list are skipped, for they are always there.
        Raises: ValueError if min_count is below 1 or a symbol does not fit the kind.

        >>> Vocabulary.build(["abab", "abc"], "characters", min_count=2).names
        ('a', 'b', 'EOS', 'UNK')
        """
        if min_count < 1:
            raise ValueError(f"Vocabulary.build: min_count is {min_count}, expected 1 or more")
        counts: Counter[str] = Counter()
        for sequence in [data] if isinstance(data, str | bytes) else data:
            counts.update(_symbols_of(sequence, kind, nfc))
        if kind == "symbols":
            counts.pop(EOS, None)
            counts.pop(UNK, None)
        return cls(sorted(symbol for symbol, count in counts.items() if count >= min_count), kind, nfc)

    @property
    def eos_id(self) -> int:
        """The id of EOS, V - 2."""
        return len(self.symbols)

    @property
    def unk_id(self) -> int:
        """The id of UNK, V - 1."""
        return len(self.symbols) + 1

    @property
    def names(self) -> tuple[str, ...]:
        """The V names in id order, as they are shown to a reader."""
        return (*self.symbols, EOS, UNK)

    def __len__(self) -> int:
        return len(self.symbols) + 2

    def __repr__(self) -> str:
        shown = " ".join(repr(name)[1:-1] for name in (self.names if len(self) <= 12 else self.symbols[:8]))
        more = "" if len(self) <= 12 else f" ... {EOS} {UNK}"
        return f"Vocabulary({len(self)} {self.kind}: {shown}{more})"

    def encode(self, sequence: str | bytes | Sequence[str]) -> Ids:
        """Return the ids of a text or of a list of symbols; an unseen symbol becomes UNK.

        Args: sequence: a text, which falls into symbols as the kind says, or the symbols themselves.
        Returns: ids (N,) int64.  EOS is not added.

        >>> Vocabulary("ab", "characters").encode("aabc")
        array([0, 0, 1, 3])
        """
        if self.kind == "bytes" and isinstance(sequence, str | bytes):
            data = sequence.encode("utf-8", "surrogatepass") if isinstance(sequence, str) else sequence
            return self._table[np.frombuffer(data, np.uint8)]
        if self.kind == "characters" and isinstance(sequence, str):
            text = unicodedata.normalize("NFC", sequence) if self.nfc else sequence
            return self._table[np.minimum(code_points(text), len(self._table) - 1)]
        unk_id = self.unk_id
        return np.array([self._index.get(s, unk_id) for s in _symbols_of(sequence, self.kind, self.nfc)], np.int64)

    def decode(self, ids: npt.ArrayLike) -> str | list[str]:
        """Return the text of these ids, or for kind "symbols" the list of names.

        Args: ids (N,) integers in [0, V).
        Returns: for "symbols" a list of N names; else the text, where EOS writes nothing and UNK writes U+FFFD.
        Raises: ValueError if an id is outside [0, V); the message names its position.

        >>> Vocabulary("ab", "characters").decode([0, 1, 1, 2])
        'abb'
        >>> Vocabulary("ab", "symbols").decode([0, 1, 2])
        ['a', 'b', 'EOS']
        """
        if self.kind != "symbols":
            return self.text(ids)
        names = self.names
        return [names[k] for k in self._checked(ids)]

    def text(self, ids: npt.ArrayLike) -> str:
        """Return the text of these ids whatever the kind: symbols and words are set apart by a space.

        >>> Vocabulary(["fair", "rose", chr(10)], "words").text([1, 0, 2, 1])
        'rose fair\\nrose'
        """
        return "".join(self.pieces(self._checked(ids)))

    def pieces(self, ids: Iterable[int]) -> Iterator[str]:
        """Yield one piece of text for each id as it comes, for printing while a model writes.

        Joined, the pieces are :meth:`text`.  A byte that is not yet a whole code point gives an empty piece; what never
        becomes one gives U+FFFD, if need be in one more piece at the end.
        """
        if self.kind == "bytes":
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            for k in ids:
                yield decoder.decode(self._byte(k))
            yield decoder.decode(b"", final=True)
        elif self.kind == "characters":
            written = (*self.symbols, "", REPLACEMENT)
            for k in ids:
                yield written[k]
        else:
            written = self.names if self.kind == "symbols" else (*self.symbols, "", REPLACEMENT)
            space = ""
            for k in ids:
                piece = written[k]
                yield space + piece if piece not in ("", "\n") else piece
                space = ("" if piece == "\n" else " ") if piece else space

    def decode_bytes(self, ids: npt.ArrayLike) -> bytes:
        """Return the exact bytes of these ids; kind "bytes" only.  EOS writes nothing, UNK writes U+FFFD.

        >>> Vocabulary(["00", "ff"], "bytes").decode_bytes([1, 0, 1])
        b'\\xff\\x00\\xff'
        """
        if self.kind != "bytes":
            raise ValueError(f"Vocabulary.decode_bytes: kind is {self.kind!r}, expected 'bytes'; use decode")
        return b"".join(map(self._byte, self._checked(ids)))

    def one_hot(self, ids: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return the one-hot rows of these ids, (N, V) float32.

        >>> Vocabulary("ab").one_hot([0, 3])
        array([[1., 0., 0., 0.],
               [0., 0., 0., 1.]], dtype=float32)
        """
        checked = self._checked(ids)
        rows = np.zeros((len(checked), len(self)), np.float32)
        rows[np.arange(len(checked)), checked] = 1
        return rows

    def unk_rate(self, ids: npt.ArrayLike) -> float:
        """Return the fraction of these ids, in [0, 1], that are UNK."""
        array = np.asarray(ids)
        return float(np.count_nonzero(array == self.unk_id) / array.size) if array.size else 0.0

    def to_json(self) -> bytes:
        """Return the vocabulary as UTF-8 JSON: format_version first, then kind, nfc and the data's own symbols."""
        file = _File(format_version=FORMAT_VERSION, kind=self.kind, nfc=self.nfc, symbols=self.symbols)
        return msgspec.json.format(msgspec.json.encode(file), indent=1) + b"\n"

    @classmethod
    def from_json(cls, data: bytes | str) -> Vocabulary:
        """Return the vocabulary that :meth:`to_json` wrote.

        Raises: ValueError if the data is no such JSON, or of a format version this release does not know.

        >>> Vocabulary.from_json(Vocabulary("ab").to_json())
        Vocabulary(4 symbols: a b EOS UNK)
        """
        try:
            version = msgspec.json.decode(data, type=_Version).format_version
            if version != FORMAT_VERSION:
                raise ValueError(f"vocabulary format version is {version}; this release reads {FORMAT_VERSION}")
            file = msgspec.json.decode(data, type=_File)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"not a vocabulary: {error}") from None
        return cls(file.symbols, file.kind, file.nfc)

    @cached_property
    def _index(self) -> dict[str, int]:
        index = {symbol: k for k, symbol in enumerate(self.symbols)}
        return index | {EOS: self.eos_id, UNK: self.unk_id} if self.kind == "symbols" else index

    @cached_property
    def _table(self) -> Ids:
        """The id of each code point or byte; the last entry stands for every code point above it."""
        codes = [int(s, 16) if self.kind == "bytes" else ord(s) for s in self.symbols]
        table = np.full(256 if self.kind == "bytes" else max(codes, default=0) + 2, self.unk_id, np.int64)
        table[codes] = np.arange(len(codes))
        return table

    def _byte(self, k: int) -> bytes:
        if k >= self.eos_id:
            return b"" if k == self.eos_id else REPLACEMENT.encode()
        return bytes.fromhex(self.symbols[k])

    def _checked(self, ids: npt.ArrayLike) -> list[int]:
        array = np.asarray(ids)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            raise ValueError(f"Vocabulary: ids are {array.dtype} of shape {array.shape}, expected integers, (N,)")
        wrong = np.flatnonzero((array < 0) | (array >= len(self)))
        if wrong.size:
            raise ValueError(f"Vocabulary: id {array[wrong[0]]} at position {wrong[0]}, expected 0 to {len(self) - 1}")
        return list(map(int, array.tolist()))


class _Version(msgspec.Struct):
    format_version: int


class _File(msgspec.Struct, forbid_unknown_fields=True):
    format_version: int
    kind: Kind
    nfc: bool
    symbols: tuple[str, ...]


def _symbols_of(sequence: str | bytes | Sequence[str], kind: Kind, nfc: bool) -> Sequence[str]:
    if isinstance(sequence, bytes):
        if kind != "bytes":
            raise ValueError(f"Vocabulary: the sequence is bytes and the kind {kind!r}; decode it, or use kind='bytes'")
        return [f"{byte:02x}" for byte in sequence]
    if isinstance(sequence, str):
        return SPLIT[kind](unicodedata.normalize("NFC", sequence) if nfc else sequence)
    return [unicodedata.normalize("NFC", s) for s in sequence] if nfc else sequence


def _check(symbols: tuple[str, ...], kind: str, nfc: bool) -> None:
    if kind not in get_args(Kind):
        raise ValueError(f"Vocabulary: kind is {kind!r}, expected one of {', '.join(get_args(Kind))}")
    if nfc and kind not in ("characters", "words"):
        raise ValueError(f"Vocabulary: nfc applies to characters and words, not to {kind}")
    seen: set[str] = set()
    for k, symbol in enumerate(symbols):
        fault = _fault(symbol, kind) or ("occurs twice" if symbol in seen else "")
        if fault:
            raise ValueError(f"Vocabulary: symbol {k} {symbol!r} {fault}")
        seen.add(symbol)


def _fault(symbol: object, kind: str) -> str:
    if not isinstance(symbol, str):
        return f"is a {type(symbol).__name__}, expected a string"
    if any("\ud800" <= c <= "\udfff" for c in symbol):
        return "holds a lone surrogate, which no UTF-8 file can hold"
    if kind == "symbols" and symbol in (EOS, UNK):
        return "is always there; leave it out"
    if kind == "characters" and len(symbol) != 1:
        return f"has {len(symbol)} code points, expected 1; use kind='symbols' or 'words'"
    if kind == "bytes" and not re.fullmatch("[0-9a-f]{2}", symbol):
        return "is not two lower-case hexadecimal digits"
    if kind == "words" and SPLIT["words"](symbol) != [symbol]:
        return "is not one word: it is empty or holds white space"
    return ""


def shown(text: str) -> str:
    """Return a text on one line, its line ends drawn.

    >>> shown("so long" + chr(10) + "lives this")
    'so long⏎lives this'
    """
    return "".join("⏎" if c == "\n" else c if c.isprintable() else "�" for c in text)
