"""The cost of each symbol of texts under a model, in bits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unrolled.core.sampling import Logits, log_softmax, log_softmax_at
from unrolled.saved.vocabulary import Ids, Text, Vocabulary

#: Most texts in a batch, and about how many logits are in memory at a time.
TEXTS, LOGITS = 256, 1 << 18


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
    encoded = [vocabulary.encode(text) for text in texts]
    if not all(map(len, encoded)):
        raise ValueError("the text to score is empty; give at least one symbol")
    end = (" EOS",) if model.framed else ()
    by_length = sorted(range(len(texts)), key=lambda k: len(encoded[k]))
    scores: dict[int, Score] = {}
    for first in range(0, len(texts), TEXTS):
        batch = by_length[first : first + TEXTS]
        for k, bits in zip(batch, _bits(model, [encoded[k] for k in batch]), strict=True):
            pieces = vocabulary.tokenizer.aligned(vocabulary.split(texts[k]))
            scores[k] = Score((*pieces, *end), bits, int(np.count_nonzero(encoded[k] == vocabulary.unk_id)))
    return [scores[k] for k in range(len(texts))]


def _bits(model: Reader, texts: list[Ids]) -> Iterator[NDArray[np.float64]]:
    """Yield the bits of each symbol of each text, and of EOS."""
    lengths = np.array(list(map(len, texts))) + model.framed
    T, B = lengths.max(), len(texts)
    ids = np.full((T, B), model.vocabulary.eos_id)
    for b, text in enumerate(texts):
        ids[: len(text), b] = text
    nats, state = np.empty((B, T)), model.initial(B)  # log-probabilities
    nats[:, 0] = log_softmax(model.start)[ids[0]]
    steps = max(1, LOGITS // (B * len(model.start)))
    for t in range(0, T - 1, steps):
        read = ids[t : min(t + steps, T - 1)]
        left = np.clip(lengths - 1 - t, 0, len(read))
        logits, state = model.read_on(read, state, left)
        here = np.arange(len(read))[:, None] < left
        after = slice(t + 1, t + 1 + len(read))
        nats.T[after][here] = log_softmax_at(logits[here], ids[after][here])
    nats /= -math.log(2)
    for of_text, n in zip(nats, lengths, strict=True):
        yield of_text[:n].copy()
