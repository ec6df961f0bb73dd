"""Hyperparameters of the laboratory, checked on creation.

No torch and no numpy here: `unrolled --help` imports this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from unrolled.config.checks import LARGE, Count, NonNegative, Positive, PositiveInt, Seed, check_fields
from unrolled.config.lengths import read as read_sizes
from unrolled.config.model import CellName, ModelConfig
from unrolled.config.options import idle_of, option
from unrolled.notation import has_cell_state

Loss = Literal["softmax", "sets", "squared"]


@dataclass(frozen=True)
class LabConfig:
    """How models are trained in the laboratory; the defaults are those of docs/laboratory.md.

    >>> LabConfig(cell="gru", units=4).model().kind
    'GRU'
    >>> LabConfig(gain=0.5)
    Traceback (most recent call last):
        ...
    ValueError: gain is 0.5; it must be a number in [1, 1e+09]

    Attributes:
        cell: Recurrent cell.
        units: Hidden units H.
        nonlinearity: Activation of the rnn cell.
        seeds: Number of models, trained together, each from its own seed.
        first_seed: Seed of the first model; the others follow.
        lengths: Sizes of the training strings, such as uniform:1-50, short:1-50, geometric:0.3 or list:1,2,5.
        samples: Training strings of each model, drawn from its own seed.
        loss: softmax: cross-entropy of the next symbol; sets: binary cross-entropy of each legal one; squared: squared
            error of the same.
        steps: Optimiser steps.
        batch_size: Strings per step; 0 takes all samples in every step.
        optimiser: One of those in unrolled.lab.optimisers: adam or rmsprop.
        learning_rate: Highest learning rate.
        schedule: cosine, with warm-up over the first tenth and a last value of a hundredth, or constant.
        clip_norm: Largest norm of a model's gradient; 0 does not clip.
        weight_decay: Decoupled weight decay.
        gain: Factor by which the weights of the gates grow over the second half of training, so that gates saturate.
        weight_noise: Standard deviation of the noise on every weight at each step.
        cell_noise: Standard deviation of the noise on the LSTM's cell state, added every 8 symbols.
        curriculum: Share of the steps over which the strings grow from the shortest to the longest.
        average: Share of the steps, at the end, whose weights are averaged; 0 keeps the last weights.
        choose_up_to: Largest size for checkpoint selection, at most twice that of training; 0 keeps the last weights.
        forget_bias: Initial value of the LSTM's b_if.
        initial_scale: Factor on all initial weights.
    """

    cell: CellName = "lstm"
    units: PositiveInt = 3
    nonlinearity: Literal["tanh", "relu"] = "tanh"
    seeds: PositiveInt = 10
    first_seed: Seed = 0
    lengths: str = "uniform:1-50"
    samples: PositiveInt = 1000
    loss: Loss = "softmax"
    steps: PositiveInt = 10_000
    batch_size: Count = 1
    optimiser: str = "adam"
    learning_rate: Positive = 0.03
    schedule: Literal["cosine", "constant"] = "cosine"
    clip_norm: NonNegative = 1.0
    weight_decay: NonNegative = 0.0
    gain: Annotated[float, Meta(ge=1, le=LARGE)] = 20.0
    weight_noise: NonNegative = 0.0
    cell_noise: NonNegative = 0.0
    curriculum: Annotated[float, Meta(ge=0, le=1)] = 0.0
    average: Annotated[float, Meta(ge=0, le=1)] = 0.0
    choose_up_to: Count = 0
    forget_bias: Annotated[float, Meta(ge=-100, le=100)] = 1.0
    initial_scale: Positive = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        kind = self.model().kind
        if self.cell_noise and not has_cell_state(kind):
            raise ValueError(
                f"{option('cell_noise')} is {self.cell_noise:g}; it must be 0, for {self.cell} has no cell state"
            )
        if self.batch_size > self.samples:
            raise ValueError(
                f"{option('batch_size')} is {self.batch_size}; a model has {option('samples', self.samples)}, and 0 "
                "takes them all in every step"
            )
        longest = max(read_sizes(self.lengths))
        if self.choose_up_to and not longest < self.choose_up_to <= 2 * longest:
            raise ValueError(
                f"{option('choose_up_to')} is {self.choose_up_to}; it must be 0, or a size from {longest + 1} to "
                f"{2 * longest}: beyond the longest of training, and at most twice as long"
            )

    def without_effect(self, from_golden: bool) -> dict[str, str]:
        """Return the options that are set and do nothing beside the others, each with why.

        Args: whether the models start from exact weights that are set by hand.

        >>> LabConfig(cell="gru", forget_bias=0.0).without_effect(from_golden=False)
        {'forget_bias': 'gru has no forget gate'}
        """
        idle: dict[str, str] = {}
        if from_golden:
            idle = dict.fromkeys(("units", "forget_bias", "initial_scale"), "exact weights are set by hand")
            idle |= dict.fromkeys(
                ("loss", "choose_up_to"), "exact weights are trained with softmax, and the last are kept"
            )
        elif not has_cell_state(self.model().kind):
            idle["forget_bias"] = f"{self.cell} has no forget gate"
        return idle_of(self, idle)

    def model(self) -> ModelConfig:
        """Return the configuration of each model.

        Raises: ValueError if the cell has no such nonlinearity.
        """
        return ModelConfig(cell=self.cell, hidden_size=self.units, nonlinearity=self.nonlinearity)

    @property
    def rows(self) -> int:
        """Strings of each model in a batch."""
        return self.batch_size or self.samples


def check_one_hot(config: ModelConfig) -> None:
    """Refuse a model that does not read its symbols one-hot from a state of zeros.

    Raises: ValueError naming the option.

    >>> check_one_hot(ModelConfig(hidden_size=8, embedding_size=8))
    Traceback (most recent call last):
        ...
    ValueError: embedding_size is 8; the laboratory reads symbols one-hot, so it must be 0
    """
    if config.embedding_size:
        raise ValueError(
            f"embedding_size is {config.embedding_size}; the laboratory reads symbols one-hot, so it must be 0"
        )
    if config.learned_initial_state:
        raise ValueError("learned_initial_state is on; the laboratory starts from zeros, so it must be off")
