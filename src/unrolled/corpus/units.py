"""How many characters and bytes a symbol stands for, so that models of different kinds of symbol can be compared."""

from __future__ import annotations

from unrolled.corpus.splitting import Sequences
from unrolled.saved.tokenizers.base import REPLACEMENT
from unrolled.saved.vocabulary import Vocabulary

#: From this share of characters that are none, bytes are not taken for text.
NO_TEXT = 0.01


def per_symbol(vocabulary: Vocabulary, sequences: Sequences) -> dict[str, float]:
    """Return how many characters and bytes of text a symbol stands for on average, where that says more than symbols.

    EOS and UNK count as one character of one byte.

    Args:
        vocabulary: whose symbols they are.
        sequences: the symbols that are counted.

    Returns: by unit, "char" and "byte".  A unit is left out where it is the symbol itself, bytes where they are the
        characters, and both for a kind that is no text.

    >>> import numpy as np
    >>> vocabulary = Vocabulary(["fair", "rose"], "words")
    >>> per_symbol(vocabulary, Sequences(np.array([0, 1, 1, 2], np.uint8), np.array([0, 4])))
    {'char': 3.75}
    """
    if vocabulary.tokenizer.reads_lists:
        return {}
    text = "".join(map(vocabulary.text, sequences))
    symbols = len(sequences.ids)
    ends = int((sequences.ids == vocabulary.eos_id).sum())
    characters = (len(text) + ends) / symbols
    if vocabulary.tokenizer.reads_bytes:
        none = text.count(REPLACEMENT) > NO_TEXT * len(text)
        return {} if none or characters == 1 else {"char": characters}
    size = (len(text.replace(REPLACEMENT, "?").encode()) + ends) / symbols
    found = {"char": characters} | ({"byte": size} if size != characters else {})
    return {unit: each for unit, each in found.items() if each != 1}
