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
    return said + _apart(vocabulary, *texts)


def never_written(vocabulary: Vocabulary, text: str) -> str:
    """Return a sentence if a model of characters, bytes or symbols cannot write a text, "" if it may.

    >>> never_written(Vocabulary("ab", "symbols"), "aab"), never_written(Vocabulary("ab", "symbols"), "b a")
    ("the model never writes 'aab'; its symbols stand apart: did you mean 'a a b'?", '')
    """
    symbols, (first, *inner) = vocabulary.symbols, text.split(" ")
    tokenizer = vocabulary.tokenizer
    if tokenizer.open_ended or tokenizer.complete or any(" " in symbol for symbol in symbols if tokenizer.reads_lists):
        return ""
    if not tokenizer.reads_lists:  # a symbol for each character or byte
        can = vocabulary.unk_id not in vocabulary.encode(text)
    elif not inner:
        can = any(text in symbol for symbol in symbols)
    else:
        last = inner.pop()
        ends = any(s.endswith(first) for s in symbols) and any(s.startswith(last) for s in symbols)
        can = ends and {*inner} <= {*symbols}
    return "" if can else f"the model never writes {text!r}{_apart(vocabulary, text)}"


def _apart(vocabulary: Vocabulary, *texts: Text) -> str:
    """Return the end of a sentence that suggests texts with their symbols apart, "" if that would not help."""
    apart = [c for text in texts if not isinstance(text, bytes) for word in text for c in word if not c.isspace()]
    if not vocabulary.tokenizer.reads_lists or not {*apart} <= {*vocabulary.symbols}:
        return ""
    more = " ..." if len(apart) > SUGGESTED else ""
    return f"; its symbols stand apart: did you mean {' '.join(apart[:SUGGESTED]) + more!r}?"
