"""Symbols and their ids: the data's own symbols, then EOS, then UNK.

V size of the vocabulary.  Symbol k of the data has id k; EOS is V-2 and UNK is V-1, always there, whatever the data
holds.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from numbers import Integral

import msgspec
import numpy as np
import numpy.typing as npt

from unrolled.config.checks import PositiveInt, check_value
from unrolled.config.options import brief
from unrolled.saved.atomic_files import FORMAT_VERSION, from_json
from unrolled.saved.tokenizers import TOKENIZERS, tokenizer
from unrolled.saved.tokenizers.base import EOS, REPLACEMENT, UNK, Codes, CodeTokenizer, Tokenizer

__all__ = ["EOS", "REPLACEMENT", "UNK", "Ids", "Text", "Vocabulary"]

Ids = npt.NDArray[np.int64]

#: A text, or a list of symbols.
Text = str | bytes | Sequence[str]


@dataclass(frozen=True, repr=False)
class Vocabulary:
    """A fixed, ordered set of symbols with EOS and UNK at its end; no input makes ``encode`` fail.

    Args:
        symbols: the data's own symbols in id order, distinct, without EOS and UNK.  Characters are single code points,
            bytes are two hexadecimal digits, words hold no white space (a line end is a word of its own).
        kind: what a symbol is: "symbols" (any strings), "characters", "bytes", "words", "words-and-marks" (words and
            punctuation apart, with a joiner at each side of a mark where no space stands), or "bpe" (runs of bytes, a
            visible character for each).
        nfc: whether text is converted to Unicode normal form C first; not for bytes and symbols.

    Raises: ValueError if a symbol does not fit the kind, occurs twice, or is one of the two reserved names.
    Source: the textbook example, a^n b^n: V = 4 in the order a, b, EOS, UNK.

    >>> vocabulary = Vocabulary(["a", "b"], "symbols")
    >>> vocabulary.names, len(vocabulary)
    (('a', 'b', 'EOS', 'UNK'), 4)
    >>> vocabulary.encode(["a", "b", "EOS", "never seen"])
    array([0, 1, 2, 3])
    """

    symbols: tuple[str, ...]
    kind: str = "symbols"
    nfc: bool = False

    def __init__(self, symbols: Iterable[str], kind: str = "symbols", nfc: bool = False) -> None:
        object.__setattr__(self, "symbols", tuple(symbols))
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "nfc", nfc)
        _check(self.symbols, kind, nfc)

    @classmethod
    def build(
        cls,
        data: str | bytes | Iterable[Text],
        kind: str = "characters",
        *,
        min_count: int = 1,
        size: int | None = None,
        nfc: bool = False,
    ) -> Vocabulary:
        """Return the vocabulary of a text or of several sequences; its symbols are in code-point order.

        Args:
            data: one text, or an iterable of texts or symbol lists.  EOS and UNK in a list are not counted.
            kind: what a symbol is.
            min_count: a symbol that occurs fewer times is left out, and so becomes UNK.
            size: the largest V; the most frequent symbols are kept; None means 8,000 for "bpe", else no limit.
            nfc: convert text to normal form C first.

        Raises: ValueError if min_count is below 1, size below 2, or a symbol does not fit the kind.

        >>> Vocabulary.build(["abab", "abc"], "characters", min_count=2).names
        ('a', 'b', 'EOS', 'UNK')
        """
        check_value("min_count", min_count, PositiveInt)
        check_value("size", size, PositiveInt | None)
        if size is not None and size < 2:
            raise ValueError(f"Vocabulary.build: size is {size}, expected 2 or more: EOS and UNK are always there")
        empty, counts = cls([], kind, nfc), Counter[str]()
        for sequence in [data] if isinstance(data, str | bytes) else data:
            counts.update(empty._split(sequence))
        for name in empty._ids:  # EOS and UNK, where data may hold them
            counts.pop(name, None)
        return cls(empty.tokenizer.learn(counts, min_count, None if size is None else size - 2), kind, nfc)

    def extended(self, symbols: Iterable[str]) -> Vocabulary:
        """Return a vocabulary that has these symbols too, after its own; what it has already is left out.

        >>> Vocabulary("ab").extended("cab").names
        ('a', 'b', 'c', 'EOS', 'UNK')
        """
        return Vocabulary(dict.fromkeys((*self.symbols, *symbols)), self.kind, self.nfc)

    @property
    def tokenizer(self) -> Tokenizer:
        """How text is cut into symbols of this kind."""
        return tokenizer(self.kind)

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

    def encode(self, text: Text) -> Ids:
        """Return the ids of a text or of a list of symbols; an unseen symbol becomes UNK.

        Returns: ids (N,) int64.  EOS is not added.
        Raises: ValueError for bytes, if this kind reads text only.

        >>> Vocabulary("ab", "characters").encode("aabc")
        array([0, 0, 1, 3])
        """
        if isinstance(text, str | bytes) and isinstance(self.tokenizer, CodeTokenizer):
            return self._looked_up(self.tokenizer.codes(self.normal(text)))
        unk_id = self.unk_id
        return np.array([self._ids.get(symbol, unk_id) for symbol in self.split(text)], np.int64)

    def encode_each(self, texts: Sequence[Text]) -> list[Ids]:
        """Return the ids of each of several texts: those of :meth:`encode`, sooner.

        Raises: as :meth:`encode`.

        >>> Vocabulary("ab", "characters").encode_each(["ab", "", "c"])
        [array([0, 1]), array([], dtype=int64), array([3])]
        """
        texts = listed(texts)
        plain = [text for text in texts if isinstance(text, str | bytes)]
        if not plain or len(plain) < len(texts) or not isinstance(self.tokenizer, CodeTokenizer):
            return [self.encode(text) for text in texts]
        codes = [self.tokenizer.codes(self.normal(text)) for text in plain]
        ids, ends = self._looked_up(np.concatenate(codes)), np.cumsum([0, *map(len, codes)]).tolist()
        return [ids[begin:end] for begin, end in pairwise(ends)]

    def normal(self, text: str | bytes) -> str | bytes:
        """Return a text in the form in which it is read: Unicode's normal form C if the vocabulary has `nfc`.

        >>> Vocabulary("e", "characters", nfc=True).normal("e\u0301") == "\u00e9"
        True
        """
        return unicodedata.normalize("NFC", self.tokenizer.text(text)) if self.nfc else text

    def split(self, text: Text) -> Sequence[str]:
        """Return the symbols (N,) of a text as they stand in it, unseen ones included; a list is its own symbols.

        >>> Vocabulary(["rose"], "words").split("a rose")
        ['a', 'rose']
        """
        pretokens = self._split(text)
        return self.tokenizer.segment(pretokens, self._ids) if isinstance(text, str | bytes) else pretokens

    def segments(self, pretokens: Iterable[str]) -> list[Sequence[str]]:
        """Return the symbols of each pre-token; see :mod:`unrolled.saved.tokenizers.base`."""
        return [self.tokenizer.segment([pretoken], self._ids) for pretoken in pretokens]

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
        return list(self._written(ids)) if self.tokenizer.reads_lists else self.text(ids)

    def text(self, ids: npt.ArrayLike, after: Text = "") -> str:
        """Return the text of these ids, whatever the kind; a space separates symbols and words.

        Args: ids (N,); the text that they continue: a space stands between them where the kind separates symbols.

        >>> Vocabulary(["fair", "rose", chr(10)], "words").text([1, 0, 2, 1])
        'rose fair\\nrose'
        """
        return "".join(self.tokenizer.pieces(self._written(ids), _as_text(after)))

    def pieces(self, ids: Iterable[int], after: Text = "") -> Iterator[str]:
        """Yield one piece of text for each id as it comes, for printing while a model writes.

        Joined, the pieces are :meth:`text`.  A byte that is not yet a whole code point gives an empty piece; what never
        becomes one gives U+FFFD, if need be in one more piece at the end.

        Args: ids; the text that they continue, as of :meth:`text`.

        >>> list(Vocabulary(["Ophelia", "￭,"], "words-and-marks").pieces([1, 0], after="so"))
        [',', ' Ophelia']
        """
        return self.tokenizer.pieces(map(self._text, ids), _as_text(after))

    def aligned_pieces(self, ids: npt.ArrayLike) -> list[str]:
        """Return the pieces of N ids, exactly N; joined, they are :meth:`text`.

        >>> Vocabulary(["c3", "a9"], "bytes").aligned_pieces([0, 1, 0])
        ['', 'é', '�']
        """
        return self.tokenizer.aligned(self._written(ids))

    def decode_bytes(self, ids: npt.ArrayLike) -> bytes:
        """Return the exact bytes of these ids; kinds "bytes" and "bpe" only.  EOS writes nothing, UNK writes U+FFFD.

        Raises: ValueError for a kind whose symbols are no bytes.

        >>> Vocabulary(["00", "ff"], "bytes").decode_bytes([1, 0, 1])
        b'\\xff\\x00\\xff'
        """
        return self.tokenizer.data(self._written(ids))

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
            file = from_json(data, _File)
            return cls(file.symbols, file.kind, file.nfc)
        except ValueError as error:
            raise ValueError(f"not a vocabulary: {error}") from None

    @cached_property
    def _ids(self) -> dict[str, int]:
        """The id of each symbol by name; EOS and UNK have names only where data may hold them."""
        return {name: k for k, name in enumerate(self.names if self.tokenizer.reads_lists else self.symbols)}

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """What is written for each id, before bytes become characters and spaces stand between words."""
        return (*self.symbols, *self.tokenizer.written)

    @cached_property
    def _table(self) -> Ids:
        """The id of each code; the last entry stands for every code above it, if there are any."""
        assert isinstance(self.tokenizer, CodeTokenizer)
        codes = list(map(self.tokenizer.code, self.symbols))
        table = np.full(min(max(codes, default=0) + 256, self.tokenizer.limit), self.unk_id, np.int64)
        table[codes] = np.arange(len(codes))
        return table

    def _looked_up(self, codes: Codes) -> Ids:
        """Return the ids of these codes."""
        assert isinstance(self.tokenizer, CodeTokenizer)
        last = len(self._table) - 1
        return self._table[codes if last + 1 == self.tokenizer.limit else np.minimum(codes, last)]

    def _split(self, text: Text) -> Sequence[str]:
        """Return the pre-tokens of a text, or the symbols of a list, in normal form."""
        if isinstance(text, str | bytes):
            return self.tokenizer.split(self.normal(text))
        symbols = _as_symbols(text)
        return [unicodedata.normalize("NFC", symbol) for symbol in symbols] if self.nfc else symbols

    def _written(self, ids: npt.ArrayLike) -> list[str]:
        """Return the symbols of these ids as they are written."""
        return [self.texts[k] for k in self._checked(ids)]

    def _text(self, k: int) -> str:
        return self.texts[k] if 0 <= k < len(self.texts) else self._written([k])[0]

    def _checked(self, ids: npt.ArrayLike) -> list[int]:
        array = np.asarray(ids)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            raise ValueError(f"Vocabulary: ids are {array.dtype} of shape {array.shape}, expected integers, (N,)")
        wrong = np.flatnonzero((array < 0) | (array >= len(self)))
        if wrong.size:
            raise ValueError(f"Vocabulary: id {array[wrong[0]]} at position {wrong[0]}, expected 0 to {len(self) - 1}")
        return list(map(int, array.tolist()))


def listed(texts: Iterable[Text]) -> list[Text]:
    """Return several texts as a list.

    Raises: ValueError for one text in their place, whose symbols would be read as the texts.

    >>> listed(text for text in ("ab", "c"))
    ['ab', 'c']
    """
    if isinstance(texts, str | bytes):
        raise ValueError(f"expected a list of texts, got one text; give [{brief(texts)}]")
    return [*texts]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    format_version: int
    kind: str
    nfc: bool
    symbols: tuple[str, ...]


def _as_text(given: Text) -> str:
    """Return a text that is continued; of bytes and symbols, after which no space is missing, nothing."""
    return given if isinstance(given, str) else ""


def _as_symbols(given: object) -> Sequence[str]:
    """Return a list of symbols as text; an integer is the symbol of its digits, as in files of records."""
    # An iterator ends after one reading, and a set has no order.
    readable = isinstance(given, Iterable) and hasattr(given, "__getitem__")
    if not readable or isinstance(given, bytearray | memoryview):
        raise TypeError(f"the text is {brief(given)}, expected a text or a list of symbols")
    symbols = given if isinstance(given, list) else list(given)  # type: ignore[call-overload]
    if {*map(type, symbols)} <= {str}:
        return symbols
    for k, symbol in enumerate(symbols):
        if not isinstance(symbol, str | Integral):
            raise TypeError(f"symbol {k} of the text is {brief(symbol)}, expected text")
    return [*map(str, symbols)]


def _check(symbols: tuple[object, ...], kind: str, nfc: bool) -> None:
    reader = tokenizer(kind)
    if nfc and not reader.allows_nfc:
        allowed = " and ".join(each.kind for each in TOKENIZERS.values() if each.allows_nfc)
        raise ValueError(f"Vocabulary: nfc applies to {allowed}, not to {kind}")
    seen: set[object] = set()
    for k, symbol in enumerate(symbols):
        if not isinstance(symbol, str):
            fault = f"is a {type(symbol).__name__}, expected a string"
        elif any("\ud800" <= c <= "\udfff" for c in symbol):
            fault = "holds a lone surrogate, which no UTF-8 file can hold"
        else:
            fault = reader.fault(symbol) or ("occurs twice" if symbol in seen else "")
        if fault:
            raise ValueError(f"Vocabulary: symbol {k} {brief(symbol)} {fault}")
        seen.add(symbol)
