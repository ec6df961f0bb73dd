"""A symbol is a byte, named by two hexadecimal digits; a text is read as UTF-8."""

from __future__ import annotations

import re

import numpy as np

from unrolled.saved.tokenizers.base import REPLACEMENT, ByteTokenizer, Codes, CodeTokenizer

_NAMES = [f"{byte:02x}" for byte in range(256)]


class Bytes(ByteTokenizer, CodeTokenizer):
    """Bytes; any file can be read, and what is written need not be UTF-8.

    >>> Bytes().split("é")
    ['c3', 'a9']
    """

    kind = "bytes"
    reads_bytes = True
    names_are_text = False
    limit = 256

    def split(self, text: str | bytes) -> list[str]:
        return [_NAMES[byte] for byte in _encoded(text)]

    def codes(self, text: str | bytes) -> Codes:
        return np.frombuffer(_encoded(text), np.uint8)

    def code(self, symbol: str) -> int:
        return int(symbol, 16)

    def symbol(self, code: int) -> str:
        return _NAMES[code]

    def fault(self, symbol: str) -> str:
        return "" if re.fullmatch("[0-9a-f]{2}", symbol) else "is not two lower-case hexadecimal digits"

    def bytes_of(self, symbol: str) -> bytes:
        return symbol.encode() if symbol == REPLACEMENT else bytes.fromhex(symbol)


def _encoded(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
