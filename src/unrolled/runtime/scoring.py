"""The cost of each symbol of a text under a model, in bits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unrolled.core.sampling import log_softmax
from unrolled.runtime.generation import TextStepper
from unrolled.saved.vocabulary import Text


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


def score(stepper: TextStepper, text: Text) -> Score:
    """Return the bits of each symbol of a text, and of the EOS after it if the model learned sequences.

    Raises: ValueError if the text holds no symbol.
    """
    vocabulary = stepper.vocabulary
    ids = vocabulary.encode(text)
    if not len(ids):
        raise ValueError("the text to score is empty; give at least one symbol")
    unknown = int(np.count_nonzero(ids == vocabulary.unk_id))
    pieces = vocabulary.tokenizer.aligned(vocabulary.split(text))
    if stepper.framed:
        ids, pieces = np.append(ids, vocabulary.eos_id), [*pieces, " EOS"]
    bits = np.empty(len(ids))
    state = stepper.initial(1)
    logits = stepper.start[None]  # (1, V)
    for t, symbol in enumerate(ids):
        bits[t] = -log_softmax(logits)[0, symbol] / math.log(2)
        if t + 1 < len(ids):
            logits, state = stepper.step(ids[t : t + 1], state)
    return Score(tuple(pieces), bits, unknown)
