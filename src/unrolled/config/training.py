"""How a model is trained: optimiser, learning-rate schedule, batches, limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unrolled.config.checks import check_choices, check_integer, check_number


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained.

    Attributes:
        optimiser: Update rule.
        learning_rate: Learning rate, at its highest.
        momentum: Of sgd and rmsprop.
        weight_decay: Weight decay (decoupled in adamw).
        clip_norm: Gradient clipping: largest norm of the gradient; 0 does not clip.
        schedule: Learning-rate schedule after warm-up.
        warmup_steps: Steps of learning-rate warm-up, from zero.
        plateau_patience: Validations without progress before the plateau schedule lowers the learning rate.
        plateau_factor: What the plateau schedule multiplies the learning rate by.
        batch_size: Sequences per batch, or parallel parts of the stream.
        bptt: Time steps per batch of a stream (truncated BPTT): the state is carried on, gradients are not.
        accumulate: Batches whose gradients are summed for one step.
        max_steps: End after so many steps; 0 is no limit.
        max_epochs: End after so many passes over the training data; 0 is no limit.
        max_minutes: End after so many minutes; 0 is no limit.
        patience: Early stopping: validations without progress before training ends; 0 never stops early.
        validate_every: Steps between two validations.
        checkpoint_every: Steps between two checkpoints.
        log_every: Steps that one line of metrics.jsonl sums up.
        seed: Of the initial weights, the order of the data and dropout.
        tensorboard: Write a TensorBoard log too; needs the extra [track].
    """

    optimiser: Literal["adamw", "sgd", "rmsprop"] = "adamw"
    learning_rate: float = 2e-3
    momentum: float = 0.9
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    schedule: Literal["cosine", "plateau", "constant"] = "constant"
    warmup_steps: int = 0
    plateau_patience: int = 3
    plateau_factor: float = 0.5
    batch_size: int = 64
    bptt: int = 64
    accumulate: int = 1
    max_steps: int = 0
    max_epochs: int = 20
    max_minutes: float = 0.0
    patience: int = 0
    validate_every: int = 200
    checkpoint_every: int = 1000
    log_every: int = 10
    seed: int = 0
    tensorboard: bool = False

    def __post_init__(self) -> None:
        check_choices(self)
        check_number(self, "learning_rate", 0, open_ends="low")
        check_number(self, "momentum", 0, 1, open_ends="high")
        check_number(self, "weight_decay", 0)
        check_number(self, "clip_norm", 0)
        check_number(self, "plateau_factor", 0, 1, open_ends="low high")
        check_number(self, "max_minutes", 0)
        for name in ("warmup_steps", "max_steps", "max_epochs", "patience", "seed"):
            check_integer(self, name, 0)
        for name in ("batch_size", "bptt", "accumulate", "plateau_patience"):
            check_integer(self, name, 1)
        for name in ("validate_every", "checkpoint_every", "log_every"):
            check_integer(self, name, 1)
        if not (self.max_steps or self.max_epochs or self.max_minutes):
            raise ValueError("max_steps, max_epochs and max_minutes are all 0; give one, or training never ends")
        if self.schedule == "cosine" and not (self.max_steps or self.max_epochs):
            raise ValueError("schedule is 'cosine'; it needs max_steps or max_epochs to know where to end")


#: Fields that may change when a run is resumed; all others decide what the weights become.
LIMITS = frozenset({"max_steps", "max_epochs", "max_minutes", "patience", "checkpoint_every", "tensorboard"})
