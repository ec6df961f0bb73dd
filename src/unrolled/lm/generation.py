"""A torch model as a stepper for the writing and scoring of :mod:`unrolled.runtime.text`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.runtime.sampling import Logits

if TYPE_CHECKING:
    from unrolled.lm.model import SequenceModel, State


class TorchStepper:
    """Steps a SequenceModel one symbol at a time, without gradients; switch dropout off first."""

    def __init__(self, model: SequenceModel):
        self.model = model
        self.vocabulary, self.framed = model.vocabulary, model.framed
        self.eos_id, self.unk_id = model.vocabulary.eos_id, model.vocabulary.unk_id
        self.start: Logits = model.start.numpy()

    def initial(self, B: int) -> State:
        """Return the state of B rows that have read nothing."""
        return self.model.initial_state(B)

    @torch.inference_mode()
    def step(self, ids: NDArray[np.int64], state: State) -> tuple[Logits, State]:
        """Read ids (B,); return the logits (B, V) of what comes next, and the new state."""
        logits, after = self.model(torch.from_numpy(ids)[None], state)
        return logits[0].numpy(), after

    def select(self, state: State, rows: NDArray[np.intp]) -> State:
        """Return the state of these rows, in this order."""
        return tuple(s[:, rows] for s in state)
