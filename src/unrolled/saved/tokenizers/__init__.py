"""One tokenizer for each kind of symbol.  A new kind is a file here, its entry below and its word in config/data.py."""

from __future__ import annotations

from unrolled.config.checks import check_value
from unrolled.saved.tokenizers.base import Tokenizer
from unrolled.saved.tokenizers.bytes import Bytes
from unrolled.saved.tokenizers.characters import Characters
from unrolled.saved.tokenizers.pairs import BytePairs
from unrolled.saved.tokenizers.symbols import Symbols
from unrolled.saved.tokenizers.words import Words
from unrolled.saved.tokenizers.words_and_marks import WordsAndMarks

#: The tokenizers by kind; unrolled.config.data offers the same kinds.
TOKENIZERS: dict[str, Tokenizer] = {
    each.kind: each for each in (Symbols(), Characters(), Bytes(), Words(), WordsAndMarks(), BytePairs())
}


def tokenizer(kind: str) -> Tokenizer:
    """Return the tokenizer of a kind.

    Raises: ValueError naming every kind if there is no such kind.

    >>> tokenizer("words").split("so long lives this")
    ['so', 'long', 'lives', 'this']
    """
    check_value("kind", kind, str)
    if kind not in TOKENIZERS:
        raise ValueError(f"kind is {kind!r}, expected one of {', '.join(TOKENIZERS)}")
    return TOKENIZERS[kind]
