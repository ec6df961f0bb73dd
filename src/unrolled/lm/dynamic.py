"""Dynamic evaluation: a model that goes on learning from the text while it is measured on it.

What is predicted is always measured before it is learned from, so the bits are honest; but they are those of a model
that has read the text so far, and are not to be compared with those of a model whose weights stay.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import torch

from unrolled.config.training import TrainingConfig
from unrolled.lm.gradients import gradient_function
from unrolled.lm.loader import Batch
from unrolled.lm.model import SequenceModel, State
from unrolled.lm.optimisers import Optimiser

#: Learning rate of AdamW, and steps of a chunk.
LEARNING_RATE, CHUNK = 5e-4, 32


class DynamicModel:
    """A copy of a model that learns from each chunk after it was measured; the model itself stays as it is.

    Args:
        model: any model whose weights can be trained.
        learning_rate: of AdamW.

    Source: Krause, Kahembwe, Murray and Renals 2018, with AdamW in the place of their rule.
    """

    @torch.inference_mode(False)  # nothing could be learned from what is made in one
    def __init__(self, model: SequenceModel, learning_rate: float = LEARNING_RATE):
        self.model = deepcopy(model)
        self.model.config = replace(model.config, dropout=0.0, weight_dropout=0.0)
        self.model.rnn.dropout = 0.0
        self.learning_rate = learning_rate
        self.optimiser = Optimiser(self.model, TrainingConfig())
        self.add_gradients = gradient_function(self.model)

    @torch.inference_mode(False)
    @torch.enable_grad()
    def learn(self, batch: Batch, state: State | None) -> None:
        """Take one step on a chunk that began in this state."""
        self.add_gradients(self.model, batch, state)
        self.optimiser.step(batch.N, self.optimiser.gradient_norm(batch.N), self.learning_rate)
