"""A symbol is any string; data is lists of them, or text in which white space separates them."""

from __future__ import annotations

from unrolled.saved.tokenizers.base import EOS, UNK, SpacedTokenizer


class Symbols(SpacedTokenizer):
    """Symbols of any alphabet; EOS and UNK in the data are the vocabulary's own.

    >>> Symbols().split("c4 e4  g4")
    ['c4', 'e4', 'g4']
    """

    kind = "symbols"
    reads_lists = True

    def split(self, text: str | bytes) -> list[str]:
        return self.text(text).split()

    def fault(self, symbol: str) -> str:
        return "is always there; leave it out" if symbol in (EOS, UNK) else ""
