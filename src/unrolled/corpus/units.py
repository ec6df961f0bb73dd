"""How many characters and bytes a symbol stands for, so that models of different kinds of symbol can be compared."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from unrolled.corpus.splitting import BLOCK, Sequences, blocks
from unrolled.saved.tokenizers.base import REPLACEMENT
from unrolled.saved.vocabulary import Vocabulary

#: From this share of characters that are none, bytes are not taken for text.
NO_TEXT = 0.01


def per_symbol(vocabulary: Vocabulary, sequences: Sequences, *, first: bool = False) -> dict[str, float]:
    """Return how many characters and bytes a predicted symbol stands for on average, where that says more than symbols.

    All symbols but the first of each sequence are predicted.  EOS and UNK count as one character of one byte.

    Args:
        vocabulary: whose symbols they are.
        sequences: all that are measured.
        first: count the first symbols too, which a compressor has to write.

    Returns: by unit, "char" and "byte".  A unit is left out where it is the symbol itself, bytes where they are the
        characters, and both for a kind that is no text.

    >>> import numpy as np
    >>> vocabulary = Vocabulary(["fair", "rose"], "words")
    >>> per_symbol(vocabulary, Sequences(np.array([0, 1, 1, 2], np.uint8), np.array([0, 4])))  # " rose rose" and EOS
    {'char': 3.6666666666666665}
    """
    if vocabulary.tokenizer.reads_lists or not sequences.predicted:
        return {}
    written = characters = size = none = 0
    for before, whole, is_first in _texts(vocabulary, sequences):
        written += len(whole)
        none += whole.count(REPLACEMENT)
        before = "" if first and is_first else before
        characters += len(whole) - len(before)
        size += _bytes_of(whole) - _bytes_of(before)
    ends = sum(int((block == vocabulary.eos_id).sum()) for block in blocks(sequences.ids))
    ends -= 0 if first else int((sequences.ids[sequences.offsets[:-1]] == vocabulary.eos_id).sum())
    symbols = len(sequences.ids) if first else sequences.predicted
    found = {"char": (characters + ends) / symbols}
    if not vocabulary.tokenizer.reads_bytes:
        found["byte"] = (size + ends) / symbols
    elif none > NO_TEXT * written:
        return {}
    if found.get("byte") == found["char"]:
        del found["byte"]
    return {unit: each for unit, each in found.items() if each != 1}


def _texts(vocabulary: Vocabulary, sequences: Sequences) -> Iterator[tuple[str, str, bool]]:
    """Yield the text of a symbol, that of it and those that follow, and whether it is the first of its sequence.

    A long sequence is cut, each part beginning with the last symbol of the one before.
    """
    reads_bytes = vocabulary.tokenizer.reads_bytes
    text = (lambda ids: vocabulary.decode_bytes(ids).decode("utf-8", "replace")) if reads_bytes else vocabulary.text
    of_one = cache(lambda k: text([k]))
    for ids in sequences:
        for start in range(0, len(ids) - 1, BLOCK):
            yield of_one(int(ids[start])), text(ids[start : start + BLOCK + 1]), start == 0


def _bytes_of(text: str) -> int:
    return len(text.replace(REPLACEMENT, "?").encode())
