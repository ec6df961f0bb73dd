"""Text in, text out: writing and scoring with any model that can step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from unrolled.lm.vocabulary import Vocabulary
from unrolled.runtime.config import GenerationConfig
from unrolled.runtime.generation import Stepper, generate, stream
from unrolled.runtime.sampling import log_softmax

#: A text, or a list of symbols.
Text = str | Sequence[str]


class TextStepper(Stepper, Protocol):
    """A stepper that knows its symbols, and whether it learned sequences that end with EOS."""

    vocabulary: Vocabulary
    framed: bool


@dataclass(frozen=True)
class Score:
    """What each symbol of one text costs.

    Attributes:
        pieces: The symbols as they are shown, N of them; EOS is the last if the model learned sequences.
        bits: -log2 p of each symbol given those before it, (N,); the first is measured against how texts start.
        unknown: How many symbols were read as UNK.
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


def write(stepper: TextStepper, prompts: Sequence[Text], config: GenerationConfig) -> list[str]:
    """Return what follows each prompt, without EOS."""
    vocabulary = stepper.vocabulary
    written = generate(stepper, [vocabulary.encode(prompt) for prompt in prompts], config)
    return [vocabulary.text(ids[ids != vocabulary.eos_id]) for ids in written]


def write_on(stepper: TextStepper, prompt: Text, config: GenerationConfig) -> Iterator[str]:
    """Yield what follows a prompt piece by piece, as it is written; an EOS yields nothing.

    Raises: ValueError for the beam strategy, which knows its text only at the end.
    """
    vocabulary = stepper.vocabulary
    if config.strategy == "beam":
        raise ValueError("strategy 'beam' cannot stream: it knows its text only at the end; use generate")
    steps = stream(stepper, [vocabulary.encode(prompt)], config)
    return vocabulary.pieces(int(ids[0]) for ids in steps if ids[0] != vocabulary.eos_id)


def score(stepper: TextStepper, text: Text) -> Score:
    """Return what each symbol of a text costs, in bits; a model of sequences charges for the EOS after it too.

    Raises: ValueError if the text holds no symbol.
    """
    vocabulary = stepper.vocabulary
    ids = vocabulary.encode(text)
    if not len(ids):
        raise ValueError("the text to score is empty; give at least one symbol")
    unknown = int(np.count_nonzero(ids == vocabulary.unk_id))
    pieces = list(vocabulary.pieces(ids.tolist()))
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
