"""What to say of symbols that a model does not know."""

from __future__ import annotations

import numpy as np

from unrolled.saved.vocabulary import Text, Vocabulary
from unrolled.words import counted

#: Symbols of the text that a suggestion repeats.
SUGGESTED = 20


def unknown_note(vocabulary: Vocabulary, *texts: Text) -> str:
    """Return a sentence on the symbols of texts that the vocabulary lacks, "" if it has them all.

    >>> unknown_note(Vocabulary("ab"), "aab")
    "the model does not know 1 of 1 symbol and reads it as UNK; its symbols stand apart: did you mean 'a a b'?"
    """
    encoded = [vocabulary.encode(text) for text in texts]
    unknown = sum(int(np.count_nonzero(ids == vocabulary.unk_id)) for ids in encoded)
    if not unknown:
        return ""
    them = "it" if unknown == 1 else "them"
    said = f"the model does not know {unknown:,} of {counted(sum(map(len, encoded)), 'symbol')} and reads {them} as UNK"
    apart = [c for text in texts if not isinstance(text, bytes) for word in text for c in word if not c.isspace()]
    if vocabulary.tokenizer.reads_lists and {*apart} <= {*vocabulary.symbols}:
        more = " ..." if len(apart) > SUGGESTED else ""
        said += f"; its symbols stand apart: did you mean {' '.join(apart[:SUGGESTED]) + more!r}?"
    return said
