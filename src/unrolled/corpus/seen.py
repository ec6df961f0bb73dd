"""Whether data that a model is measured on is data that it was trained on, for that would say little about new text."""

from __future__ import annotations

import numpy as np

from unrolled.corpus.splitting import Sequences

#: Places of a stream, and sequences, that are looked for; symbols of such a place.
PLACES, SEQUENCES, LONG = 16, 4096, 100
#: Symbols of training data in which they are looked for at most.
SEARCHED = 1 << 26


def share_seen(other: Sequences, train: Sequences) -> float:
    """Return the share of other data that training data holds too, by some places of a stream or some sequences.

    Args: the other data; the training data, of the same vocabulary.

    >>> ids = np.arange(200, dtype=np.uint8)
    >>> stream, half = Sequences(ids, np.array([0, 200])), Sequences(ids[:150], np.array([0, 150]))
    >>> share_seen(half, stream), share_seen(Sequences(ids[::-1].copy(), np.array([0, 200])), stream)
    (1.0, 0.0)
    """
    dtype = np.promote_types(other.ids.dtype, train.ids.dtype)
    if len(train) == 1:
        whole, [text] = np.asarray(train.ids[:SEARCHED], dtype).tobytes(), other
        starts = np.unique(np.linspace(0, max(0, len(text) - LONG), PLACES, dtype=np.int64))
        looked_for = [np.asarray(text[start : start + LONG], dtype).tobytes() for start in starts]
        found = sum(each in whole for each in looked_for)
    else:
        held, read = set[bytes](), 0
        for ids in train:
            held.add(np.asarray(ids, dtype).tobytes())
            read += len(ids)
            if read > SEARCHED:
                break
        looked_for = [np.asarray(ids, dtype).tobytes() for ids, _ in zip(other, range(SEQUENCES), strict=False)]
        found = sum(each in held for each in looked_for)
    return found / len(looked_for)
