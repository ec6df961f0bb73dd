"""The cost of each symbol of texts under a model, in bits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unrolled.core.sampling import Logits, log_softmax, log_softmax_at
from unrolled.saved.vocabulary import Ids, Text, Vocabulary, listed

#: Most texts in a batch, and places in it, unless it is one text; about how many logits are in memory at a time.
TEXTS, PLACES, LOGITS = 256, 1 << 20, 1 << 18


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
    vocabulary, texts = model.vocabulary, listed(texts)
    encoded = vocabulary.encode_each(texts)
    if not all(map(len, encoded)):
        which = f"text {[*map(len, encoded)].index(0) + 1:,} of {len(encoded):,}" if len(encoded) > 1 else "the text"
        raise ValueError(f"{which} to score is empty; give at least one symbol")
    if not encoded:
        return []
    starts = np.cumsum([0, *map(len, encoded[:-1])])
    unknown = np.add.reduceat(np.concatenate(encoded) == vocabulary.unk_id, starts, dtype=np.int64).tolist()
    end = (" EOS",) if model.framed else ()
    pieces = ((*vocabulary.tokenizer.aligned(vocabulary.split(text)), *end) for text in texts)
    return [*map(Score, pieces, bits_of_each(model, encoded), unknown)]


def bits_of_each(model: Reader, texts: Sequence[Ids]) -> list[NDArray[np.float64]]:
    """Return the bits of each symbol of each text, ids (N,), and of the EOS after it if the model learned sequences."""
    bits: dict[int, NDArray[np.float64]] = {}
    for batch in _batches([*map(len, texts)]):
        bits |= zip(batch, _bits(model, [texts[k] for k in batch]), strict=True)
    return [bits[k] for k in range(len(texts))]


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the numbers of texts of nearly equal length; a long one, to which short ones would be filled up, is alone.

    >>> [*_batches([1, PLACES, 2])]
    [[0, 2], [1]]
    """
    batch: list[int] = []
    for k in sorted(range(len(lengths)), key=lengths.__getitem__):
        if len(batch) == TEXTS or (batch and (len(batch) + 1) * lengths[k] > PLACES):
            yield batch
            batch = []
        batch.append(k)
    if batch:
        yield batch


def _bits(model: Reader, texts: list[Ids]) -> Iterator[NDArray[np.float64]]:
    """Yield the bits of each symbol of each text, and of EOS."""
    symbols = np.array(list(map(len, texts)))
    lengths = symbols + model.framed
    T, B = lengths.max(), len(texts)
    of_text = np.full((B, T), model.vocabulary.eos_id)
    of_text[np.arange(T) < symbols[:, None]] = np.concatenate(texts)
    ids = np.ascontiguousarray(of_text.T)
    nats, state = np.empty((T, B)), model.initial(B)  # log-probabilities
    nats[0] = log_softmax(model.start)[ids[0]]
    steps = max(1, LOGITS // (B * len(model.start)))
    for t in range(0, T - 1, steps):
        end = min(t + steps, T - 1)
        logits, state = model.read_on(ids[t:end], state, np.clip(lengths - 1 - t, 0, end - t))
        nats[t + 1 : end + 1] = log_softmax_at(logits, ids[t + 1 : end + 1])
    bits = nats.T / -math.log(2)
    for row, n in zip(bits, lengths.tolist(), strict=True):
        yield row[:n]
