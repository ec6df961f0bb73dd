"""A symbol is a word, a punctuation mark or a line end; a mark says at which of its sides no space stands.

A side without a space has a joiner, as the tokenizer of OpenNMT writes it: `(so, long!)` is read as `(￭`, `so`, `￭,`,
`long`, `￭!`, `￭)`.  Words have none, so one word is one symbol wherever it stands.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

from unrolled.saved.tokenizers.codes import codes_of
from unrolled.saved.tokenizers.words import Words

#: At a side of a mark where no space stands; in a text of its own it counts among the letters.
JOINER = "\N{HALFWIDTH BLACK SQUARE}"
#: What stands within a word between two characters of it, and between two digits.
WITHIN, WITHIN_NUMBER = r"'’\-‐‑", ".,"
#: Hidden characters that shape the letters beside them: soft hyphen, zero width non-joiner and joiner.
SHAPING = "\xad\u200c\u200d"
#: What follows a mark to form one sign with it, beside combining marks: colours of skin, and the letters of a flag.
MODIFIERS = r"\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f"
#: How often a mark may follow itself in one symbol, and signs be joined to one.
RUN, SIGNS = 3, 10

_CHUNK = re.compile(r"\n|\S+[^\S\n]?")


class WordsAndMarks(Words):
    """Words, punctuation marks and line ends; a text in which single spaces stand is written as it was.

    >>> WordsAndMarks().split('"Don\\'t," she said (twice)')
    ['"￭', "Don't", '￭,', '￭"', 'she', 'said', '(￭', 'twice', '￭)']
    """

    kind = "words-and-marks"
    spaces_first = True

    def split(self, text: str | bytes) -> list[str]:
        cut = _Cut()
        return [symbol for chunk in _CHUNK.findall(self.text(text)) for symbol in cut[chunk]]

    def listed(self, text: str) -> list[str]:
        return super().split(text)

    def sides(self, symbol: str) -> tuple[bool, str, bool]:
        return _sides(symbol)

    def joins(self, text: str) -> bool:
        last = self.split(text[self.cut(text) :])[-1:]
        return not last or self.sides(last[0])[2]


class _Cut(dict[str, list[str]]):
    """The symbols of a line end, and of what stands between white space, with the blank behind it."""

    def __missing__(self, chunk: str) -> list[str]:
        symbol, letter = _patterns()
        self[chunk] = symbols = []
        for found in symbol.finditer(chunk):
            if found["mark"] is None:
                symbols.append(found[0])
                continue
            joined, after = found.start() > 0, chunk[found.end() : found.end() + 1]
            # What opens something is the same where nothing follows yet, as at the end of a prompt.
            joins = letter.match(after) is not None if joined else not after.isspace()
            symbols.append(JOINER * joined + found[0] + JOINER * joins)
        return symbols


@lru_cache(1 << 16)
def _sides(symbol: str) -> tuple[bool, str, bool]:
    joined = len(symbol) > 1 and symbol[0] == JOINER
    mark = symbol[joined : joined + 1]
    if symbol in ("", "\n") or _patterns()[1].match(mark):
        return symbol in ("", "\n"), symbol, symbol == "\n"
    joins = len(symbol) > 1 + joined and symbol[-1] == JOINER
    return joined, symbol[joined : len(symbol) - joins], joins


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return the pattern of a symbol without its joiners, in which a mark is a group, and that of a letter."""
    letter = rf"_{JOINER}{SHAPING}{codes_of('LMN')}"
    inside = rf"(?<!{JOINER})[{WITHIN}](?!{JOINER})|(?<=\d)[{WITHIN_NUMBER}](?=\d)"
    sign = rf"[^\s{letter}][{MODIFIERS}{codes_of('M')}]*"
    flag = "[\U0001f1e6-\U0001f1ff]{2}"
    mark = rf"(?P<mark>(?P<one>{flag}|{sign}(?:\u200d{sign}){{0,{SIGNS - 1}}})(?P=one){{0,{RUN - 1}}})"
    return re.compile(rf"\n|[{letter}]+(?:(?:{inside})[{letter}]+)*|{mark}"), re.compile(f"[{letter}]")
