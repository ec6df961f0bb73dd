"""From a source to blocks of text or bytes; whatever can be wrong with a file is found here.

No more than a block of a text or one line is in memory at a time.
"""

from __future__ import annotations

import codecs
import io
import shlex
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from unrolled.config.data import UTF_8
from unrolled.config.options import option
from unrolled.corpus import packed
from unrolled.saved.tokenizers.base import Tokenizer

#: Byte order marks of encodings other than UTF-8; the longer ones begin with the shorter.
MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32LE",
    codecs.BOM_UTF32_BE: "UTF-32BE",
    codecs.BOM_UTF16_LE: "UTF-16LE",
    codecs.BOM_UTF16_BE: "UTF-16BE",
}
#: How the name of a file ends that is Parquet.
PARQUET = ".parquet"
#: Bytes read at a time.
BLOCK = 1 << 20
#: Bytes from which an encoding is told; a multiple of four.
SAMPLE = 1 << 10
#: Characters that one word, one record or one sequence may have, because each is held as a whole.
RECORD_LIMIT = 1 << 24


class CorpusError(ValueError):
    """The data cannot be used as it is; the message says where, what was found and what to do."""


class CorpusWarning(UserWarning):
    """The data can be used, but something about it may surprise whoever trains on it."""


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """Return at most so many bytes; none at the end."""


class _Limited:
    """Some bytes of a file, from one position to another."""

    def __init__(self, stream: BinaryIO, start: int, stop: int):
        stream.seek(start)
        self._stream, self._left = stream, stop - start

    def read(self, size: int, /) -> bytes:
        """Return at most so many bytes; none at the end."""
        data = self._stream.read(min(size, self._left))
        self._left -= len(data)
        return data


@dataclass(frozen=True)
class Source:
    """One input: a file, a file in an archive, or standard input where the path is None."""

    path: Path | None
    in_folder: bool = False  #: whether the user named its folder only
    encoding: str = UTF_8
    stretch: tuple[int, int] | None = None  #: the bytes that are read, from a line's beginning to another's; None: all
    member: str = ""  #: its name in an archive, in which it is the stretch

    @property
    def is_utf8(self) -> bool:
        """Whether it is read as UTF-8, whose text has no NUL."""
        return codecs.lookup(self.encoding).name == UTF_8

    def __str__(self) -> str:
        if self.member:
            return f"{self.path}/{self.member}"
        start = self.stretch[0] if self.stretch else 0
        return "standard input" if self.path is None else f"{self.path}{f' (from byte {start:,})' * (start > 0)}"

    @property
    def size(self) -> int:
        """Its bytes; 0 where that is not known before it is read."""
        if self.stretch is not None:
            return self.stretch[1] - self.stretch[0]
        return self.path.stat().st_size if self.path is not None and self.path.is_file() else 0

    @property
    def suffix(self) -> str:
        """The ending of its name that says what it holds, without that of a packed file.

        >>> Source(Path("tunes.JSONL.gz")).suffix
        '.jsonl'
        """
        path = Path(self.member) if self.member else self.path
        endings = [] if path is None else [each.lower() for each in path.suffixes]
        return next((each for each in reversed(endings) if each not in packed.SUFFIXES), "")

    @contextmanager
    def open(self) -> Iterator[Readable]:
        """Open the source for reading its bytes, as they are, inside the block.

        Raises: CorpusError if it cannot be opened or read; the message gives the system's reason.
        """
        try:
            if self.path is not None:
                with self.path.open("rb") as stream:
                    yield stream if self.stretch is None else _Limited(stream, *self.stretch)
            elif sys.stdin is None:
                raise CorpusError("standard input is closed; name a file, or open it")
            else:
                yield sys.stdin.buffer
        except OSError as error:
            raise CorpusError(f"{self}: {error.strerror}") from None


def blocks(source: Source, tokenizer: Tokenizer, nfc: bool = False) -> Iterator[str] | Iterator[bytes]:
    """Yield a source in blocks that the tokenizer can split one by one: bytes if it reads bytes, else text.

    Args:
        source: what to read.
        tokenizer: of the kind of symbol.
        nfc: bring text to Unicode normal form C.

    Raises: CorpusError as :func:`text_blocks` and :func:`whole_symbols`.
    """
    if tokenizer.reads_bytes:
        return byte_blocks(source)
    texts = text_blocks(source)
    return whole_symbols(normalised(texts) if nfc else texts, tokenizer.cut, source)


def byte_blocks(source: Source) -> Iterator[bytes]:
    """Yield the source in blocks of at most ``BLOCK`` bytes, unchanged."""
    with source.open() as stream:
        while block := stream.read(BLOCK):
            yield block


def unpacked_blocks(source: Source) -> Iterator[bytes]:
    """Yield the bytes of a source in blocks, after unpacking what is packed.

    Raises: CorpusError if what is packed is damaged, ends early or is far larger than its file.
    """
    with source.open() as stream:
        try:
            unpacked = packed.unpacked(stream)
            while block := unpacked.read(BLOCK):
                yield block
        except packed.PackedError as error:
            raise CorpusError(f"{source}: {error}") from None


def text_blocks(source: Source) -> Iterator[str]:
    """Yield the text of a source in blocks, with LF line ends and without a byte order mark.

    Raises: CorpusError if the source is binary or of another encoding; the message names the byte offset (from 0) and
        the line.
    """
    decoder = codecs.getincrementaldecoder(source.encoding)()
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    offset, line = 0, 1  # of the first byte that is not decoded yet
    for block in unpacked_blocks(source):
        undecoded = decoder.getstate()[0] + block
        if offset == 0:
            _refuse_other_encoding(undecoded, source)
        nul = undecoded.find(b"\0") if source.is_utf8 else -1
        if nul >= 0:
            line += undecoded.count(b"\n", 0, nul)
            raise CorpusError(f"{source}: byte {offset + nul} (line {line}) is NUL, so it is not text; {_reader()}")
        try:
            text = decoder.decode(block)
        except UnicodeError as error:
            raise _not_decoded(source, offset, line, error) from None
        if offset == 0:
            text = text.removeprefix("\ufeff")
        decoded = len(undecoded) - len(decoder.getstate()[0])
        offset, line = offset + decoded, line + undecoded.count(b"\n", 0, decoded)
        yield newlines.decode(text)
    try:
        yield decoder.decode(b"", final=True) + newlines.decode("", final=True)
    except UnicodeError as error:
        raise _not_decoded(source, offset, line, error) from None


def normalised(blocks: Iterator[str]) -> Iterator[str]:
    """Yield the same text in Unicode normal form C, wherever the blocks were cut.

    A cut is moved back to before a code point that cannot compose with the one before it: any but a mark or a medial or
    final Hangul jamo.
    """
    held = ""
    for block in blocks:
        text = held + block
        cut = len(text) - 1
        while cut > 0 and (unicodedata.category(text[cut])[0] == "M" or "\u1160" <= text[cut] <= "\u11ff"):
            cut -= 1
        cut = max(cut, 0)
        held = text[cut:]
        yield unicodedata.normalize("NFC", text[:cut])
    yield unicodedata.normalize("NFC", held)


def whole_symbols(blocks: Iterator[str], cut: Callable[[str], int], source: Source) -> Iterator[str]:
    """Yield the same text in blocks that do not divide a symbol.

    Args:
        blocks: of the text.
        cut: :meth:`Tokenizer.cut` of the kind of symbol.
        source: to be named in an error message.

    Raises: CorpusError if a symbol is longer than ``RECORD_LIMIT`` characters.
    """
    rest = ""
    for block in blocks:
        text = rest + block
        end = cut(text)
        yield text[:end]
        rest = text[end:]
        if len(rest) > RECORD_LIMIT:
            raise CorpusError(
                f"{source}: a word has more than {RECORD_LIMIT:,} characters; read it as characters or bytes "
                f"({option('kind')})"
            )
    yield rest


def text_lines(source: Source) -> Iterator[str]:
    """Yield each line of a source without its end.

    Raises: CorpusError if a line is longer than ``RECORD_LIMIT`` characters, or as :func:`text_blocks`.
    """
    held: list[str] = []
    length = 0
    for block in text_blocks(source):
        *ended, rest = block.split("\n")
        for line in ended:
            yield "".join(held) + line
            held, length = [], 0
        held.append(rest)
        length += len(rest)
        if length > RECORD_LIMIT:
            raise CorpusError(
                f"{source}: a record has more than {RECORD_LIMIT:,} characters; for plain text, use "
                f"{option('format', 'text')}"
            )
    if length:
        yield "".join(held)


def _refuse_other_encoding(start: bytes, source: Source) -> None:
    """Refuse what is text in another encoding, and name the program that converts it."""
    if source.is_utf8 and (encoding := _other_encoding(start)):
        name = "FILE" if source.path is None else shlex.quote(str(source.path))
        remedy = f"convert it (iconv -f {encoding} -t UTF-8 {name}), or use {option('encoding', encoding)}"
        raise CorpusError(f"{source}: byte 0 starts {encoding} text, expected UTF-8; {remedy}")


def _other_encoding(start: bytes) -> str:
    """Return the encoding of a text whose code units are two or four bytes wide, with or without a mark; else ""."""
    marked = next((encoding for mark, encoding in MARKS.items() if start.startswith(mark)), "")
    if marked or b"\0" not in start[:SAMPLE]:
        return marked
    for encoding in MARKS.values():
        with suppress(UnicodeDecodeError):
            if all(c.isprintable() or c.isspace() for c in start[:SAMPLE].decode(encoding)):
                return encoding
    return ""


def _not_decoded(source: Source, offset: int, line: int, error: UnicodeError) -> CorpusError:
    if not isinstance(error, UnicodeDecodeError):
        return CorpusError(
            f"{source}: not {source.encoding.upper()} ({error}); name its encoding ({option('encoding')})"
        )
    line += error.object.count(b"\n", 0, error.start)
    byte = error.object[error.start]
    return CorpusError(
        f"{source}: byte {offset + error.start} (line {line}) is 0x{byte:02x}, which is not {source.encoding.upper()} "
        f"({error.reason}); name its encoding ({option('encoding')}); {_reader()}"
    )


def _reader() -> str:
    """Say what reads a file that is not text; a trained model has its kind of symbol already."""
    return f"only a model that is trained with {option('kind', 'bytes')} reads it as it is"
