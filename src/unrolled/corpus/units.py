"""How many characters and bytes a symbol stands for, so that models of different kinds of symbol can be compared."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from unrolled.corpus.splitting import BLOCK, Sequences, blocks
from unrolled.saved.tokenizers.base import REPLACEMENT
from unrolled.saved.vocabulary import Vocabulary

#: From this share of characters that are none, bytes are not taken for text.
NO_TEXT = 0.01


def per_symbol(vocabulary: Vocabulary, sequences: Sequences) -> dict[str, float]:
    """Return how many characters and bytes a predicted symbol stands for on average, where that says more than symbols.

    All symbols but the first of each sequence are predicted.  EOS and UNK count as one character of one byte.

    Args:
        vocabulary: whose symbols they are.
        sequences: all that are measured.

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
    for first, whole in _texts(vocabulary, sequences):
        written += len(whole)
        none += whole.count(REPLACEMENT)
        characters += len(whole) - len(first)
        size += _bytes_of(whole) - _bytes_of(first)
    ends = sum(int((block == vocabulary.eos_id).sum()) for block in blocks(sequences.ids))
    ends -= int((sequences.ids[sequences.offsets[:-1]] == vocabulary.eos_id).sum())
    found = {"char": (characters + ends) / sequences.predicted}
    if not vocabulary.tokenizer.reads_bytes:
        found["byte"] = (size + ends) / sequences.predicted
    elif none > NO_TEXT * written:
        return {}
    if found.get("byte") == found["char"]:
        del found["byte"]
    return {unit: each for unit, each in found.items() if each != 1}


def _texts(vocabulary: Vocabulary, sequences: Sequences) -> Iterator[tuple[str, str]]:
    """Yield the text of symbols that are written one after the other, behind that of the first of them.

    A long sequence is cut, each part beginning with the last symbol of the one before.
    """
    reads_bytes = vocabulary.tokenizer.reads_bytes
    text = (lambda ids: vocabulary.decode_bytes(ids).decode("utf-8", "replace")) if reads_bytes else vocabulary.text
    of_one = cache(lambda k: text([k]))
    for ids in sequences:
        for start in range(0, len(ids) - 1, BLOCK):
            yield of_one(int(ids[start])), text(ids[start : start + BLOCK + 1])


def _bytes_of(text: str) -> int:
    return len(text.replace(REPLACEMENT, "?").encode())
