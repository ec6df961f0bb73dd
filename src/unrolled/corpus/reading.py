"""From files to blocks of text or bytes; whatever can be wrong with a file is found here.

No more than a block of a text or one line is in memory at a time.
"""

from __future__ import annotations

import codecs
import io
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from unrolled.saved.tokenizers.base import Tokenizer

#: Bytes read at a time.
BLOCK = 1 << 20
#: Characters that one word, one record or one sequence may have, because each is held as a whole.
RECORD_LIMIT = 1 << 24


class CorpusError(ValueError):
    """The data cannot be used as it is; the message says where, what was found and what to do."""


class CorpusWarning(UserWarning):
    """The data can be used, but something about it may surprise whoever trains on it."""


@dataclass(frozen=True)
class Source:
    """One input: a file, or standard input where the path is None."""

    path: Path | None

    def __str__(self) -> str:
        return "standard input" if self.path is None else str(self.path)

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the source for reading bytes.

        Raises: CorpusError if the file cannot be opened; the message gives the system's reason.
        """
        if self.path is None:
            yield sys.stdin.buffer
            return
        try:
            stream = self.path.open("rb")
        except OSError as error:
            raise CorpusError(f"{self}: {error.strerror}") from None
        with stream:
            yield stream


def find_sources(data: str | Path | Sequence[str | Path]) -> list[Source]:
    """Return the sources that a path, a folder, ``-`` or a list of these stands for, in the order given.

    Args: data: a folder stands for all files below it that are not hidden, sorted by path; ``-`` for standard input.
    Raises: CorpusError if a path does not exist, a folder holds no file, or standard input is named twice.

    >>> [str(source) for source in find_sources("-")]
    ['standard input']
    """
    sources: list[Source] = []
    for name in [data] if isinstance(data, str | Path) else data:
        path = Path(name)
        if str(name) == "-":
            sources.append(Source(None))
        elif path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.is_file() and not _hidden(p.relative_to(path)))
            if not files:
                raise CorpusError(f"{path}: the folder holds no file; name a folder of text files, or the files")
            sources += map(Source, files)
        elif path.exists():
            sources.append(Source(path))
        else:
            raise CorpusError(f"{path}: no such file; check the path, or give - to read standard input")
    if not sources:
        raise CorpusError("no data was named; give a file, a folder, or - to read standard input")
    if sources.count(Source(None)) > 1:
        raise CorpusError("standard input is named twice; it can be read only once")
    return sources


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


def text_blocks(source: Source) -> Iterator[str]:
    """Yield the text of a UTF-8 source in blocks, with LF line ends and without a byte order mark.

    Raises: CorpusError if the source is binary or not UTF-8; the message names the byte offset (from 0) and the line.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    offset, line = 0, 1  # of the first byte that is not decoded yet
    for block in byte_blocks(source):
        undecoded = decoder.getstate()[0] + block
        if offset == 0:
            _refuse_utf16(undecoded, source)
        nul = undecoded.find(b"\0")
        if nul >= 0:
            line += undecoded.count(b"\n", 0, nul)
            raise CorpusError(
                f"{source}: byte {offset + nul} (line {line}) is NUL, so it is not text; read it as bytes (kind bytes)"
            )
        try:
            text = decoder.decode(block)
        except UnicodeDecodeError as error:
            raise _not_utf8(source, offset, line, error) from None
        if offset == 0:
            text = text.removeprefix("\ufeff")
        decoded = len(undecoded) - len(decoder.getstate()[0])
        offset, line = offset + decoded, line + undecoded.count(b"\n", 0, decoded)
        yield newlines.decode(text)
    try:
        yield decoder.decode(b"", final=True) + newlines.decode("", final=True)
    except UnicodeDecodeError as error:
        raise _not_utf8(source, offset, line, error) from None


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
                f"{source}: a word has more than {RECORD_LIMIT:,} characters; read it as characters or bytes (kind)"
            )
    yield rest


def text_lines(source: Source) -> Iterator[str]:
    """Yield each line of a UTF-8 source without its end.

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
                f"{source}: a record has more than {RECORD_LIMIT:,} characters; for plain text, set format text"
            )
    if length:
        yield "".join(held)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _refuse_utf16(start: bytes, source: Source) -> None:
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise CorpusError(f"{source}: byte 0 starts UTF-16 text, expected UTF-8; convert it (iconv -f UTF-16 -t UTF-8)")


def _not_utf8(source: Source, offset: int, line: int, error: UnicodeDecodeError) -> CorpusError:
    line += error.object.count(b"\n", 0, error.start)
    byte = error.object[error.start]
    return CorpusError(
        f"{source}: byte {offset + error.start} (line {line}) is 0x{byte:02x}, which is not UTF-8 ({error.reason}); "
        "convert the file to UTF-8, or read it as bytes (kind bytes)"
    )
