"""Numbers symbols in one pass, in the order in which they are first seen, for data that can be read only once.

The vocabulary is known only after the split, because only training symbols count.  Until then each symbol (each
pre-token, for a kind that learns its symbols) has a provisional id, in the smallest integer type that fits: 0 is the
end of a sequence, 1 is an explicit UNK, and 2, 3, ... are the symbols.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.config.data import DataConfig
from unrolled.config.options import brief, option
from unrolled.corpus import reading
from unrolled.corpus.reading import CorpusError, CorpusWarning, Source
from unrolled.saved.tokenizers import tokenizer
from unrolled.saved.tokenizers.base import EOS, UNK, Codes, CodeTokenizer, Tokenizer

END = 0
UNKNOWN = 1
#: Ids that memory is reserved for at first, and codes that are looked up at a time.
BLOCK = 1 << 20

#: Symbol ids in the smallest unsigned type that holds them.
Compact = npt.NDArray[np.unsignedinteger[Any]]


class Encoder:
    """Turns text, bytes and symbol lists into provisional ids.

    Args:
        tokenizer: cuts text into symbols.
        lines: whether a line end ends a sequence; else it is a symbol (characters, bytes, words) or white space.

    >>> from unrolled.saved.tokenizers import tokenizer
    >>> encoder = Encoder(tokenizer("characters"), lines=True)
    >>> encoder.text("ba" + chr(10) + "b")
    >>> encoder.end()
    >>> encoder.symbols, encoder.ids().tolist()
    (['a', 'b'], [3, 2, 0, 3, 0])
    """

    def __init__(self, tokenizer: Tokenizer, *, lines: bool = False) -> None:
        self.tokenizer, self.lines = tokenizer, lines
        self.symbols: list[str] = []
        self.length = 0
        self._last = ""  # the last symbol of the text so far
        self._ids: Compact = np.empty(BLOCK, np.uint8)  # the first `length` are in use
        self._id_of = _FirstSeen(self.symbols)
        if tokenizer.reads_lists:
            self._id_of |= {EOS: END, UNK: UNKNOWN}
        if lines:
            self._id_of["\n"] = END
        if isinstance(tokenizer, CodeTokenizer):
            self._symbol = tokenizer.symbol
            dtype = np.min_scalar_type(tokenizer.limit + UNKNOWN + 1)
            self._unseen = np.iinfo(dtype).max
            self._table = np.full(tokenizer.limit, self._unseen, dtype)
            if tokenizer.limit <= 256:
                self._number(np.arange(tokenizer.limit))
            if lines:
                self._table[tokenizer.codes("\n")] = END

    def text(self, text: str | bytes) -> None:
        """Append the next piece of a text, which must not end within a symbol.

        Raises: CorpusError if EOS stands within a line that is one sequence.
        """
        if isinstance(self.tokenizer, CodeTokenizer):
            codes = self.tokenizer.codes(text)
            for start in range(0, len(codes), BLOCK):
                self._append(self._looked_up(codes[start : start + BLOCK]))
        elif self.lines:
            symbols = self.tokenizer.split_lines(text)
            self._refuse_inner_end(symbols)
            self.record(symbols)
        else:
            self.record(self.tokenizer.split(text))

    def record(self, symbols: Sequence[str]) -> None:
        """Append a list of symbols, for a tokenizer without codes."""
        id_of = self._id_of
        self._append(np.array([id_of[symbol] for symbol in symbols], np.uint32))

    def end(self) -> None:
        """End the sequence, unless one has just ended."""
        self._last = ""
        if self.length and self._ids[self.length - 1] != END:
            self._append(np.array([END], np.uint32))

    def ids(self) -> Compact:
        """Return the provisional ids (N,) and forget them."""
        ids, self._ids = self._ids, np.empty(BLOCK, np.uint8)
        ids.resize(self.length, refcheck=False)
        self.length = 0
        return ids

    def _refuse_inner_end(self, symbols: list[str]) -> None:
        """Refuse EOS before another symbol of its line, where data may hold it."""
        following = [self._last, *symbols]
        self._last = following[-1]
        if self.tokenizer.reads_lists and EOS in following:
            for symbol, after in pairwise(following):
                if symbol == EOS and after != "\n":
                    raise CorpusError(
                        f"EOS, which only ends a sequence, stands before {brief(after)}; divide the line, or rename it"
                    )

    def _looked_up(self, codes: Codes) -> Compact:
        """Return the ids of these codes; those that were never seen are numbered first."""
        ids: Compact = self._table.take(codes)
        if len(self.symbols) < len(self._table):
            unseen = np.unique(codes[ids == self._unseen])
            if len(unseen):
                self._number(unseen)
                ids = self._table.take(codes)
        return ids

    def _number(self, codes: npt.NDArray[Any]) -> None:
        self._table[codes] = np.arange(len(codes)) + len(self.symbols) + 2
        self.symbols += map(self._symbol, codes.tolist())

    def _append(self, ids: Compact) -> None:
        start, self.length = self.length, self.length + len(ids)
        dtype = np.min_scalar_type(len(self.symbols) + 1)
        if self._ids.dtype != dtype:
            self._ids = self._ids.astype(dtype)
        if self.length > len(self._ids):
            self._ids.resize(max(self.length, len(self._ids) * 5 // 4), refcheck=False)
        self._ids[start : self.length] = ids


def kind_or(default: str, config: DataConfig) -> str:
    """Return the kind of symbol that a config names, or the default where it says auto."""
    return default if config.kind == "auto" else config.kind


def encode_source(encoder: Encoder, source: Source, nfc: bool) -> None:
    """Encode the text of one source, in Unicode normal form C if that is asked for.

    Raises: CorpusError naming the source.
    """
    for block in reading.blocks(source, encoder.tokenizer, nfc):
        try:
            encoder.text(block)
        except CorpusError as error:
            raise CorpusError(f"{source}: {error}") from None


def encode_texts(sources: Sequence[Source], config: DataConfig) -> tuple[Encoder, list[int]]:
    """Encode plain texts; return the encoder and the position where each source begins."""
    encoder = Encoder(tokenizer(kind_or("characters", config)), lines=config.lines)
    ended = config.lines or config.split_by == "file" or len(sources) > 1
    starts = []
    for source in sources:
        starts.append(encoder.length)
        encode_source(encoder, source, config.nfc)
        if ended:
            encoder.end()
    return encoder, starts


def encode_records(found: Iterable[tuple[int, str, Sequence[str]]], config: DataConfig) -> tuple[Encoder, list[int]]:
    """Encode records, each a sequence; return the encoder and the position where each source begins.

    Args:
        found: of each record the number of its source, its place for an error message, and the record.
        config: how to read it.
    """
    records = iter(found)
    first = next(records, None)
    texts = first is None or isinstance(first[2], str)
    encoder = Encoder(tokenizer(kind_or("characters" if texts else "symbols", config)))
    starts: dict[int, int] = {}
    skipped, numbers = 0, config.kind == "auto" and first is not None
    for k, where, record in chain([first] if first else [], records):
        if config.kind == "auto" and isinstance(record, str) != texts:
            kind = option("kind")
            raise CorpusError(f"{where}: texts and lists of symbols are mixed; use one of them, or set {kind}")
        numbers = numbers and texts and _is_number(record)
        before = encoder.length
        starts.setdefault(k, before)
        _encode_record(encoder, record, config.nfc, where)
        skipped += encoder.length == before
        encoder.end()
    if skipped:
        warnings.warn(f"{skipped:,} record{'s' * (skipped > 1)} without a symbol skipped", CorpusWarning, stacklevel=3)
    if numbers:
        said = "every record is a number: its digits become the symbols, and the model learns how numbers are spelled"
        warnings.warn(f"{said}; for one symbol a number, list them as in [3, 1, 2]", CorpusWarning, stacklevel=3)
    return encoder, list(starts.values())


def _is_number(record: Sequence[str]) -> bool:
    return isinstance(record, str) and re.fullmatch(r"\s*[-+]?[\d.,]*\d[\d.,]*(e[-+]?\d+)?\s*", record) is not None


def _encode_record(encoder: Encoder, record: Sequence[str], nfc: bool, where: str) -> None:
    """Append one record, without its end."""
    reader = encoder.tokenizer
    if isinstance(record, str):
        record = unicodedata.normalize("NFC", record) if nfc else record
        if not reader.reads_lists:
            encoder.text(record)
            return
        record = reader.split(record)
    if not reader.reads_lists:
        ways = f"use {option('kind', 'symbols')}, or give a text"
        raise CorpusError(f"{where}: a list of symbols, but the kind is {reader.kind}; {ways}")
    if EOS in record[:-1]:
        raise CorpusError(
            f"{where}: symbol {record.index(EOS)} is EOS, which only ends a sequence; divide the record, or rename it"
        )
    encoder.record(record)


class _FirstSeen(dict[str, int]):
    """Gives each new symbol the next free id."""

    def __init__(self, symbols: list[str]) -> None:
        self._symbols = symbols

    def __missing__(self, symbol: str) -> int:
        self._symbols.append(symbol)
        self[symbol] = number = len(self._symbols) + 1
        return number
