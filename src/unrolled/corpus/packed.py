"""Reading packed data: gzip, bzip2, xz and, where its package is installed, zstd; nothing unpacks without bound.

What is packed is seen by how it begins, not by its name.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, Protocol, cast

#: How packed data begins: what it is.
BEGINNINGS = {
    rb"\x1f\x8b": "gzip",
    rb"BZh[1-9]1AY&SY": "bzip2",
    rb"\xfd7zXZ\x00": "xz",
    rb"\x28\xb5\x2f\xfd": "zstd",
    rb"PK\x03\x04": "zip",
}
#: Bytes that tell.
TELLING = 16
#: Endings of the names of packed files.
SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
#: Packed bytes of zstd that are unpacked at a time; they may become many thousand times as many.
ZSTD_BLOCK = 1 << 10
#: Packed bytes of bzip2 and xz that are read at a time.
PACKED_BLOCK = 1 << 13
#: Times that data may be larger than its packed form, and bytes that it may be in any case.
RATIO, FREE = 100, 1 << 26


class PackedError(ValueError):
    """Packed data cannot be read; the message says why and what to do."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def unpacked(stream: _Readable) -> _Readable:
    """Return a stream of what a stream holds: itself if it is not packed.

    Raises: PackedError, also when it is read, if it is a zip archive, is damaged, ends early, or is more than `RATIO`
        times as large as it was packed.

    >>> unpacked(io.BytesIO(gzip.compress(b"so long"))).read(9), unpacked(io.BytesIO(b"lives")).read(9)
    (b'so long', b'lives')
    """
    whole = _Rewound(stream)
    kind = next((kind for start, kind in BEGINNINGS.items() if re.match(start, whole.start)), None)
    return whole if kind is None else _Unpacked(whole, kind)


def is_packed(stream: _Readable) -> bool:
    """Return whether a stream holds packed data; its beginning is read.

    >>> is_packed(io.BytesIO(gzip.compress(b"so long")))
    True
    """
    start = stream.read(TELLING)
    return any(re.match(beginning, start) for beginning in BEGINNINGS)


class _Rewound(io.RawIOBase):
    """A stream whose beginning has been looked at, and that counts what is read from it."""

    def __init__(self, stream: _Readable):
        self.start = stream.read(TELLING)
        self._ahead, self._stream, self.count = self.start, stream, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        ahead, self._ahead = self._ahead[:size], self._ahead[size:]
        data = ahead + self._stream.read(size - len(ahead))
        self.count += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Unpacked:
    """What packed data holds."""

    def __init__(self, whole: _Rewound, kind: str):
        if kind not in _OPENERS:
            raise PackedError("a zip archive, expected text; unpack it (unzip FILE)")
        self._whole, self._kind, self._count = whole, kind, 0
        self._stream = _OPENERS[kind](cast(BinaryIO, io.BufferedReader(whole)))

    def read(self, size: int, /) -> bytes:
        try:
            data = self._stream.read(size)
        except EOFError:
            raise PackedError(f"the {self._kind} data ends early; fetch the file again") from None
        except (OSError, lzma.LZMAError, zlib.error, ValueError) as error:
            raise PackedError(f"the {self._kind} data is damaged ({error}); fetch the file again") from None
        self._count += len(data)
        if self._count > max(FREE, RATIO * self._whole.count):
            raise PackedError(
                f"the {self._kind} data is more than {RATIO} times as large as its file, which text hardly is; "
                "unpack it by hand if it is what you want"
            )
        return cast(bytes, data)


class _EndToEnd:
    """What the streams of bzip2 or xz hold that lie end to end, as parallel packers and `cat` leave them.

    bz2.BZ2File and lzma.LZMAFile stop without a word at anything behind a stream that does not begin another.
    """

    def __init__(self, stream: BinaryIO, made: Callable[[], Any], padding: bytes = b""):
        self._stream, self._made, self._padding = stream, made, padding
        self._one, self._packed = made(), b""

    def read(self, size: int, /) -> bytes:
        while not self._one.eof or self._another():
            packed, self._packed = self._packed, b""
            if not packed and self._one.needs_input and not (packed := self._stream.read(PACKED_BLOCK)):
                raise EOFError
            if data := cast(bytes, self._one.decompress(packed, size)):
                return data
        return b""

    def _another(self) -> bool:
        """Begin the stream that follows, if there is one."""
        packed: bytes = self._one.unused_data.lstrip(self._padding)
        while not packed:
            if not (block := self._stream.read(PACKED_BLOCK)):
                return False
            packed = block.lstrip(self._padding)
        self._one, self._packed = self._made(), packed
        return True


class _Zstd:
    """What zstd frames hold, end to end."""

    def __init__(self, stream: BinaryIO):
        import zstandard

        self._frames, self._error = zstandard.ZstdDecompressor(), zstandard.ZstdError
        self._stream, self._frame, self._ahead, self._packed = stream, self._frames.decompressobj(), b"", b""

    def read(self, size: int, /) -> bytes:
        while not self._ahead and self._more():
            try:
                self._ahead = self._frame.decompress(self._packed)
            except self._error as error:
                raise ValueError(str(error)) from None
            self._packed = self._frame.unused_data
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data

    def _more(self) -> bool:
        """Return whether there is more to unpack, from this frame or from the next; EOFError if it is cut off."""
        begun = not self._frame.eof
        self._packed = self._packed or self._stream.read(ZSTD_BLOCK)
        if not self._packed:
            if begun:
                raise EOFError
            return False
        if not begun:
            self._frame = self._frames.decompressobj()
        return True


_OPENERS: dict[str, Callable[[BinaryIO], Any]] = {
    "gzip": lambda stream: gzip.GzipFile(fileobj=stream),
    "bzip2": lambda stream: _EndToEnd(stream, bz2.BZ2Decompressor),
    "xz": lambda stream: _EndToEnd(stream, lzma.LZMADecompressor, b"\0"),
    "zstd": _Zstd,
}
