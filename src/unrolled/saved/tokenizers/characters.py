"""A symbol is a Unicode code point."""

from __future__ import annotations

import sys

import numpy as np

from unrolled.saved.tokenizers.base import Codes, CodeTokenizer


class Characters(CodeTokenizer):
    """Code points, lone surrogates included.

    >>> Characters().codes("ab").tolist()
    [97, 98]
    """

    kind = "characters"
    allows_nfc = True
    limit = sys.maxunicode + 1

    def split(self, text: str | bytes) -> list[str]:
        return list(self.text(text))

    def codes(self, text: str | bytes) -> Codes:
        return np.frombuffer(self.text(text).encode("utf-32-le", "surrogatepass"), dtype="<u4")

    def code(self, symbol: str) -> int:
        return ord(symbol)

    def symbol(self, code: int) -> str:
        return chr(code)

    def fault(self, symbol: str) -> str:
        if len(symbol) == 1:
            return ""
        return f"has {len(symbol)} code points, expected 1; use kind='symbols' or 'words'"
