"""What a tokenizer is.

A tokenizer holds no state: all that is learned from data is the ordered list of symbols, which the vocabulary keeps.
Text becomes ids in three steps: ``split`` cuts it into pre-tokens, ``segment`` cuts pre-tokens into symbols, and the
vocabulary looks up the id of each symbol.  Most kinds have one symbol for each pre-token.
"""

from __future__ import annotations

import codecs
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from unrolled.config.options import option

EOS = "EOS"
UNK = "UNK"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

#: Code points or bytes (N,).
Codes = npt.NDArray[np.unsignedinteger[Any]]


class Tokenizer(ABC):
    """How one kind of symbol is read and written."""

    #: Name of the kind, in a config and in vocabulary.json.
    kind: ClassVar[str]
    #: Whether text may be brought to Unicode normal form C first.
    allows_nfc: ClassVar[bool] = False
    #: Whether files are read as bytes.
    reads_bytes: ClassVar[bool] = False
    #: Whether data may be lists of symbols, in which EOS and UNK are written by name.
    reads_lists: ClassVar[bool] = False
    #: Whether more text brings ever more symbols.
    open_ended: ClassVar[bool] = False
    #: Whether the symbols that are learned from some text can write every other, so that a model needs no more of them.
    complete: ClassVar[bool] = False
    #: Whether the space before a symbol is written with it, or left out, so that a prompt ends without one.
    spaces_first: ClassVar[bool] = False
    #: Whether the name of a symbol is the text that it writes, joiners left out.
    names_are_text: ClassVar[bool] = True
    #: What is written between two symbols.
    separator: ClassVar[str] = ""

    @abstractmethod
    def split(self, text: str | bytes) -> list[str]:
        """Return the pre-tokens of a text.

        Raises: ValueError for bytes, if this kind reads text only.
        """

    def split_lines(self, text: str | bytes) -> list[str]:
        """Return the pre-tokens of a text, with a line feed for each line end."""
        pretokens: list[str] = []
        for line in self.text(text).split("\n"):
            pretokens += self.split(line)
            pretokens.append("\n")
        return pretokens[:-1]

    def cut(self, text: str) -> int:
        """Return the last position n at which a text that continues can be divided.

        For every rest, split(text[:n]) + split(text[n:] + rest) equals split(text + rest).
        """
        return len(text)

    def listed(self, text: str) -> list[str]:
        """Return the symbols that a text lists, in the order of their ids."""
        return self.split(text)

    def learn(self, counts: Mapping[str, int], min_count: int, most: int | None = None) -> list[str]:
        """Return the symbols of a vocabulary, in id order.

        Args:
            counts: how often each pre-token occurs in the training data.
            min_count: a pre-token that occurs fewer times is left out.
            most: number of symbols at most, of which the most frequent are kept; None for no limit.
        """
        often = [pretoken for pretoken, count in counts.items() if count >= min_count]
        if most is not None and len(often) > most:
            often = sorted(often, key=lambda pretoken: (-counts[pretoken], pretoken))[:most]
        return sorted(often)

    def read(self, path: str | Path, most: int | None = None, nfc: bool = False) -> list[str]:
        """Return the symbols, in id order, of a tokenizer that another program has learned.

        Args: path of its file; most, the number of symbols at most, None for no limit; nfc, whether texts are read in
            Unicode normal form C.
        Raises: ValueError naming the file, or if symbols of this kind come from the data alone.
        """
        raise ValueError(
            f"{option('tokenizer', str(path))} needs {option('kind', 'bpe')}: kind {self.kind} has its symbols from "
            "the data"
        )

    def segment(self, pretokens: Sequence[str], ids: Mapping[str, int]) -> Sequence[str]:
        """Return the symbols of these pre-tokens, those that have no id included.

        Args: pretokens; ids of the vocabulary's symbols.
        """
        return pretokens

    def fault(self, symbol: str) -> str:
        """Return "" if a string is a symbol of this kind, else what is wrong with it, as "has 2 code points"."""
        return ""

    @property
    def written(self) -> tuple[str, str]:
        """What is written for EOS and for UNK."""
        return (EOS, UNK) if self.reads_lists else ("", REPLACEMENT)

    def pieces(self, symbols: Iterable[str], after: str = "") -> Iterator[str]:
        """Yield a piece of text for each symbol as it comes; joined, the pieces are the text.

        One more piece may follow at the end: what was held back as incomplete.

        Args: symbols; the text that they continue, for kinds that write the space before a symbol with it.
        """
        return iter(symbols)

    def aligned(self, symbols: Sequence[str]) -> list[str]:
        """Return exactly N pieces for N symbols; the last includes what a stream would hold back."""
        pieces = list(self.pieces(symbols))
        if len(pieces) != len(symbols):
            last = max(len(symbols) - 1, 0)
            pieces = [*pieces[:last], "".join(pieces[last:])][: len(symbols)]
        return pieces

    def data(self, symbols: Iterable[str]) -> bytes:
        """Return the exact bytes of these symbols.

        Raises: ValueError if symbols of this kind are no bytes.
        """
        raise ValueError(f"symbols of kind {self.kind!r} are no bytes; decode them as text, or use kind 'bytes'")

    def text(self, text: str | bytes) -> str:
        """Return a text unchanged; ValueError for bytes, if this kind reads text only."""
        if isinstance(text, bytes):
            raise ValueError(f"the text is bytes and the kind {self.kind!r}; decode it, or use kind 'bytes'")
        return text


class CodeTokenizer(Tokenizer):
    """A tokenizer whose symbols are small numbers, so that their ids can be looked up in a table."""

    #: All codes are below it.
    limit: ClassVar[int]

    @abstractmethod
    def codes(self, text: str | bytes) -> Codes:
        """Return the codes of a text (N,)."""

    @abstractmethod
    def code(self, symbol: str) -> int:
        """Return the code of a symbol."""

    @abstractmethod
    def symbol(self, code: int) -> str:
        """Return the symbol of a code."""


#: What is written for bytes that are no text: U+FFFD, or what :func:`exact_bytes` asks for.
_UNDECODABLE = ContextVar("undecodable", default="replace")


@contextmanager
def exact_bytes() -> Iterator[None]:
    """Write bytes that are no text as lone surrogates, of which `text.encode("utf-8", "surrogateescape")` makes them.

    >>> from unrolled.saved.vocabulary import Vocabulary
    >>> with exact_bytes():
    ...     Vocabulary(["41", "ff"], "bytes").text([0, 1]).encode("utf-8", "surrogateescape")
    b'A\\xff'
    """
    before = _UNDECODABLE.set("surrogateescape")
    try:
        yield
    finally:
        _UNDECODABLE.reset(before)


def text_of(data: bytes) -> str:
    """Return the text of bytes in UTF-8; what is none is U+FFFD, or what :func:`exact_bytes` asks for."""
    return data.decode("utf-8", _UNDECODABLE.get())


class ByteTokenizer(Tokenizer):
    """A tokenizer whose symbols stand for bytes; a text is its UTF-8."""

    @abstractmethod
    def bytes_of(self, symbol: str) -> bytes:
        """Return the bytes that a symbol stands for; of what is written for EOS and UNK, its UTF-8."""

    def pieces(self, symbols: Iterable[str], after: str = "") -> Iterator[str]:
        """Yield the text of the bytes as they come; what is not yet a whole code point is held back."""
        decoder = codecs.getincrementaldecoder("utf-8")(_UNDECODABLE.get())
        for symbol in symbols:
            yield decoder.decode(self.bytes_of(symbol))
        yield decoder.decode(b"", final=True)

    def data(self, symbols: Iterable[str]) -> bytes:
        """Return the exact bytes of these symbols."""
        return b"".join(map(self.bytes_of, symbols))


class SpacedTokenizer(Tokenizer):
    """A tokenizer whose symbols are separated by white space."""

    separator = " "

    def cut(self, text: str) -> int:
        """Return the position after the last white space.

        >>> from unrolled.saved.tokenizers import tokenizer
        >>> tokenizer("words").cut("so long liv")
        8
        """
        if not text or text[-1].isspace():
            return len(text)
        return len(text) - len(text.rsplit(None, 1)[-1])

    def sides(self, symbol: str) -> tuple[bool, str, bool]:
        """Return whether no space stands before a symbol, what it writes, and whether none stands behind it."""
        return symbol in ("", "\n"), symbol, symbol == "\n"

    def pieces(self, symbols: Iterable[str], after: str = "") -> Iterator[str]:
        """Yield symbols with a space before each, but not at the start or beside a line end."""
        space = "" if self.joins(after) else self.separator
        for symbol in symbols:
            joined, text, joins = self.sides(symbol)
            yield text if joined else space + text
            if text:
                space = "" if joins else self.separator

    def joins(self, text: str) -> bool:
        """Return whether what continues a text is written without a space first."""
        return not text or text[-1].isspace()
