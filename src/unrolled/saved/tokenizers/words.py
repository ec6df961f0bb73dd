"""A symbol is a word, which holds no white space; a line end is a word of its own."""

from __future__ import annotations

import re

from unrolled.saved.tokenizers.base import SpacedTokenizer

_WORD = re.compile(r"\n|\S+")


class Words(SpacedTokenizer):
    """Words and line ends; other white space separates words and is not kept.

    >>> Words().split("so  long" + chr(10) + "lives")
    ['so', 'long', '\\n', 'lives']
    """

    kind = "words"
    allows_nfc = True
    open_ended = True

    def split(self, text: str | bytes) -> list[str]:
        return _WORD.findall(self.text(text))

    def split_lines(self, text: str | bytes) -> list[str]:
        return self.split(text)

    def fault(self, symbol: str) -> str:
        return "" if _WORD.fullmatch(symbol) else "is not one word: it is empty or holds white space"
