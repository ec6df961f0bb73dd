"""The cost of each symbol of texts under a model, in bits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unrolled.core.sampling import Logits, log_softmax, log_softmax_at
from unrolled.saved.vocabulary import Ids, Text, Vocabulary

#: Most texts in a batch, and about how many logits are in memory at a time.
TEXTS, LOGITS = 256, 1 << 20


@dataclass(frozen=True)
class Score:
    """The cost of each symbol of one text.

    Attributes:
        pieces: The symbols as they are shown, (N,); EOS is the last if the model learned sequences.
        bits: -log2 p of each symbol given those before it, (N,); of the first, by how texts start.
        unknown: Number of symbols read as UNK.
    """

    pieces: tuple[str, ...]
    bits: NDArray[np.float64]
    unknown: int

    @property
    def total(self) -> float:
        """Bits of the whole text."""
        return float(self.bits.sum())

    @property
    def mean(self) -> float:
        """Bits per symbol."""
        return float(self.bits.mean())


class Reader(Protocol):
    """A model that reads whole texts."""

    vocabulary: Vocabulary
    framed: bool  # whether it learned sequences that end with EOS
    start: Logits  # (V,) log-probabilities of the first symbol

    def initial(self, B: int) -> Any:
        """Return the state of B rows that have read nothing."""

    def read_on(self, ids: NDArray[np.int64], state: Any, lengths: NDArray[np.int64]) -> tuple[Logits, Any]:
        """Read ids (T, B), `lengths` (B,) of each row; return the logits (T, B, V) after each, and the new state."""


def score_each(model: Reader, texts: Sequence[Text]) -> list[Score]:
    """Return the bits of each symbol of each text, and of the EOS after it if the model learned sequences.

    Raises: ValueError if a text holds no symbol.
    """
    vocabulary = model.vocabulary
    end = [vocabulary.eos_id] if model.framed else []
    encoded = [vocabulary.encode(text) for text in texts]
    if not all(map(len, encoded)):
        raise ValueError("the text to score is empty; give at least one symbol")
    scored = [np.append(ids, end).astype(np.int64) for ids in encoded]
    bits = _bits(model, scored)
    return [
        Score(
            (*vocabulary.tokenizer.aligned(vocabulary.split(text)), *([" EOS"] if end else [])),
            of_each,
            int(np.count_nonzero(ids == vocabulary.unk_id)),
        )
        for text, ids, of_each in zip(texts, encoded, bits, strict=True)
    ]


def _bits(model: Reader, texts: list[Ids]) -> list[NDArray[np.float64]]:
    """Return the bits of each symbol of texts of at least one."""
    bits = [np.empty(len(ids)) for ids in texts]
    of_first = log_softmax(model.start)
    by_length = sorted(range(len(texts)), key=lambda k: len(texts[k]))
    for first in range(0, len(by_length), TEXTS):
        batch = by_length[first : first + TEXTS]
        nats = _later_nats(model, [texts[k] for k in batch])
        for b, k in enumerate(batch):
            bits[k][0] = of_first[texts[k][0]]
            bits[k][1:] = nats[: len(texts[k]) - 1, b]
            bits[k] /= -math.log(2)
    return bits


def _later_nats(model: Reader, texts: list[Ids]) -> NDArray[np.float64]:
    """Return the log-probabilities (T, B) of all symbols but the first of each text, in nats."""
    lengths = np.array([len(ids) - 1 for ids in texts], np.int64)
    T, B = lengths.max(), len(texts)
    ids = np.zeros((T + 1, B), np.int64)
    for b, text in enumerate(texts):
        ids[: len(text), b] = text
    nats, state = np.empty((T, B)), model.initial(B)
    steps = max(1, LOGITS // (B * len(model.start)))
    for t in range(0, T, steps):
        read = ids[t : min(t + steps, T)]
        left = np.clip(lengths - t, 0, len(read))
        logits, state = model.read_on(read, state, left)
        here = np.arange(len(read))[:, None] < left
        nats[t : t + len(read)][here] = log_softmax_at(logits[here], ids[t + 1 : t + 1 + len(read)][here])
    return nats
