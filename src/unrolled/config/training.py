"""How a model is trained: optimiser, learning-rate schedule, batches, limits."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from unrolled.config.checks import Count, NonNegative, Positive, PositiveInt, Precision, Seed, Share, check_fields
from unrolled.config.options import idle_of, option


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained.

    Attributes:
        optimiser: Update rule.
        learning_rate: Highest learning rate; the default suits adamw and rmsprop, and sgd needs about 1.
        momentum: Momentum of sgd and rmsprop.
        weight_decay: Weight decay (decoupled in adamw).
        clip_norm: Gradient clipping: largest norm of the gradient; 0 does not clip.
        schedule: Learning-rate schedule after warm-up; the cosine falls to zero at the end of the run.
        warmup_steps: Steps of learning-rate warm-up, from zero.
        plateau_patience: Validations without progress before the plateau schedule lowers the learning rate.
        plateau_factor: What the plateau schedule multiplies the learning rate by.
        batch_size: Sequences per batch, or parallel segments of the stream.
        bptt: Time steps per batch of a stream (truncated BPTT): the state is carried over, gradients are not.
        accumulate: Batches whose gradients are summed for one step; the last step of a pass may go on into the next.
        weigh: What counts equally in training: every batch, however few symbols it has, or every symbol, so that
            batches of short sequences count for less than those of long ones.
        softmax_samples: For a large vocabulary, how many symbols each training batch draws to compare its targets with;
            0 compares them with all V. Validation and the trained model always use all V.
        precision: Type that the layers and the head run in; bfloat16 is mixed precision: weights, optimiser, loss and
            checkpoints stay float32, and validation and the trained model read the float32 weights.
        max_steps: Stop after this many steps; 0 is no limit.
        max_epochs: Stop after this many passes over the training data; 0 is no limit.
        max_minutes: Stop after this many minutes; 0 is no limit.
        patience: Early stopping: validations without progress before training ends; 0 never stops early.
        validate_every: Steps between two validations.
        checkpoint_every: Steps between two checkpoints.
        log_every: Steps that each line of metrics.jsonl summarises.
        seed: Seed of the initial weights, the order of the data and dropout.
        tensorboard: Also write a TensorBoard log; needs the extra [track].
    """

    optimiser: Literal["adamw", "sgd", "rmsprop"] = "adamw"
    learning_rate: Positive = 2e-3
    momentum: Share = 0.9
    weight_decay: NonNegative = 0.0
    clip_norm: NonNegative = 1.0
    schedule: Literal["cosine", "plateau", "constant"] = "constant"
    warmup_steps: Count = 0
    plateau_patience: PositiveInt = 3
    plateau_factor: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    batch_size: PositiveInt = 64
    bptt: PositiveInt = 64
    accumulate: PositiveInt = 1
    weigh: Literal["batches", "symbols"] = "batches"
    softmax_samples: Count = 0
    precision: Precision = "float32"
    max_steps: Count = 0
    max_epochs: Count = 20
    max_minutes: NonNegative = 0.0
    patience: Count = 0
    validate_every: PositiveInt = 200
    checkpoint_every: PositiveInt = 1000
    log_every: PositiveInt = 10
    seed: Seed = 0
    tensorboard: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.optimiser == "sgd" and self.learning_rate == TrainingConfig.learning_rate:
            rate = option("learning_rate", 1.0)
            warnings.warn(f"sgd learns next to nothing at the default learning rate; try {rate}", stacklevel=3)
        if not (self.max_steps or self.max_epochs or self.max_minutes):
            steps, epochs, minutes = map(option, ("max_steps", "max_epochs", "max_minutes"))
            raise ValueError(f"{steps}, {epochs} and {minutes} are all 0; give one, or training never ends")

    def without_effect(self, *, stream: bool, validated: bool) -> dict[str, str]:
        """Return the options that are set and do nothing beside the others and the data, each with why.

        Args: whether the data is one stream, and whether some of it is held out for validation.

        >>> TrainingConfig(momentum=0.5, bptt=32).without_effect(stream=True, validated=True)
        {'momentum': 'adamw has none'}
        """
        idle: dict[str, str] = {}
        if self.optimiser == "adamw":
            idle["momentum"] = "adamw has none"
        if self.schedule != "plateau":
            idle["plateau_patience"] = idle["plateau_factor"] = f"only {option('schedule', 'plateau')} has one"
        if not stream:
            idle["bptt"] = "sequences are backpropagated through time in full"
        if not validated:
            none = f"there is no validation data; hold some out, with {option('validation', 0.05)}"
            idle |= dict.fromkeys(("validate_every", "patience"), none)
            idle |= {"schedule": none} if self.schedule == "plateau" else {}
        return idle_of(self, idle)


#: Numbers that training keeps for each parameter: itself, its gradient, two moments, its best value, and what the core
#: packs of it, about once; and while the model with the best ones is saved, the last value and what goes into the file.
KEPT = 8
#: Fields that say when a run ends; the cosine schedule ends there too.
ENDS = frozenset({"max_steps", "max_epochs", "max_minutes"})
#: Options of a model and its training that a run chooses, unless they are given (`unrolled.lm.recipe`).
CHOSEN = ENDS - {"max_steps"} | {
    *("cell", "embedding_size", "hidden_size", "dropout", "weight_dropout", "softmax_samples", "precision"),
    *("learning_rate", "weight_decay", "schedule", "warmup_steps", "batch_size", "bptt", "weigh"),
    *("validate_every", "checkpoint_every", "log_every"),
}
#: Fields that may change when a run is resumed; all others affect the weights.
LIMITS = ENDS | {"patience", "checkpoint_every", "tensorboard"}
