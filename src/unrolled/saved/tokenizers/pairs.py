"""A symbol is a run of bytes that often stand side by side: byte-pair encoding (BPE).

A byte is written as one visible character, as GPT-2 does: an ASCII letter is itself, a space is Ġ, a line end Ċ.  Text
is cut into pre-tokens: a word with the space before it, digits, punctuation, white space, a line end.  Within one, two
neighbours that together are a symbol are joined, the symbol of the lowest id first, until no two are.

Source: Sennrich, Haddow and Birch 2016, ACL, section 3; of bytes: Radford et al. 2019, section 2.2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from heapq import heapify, heappop, heappush
from itertools import pairwise
from pathlib import Path

from unrolled.config.options import option
from unrolled.saved.tokenizers.base import REPLACEMENT, ByteTokenizer
from unrolled.saved.tokenizers.codes import codes_of
from unrolled.saved.tokenizers.tokenizer_json import merges_in

#: V where nobody says another.
SIZE = 8000
#: Characters of a pre-token, and digits, at most.
LONGEST, DIGITS = 64, 3

#: The bytes that are written as the character of their own number.
_VISIBLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_HIDDEN = [byte for byte in range(256) if byte not in _VISIBLE]
#: The character of each byte, and the byte of each character.
_LETTERS = {byte: chr(byte) for byte in _VISIBLE} | {byte: chr(256 + k) for k, byte in enumerate(_HIDDEN)}
_BYTES = {ord(letter): chr(byte) for byte, letter in _LETTERS.items()}
#: The symbols that are always there, one for each byte.
ALPHABET = tuple(sorted(_LETTERS.values()))

#: Unicode's white space, without the line end.
_BLANK = r"\t\x0b-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
#: Halves of code points that stand for no byte.
_HALVES = re.compile("[\ud800-\udc7f\udd00-\udfff]")
#: Up to where a text can be divided: after a line end, or between a character and white space.
_DIVISIBLE = re.compile(rf"(?s:.*)(?:\n|[^{_BLANK}\n](?=[{_BLANK}\n]))")


class BytePairs(ByteTokenizer):
    """Runs of bytes; every text can be written in the symbols, and is read back to the byte.

    >>> BytePairs().split("so long lives")
    ['so', 'Ġlong', 'Ġlives']
    """

    kind = "bpe"
    allows_nfc = True
    complete = True
    names_are_text = False
    spaces_first = True

    def split(self, text: str | bytes) -> list[str]:
        letters = _Letters()
        return [letters[pretoken] for pretoken in _pattern().findall(self.text(text))]

    def text(self, text: str | bytes) -> str:
        """Return a text in which a byte that is not UTF-8 is a surrogate, as Python has it in the names of files."""
        if isinstance(text, bytes):
            return text.decode("utf-8", "surrogateescape")
        return text if text.isascii() else _HALVES.sub(_escaped, text)

    def cut(self, text: str) -> int:
        """Return the last position at which no pre-token is divided, whatever follows."""
        found = _DIVISIBLE.match(text)
        return found.end() if found else 0

    def learn(self, counts: Mapping[str, int], min_count: int, most: int | None = None) -> list[str]:
        most = SIZE - 2 if most is None else most
        _refuse_fewer_than_bytes(most)
        return _learned(counts, most, max(2, min_count))  # a pair that occurs once teaches nothing

    def read(self, path: str | Path, most: int | None = None, nfc: bool = False) -> list[str]:
        if most is not None:
            _refuse_fewer_than_bytes(most)
        symbols = dict.fromkeys(ALPHABET)
        symbols |= dict.fromkeys(first + second for first, second in merges_in(path, nfc))
        if foreign := next((symbol for symbol in symbols if self.fault(symbol)), ""):
            raise ValueError(f"{path}: its symbol {foreign!r} is not one of bytes; take a byte-level tokenizer")
        return [*symbols][:most]

    def segment(self, pretokens: Sequence[str], ids: Mapping[str, int]) -> Sequence[str]:
        known: dict[str, list[str]] = {}
        for pretoken in pretokens:
            if pretoken not in known:
                known[pretoken] = _joined(pretoken, ids)
        return [symbol for pretoken in pretokens for symbol in known[pretoken]]

    def fault(self, symbol: str) -> str:
        foreign = "".join(c for c in symbol if ord(c) not in _BYTES)
        return f"holds {foreign[0]!r}, which stands for no byte" if foreign else "" if symbol else "is empty"

    def bytes_of(self, symbol: str) -> bytes:
        return symbol.encode() if symbol == REPLACEMENT else symbol.translate(_BYTES).encode("latin-1")


def _escaped(half: re.Match[str]) -> str:
    """Return half a code point as the three bytes that UTF-8 would make of it, each a surrogate."""
    return half[0].encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")


class _Letters(dict[str, str]):
    """Pre-tokens of a text, with a letter for each byte."""

    def __missing__(self, pretoken: str) -> str:
        data = pretoken.encode("utf-8", "surrogateescape")
        self[pretoken] = letters = data.decode("latin-1").translate(_LETTERS)
        return letters


@cache
def _pattern() -> re.Pattern[str]:
    """Return the pattern of pre-tokens: GPT-2's, but a line end stands alone and a run has an end."""
    letter, number = codes_of("LM"), codes_of("N")  # letters with their marks
    return re.compile(
        rf"\n|'(?:[stmd]|re|ve|ll)| ?[{letter}]{{1,{LONGEST}}}| ?[{number}]{{1,{DIGITS}}}"
        rf"| ?[^{_BLANK}\n{letter}{number}]{{1,{LONGEST}}}"
        rf"|[{_BLANK}]{{1,{LONGEST}}}(?![^{_BLANK}\n])|[{_BLANK}]{{1,{LONGEST}}}"
    )


def _joined(pretoken: str, ids: Mapping[str, int]) -> list[str]:
    """Return the symbols of a pre-token; a byte that has no id stands alone."""
    parts, none = [*pretoken], len(ids)
    while len(parts) > 1:
        found = [ids.get(first + second, none) for first, second in pairwise(parts)]
        if (lowest := min(found)) == none:
            break
        k = found.index(lowest)
        parts[k : k + 2] = [parts[k] + parts[k + 1]]
    return parts


def _learned(counts: Mapping[str, int], most: int, least: int) -> list[str]:
    """Return the bytes and, in the order in which they are found, the pairs of symbols that occur most often.

    Args: how often each pre-token occurs; the number of symbols at most; how often the last pair must occur.
    """
    symbols = [*ALPHABET]
    id_of = {symbol: k for k, symbol in enumerate(symbols)}
    words, often = [[id_of[letter] for letter in pretoken] for pretoken in counts], [*counts.values()]
    pairs: dict[tuple[int, int], int] = {}
    places: dict[tuple[int, int], set[int]] = {}  # words that hold a pair, or did
    for k, word in enumerate(words):
        for pair in pairwise(word):
            pairs[pair] = pairs.get(pair, 0) + often[k]
            places.setdefault(pair, set()).add(k)
    queue = [(-count, pair) for pair, count in pairs.items()]
    heapify(queue)
    while queue and len(symbols) < most:
        before, pair = heappop(queue)
        count = pairs.get(pair, 0)
        if count < least:
            continue
        if count != -before:  # counted before another pair was joined
            heappush(queue, (-count, pair))
            continue
        name = symbols[pair[0]] + symbols[pair[1]]
        new = id_of.setdefault(name, len(symbols))
        symbols += [name] * (new == len(symbols))
        changed = set()
        for k in places.pop(pair):
            for each in pairwise(words[k]):
                pairs[each] -= often[k]
            words[k] = word = _with_pair(words[k], pair, new)
            for each in pairwise(word):
                pairs[each] = pairs.get(each, 0) + often[k]
                if new in each:
                    places.setdefault(each, set()).add(k)
                    changed.add(each)
        for each in changed:
            heappush(queue, (-pairs[each], each))
    return symbols


def _with_pair(word: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """Return a word in which a pair, from the left, is one symbol."""
    first, second = pair
    after, k, last = [], 0, len(word) - 1
    while k <= last:
        if word[k] == first and k < last and word[k + 1] == second:
            after.append(new)
            k += 2
        else:
            after.append(word[k])
            k += 1
    return after


def _refuse_fewer_than_bytes(most: int) -> None:
    if most < len(ALPHABET):
        least = len(ALPHABET) + 2
        raise ValueError(
            f"{option('vocabulary_size')} is {most + 2}; of {option('kind', 'bpe')} it must be {least} or more, for "
            "the 256 bytes, EOS and UNK"
        )
