"""How the weights are found: optimiser, schedule, batches, limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unrolled.config.checks import check_choices, check_integer, check_number


@dataclass(frozen=True)
class TrainingConfig:
    """How the weights are found.

    Attributes:
        optimiser: Rule that turns gradients into steps.
        learning_rate: Step size at the top of the schedule.
        momentum: Of sgd and rmsprop.
        weight_decay: Pull of every weight towards zero (decoupled in adamw).
        clip_norm: Largest norm a gradient may have; 0 lets it be any size.
        schedule: Course of the learning rate after warm-up.
        warmup_steps: Steps over which the learning rate rises from zero.
        plateau_patience: Validations without progress before the plateau schedule cuts the rate.
        plateau_factor: What the plateau schedule multiplies the rate by.
        batch_size: Sequences a batch, or lanes of the stream.
        bptt: Time steps a chunk of the stream; gradients stop at its start, the state does not.
        accumulate: Batches whose gradients are added up for one step.
        max_steps: End after so many steps; 0 is no limit.
        max_epochs: End after so many passes over the training data; 0 is no limit.
        max_minutes: End after so many minutes; 0 is no limit.
        patience: Validations without progress before training ends early; 0 never does.
        validate_every: Steps between two validations.
        checkpoint_every: Steps between two checkpoints that a crash can fall back to.
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


#: Limits that may differ between a run and its continuation; everything else decides what the weights become.
LIMITS = frozenset({"max_steps", "max_epochs", "max_minutes", "patience", "checkpoint_every", "tensorboard"})
