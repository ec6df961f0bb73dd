"""The network: its cell, its sizes and its options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unrolled.config.checks import CheckpointSteps, Count, PositiveInt, Share, check_checkpoint_steps, check_fields
from unrolled.config.options import option
from unrolled.notation import Kind

CellName = Literal["rnn", "lstm", "gru"]


@dataclass(frozen=True)
class ModelConfig:
    """The network: its cell, sizes and options.

    >>> ModelConfig(cell="gru", hidden_size=10).kind
    'GRU'

    Attributes:
        cell: Recurrent cell.
        hidden_size: Units H of each layer.
        num_layers: Stacked layers L.
        embedding_size: Width E of the learned embedding; 0 reads symbols one-hot.
        dropout: Share of each layer's outputs set to zero in training, also before the head.
        weight_dropout: Share of the recurrent weights set to zero for each training batch.
        nonlinearity: Activation of the rnn cell.
        tied: Share one matrix between embedding and head; needs an embedding as wide as the hidden state.
        learned_initial_state: Learn the state before the first symbol instead of starting from zero.
        checkpoint_steps: Recompute the gates of this many steps at a time in the backward pass instead of saving them:
            less memory, more time, the same bits.  "auto" takes about the square root of the steps of a batch.
    """

    cell: CellName = "lstm"
    hidden_size: PositiveInt = 256
    num_layers: PositiveInt = 1
    embedding_size: Count = 0
    dropout: Share = 0.0
    weight_dropout: Share = 0.0
    nonlinearity: Literal["tanh", "relu"] = "tanh"
    tied: bool = False
    learned_initial_state: bool = False
    checkpoint_steps: CheckpointSteps = None

    def __post_init__(self) -> None:
        check_fields(self)
        check_checkpoint_steps(self.checkpoint_steps)
        if self.nonlinearity != "tanh" and self.cell != "rnn":
            has = option("cell", "rnn")
            raise ValueError(f"{option('nonlinearity')} is {self.nonlinearity!r}; only {has} has one, not {self.cell}")
        if self.tied and self.embedding_size != self.hidden_size:
            raise ValueError(
                f"{option('tied')} shares the embedding with the head, so {option('embedding_size')} must equal "
                f"{option('hidden_size')}, which is {self.hidden_size}; it is {self.embedding_size}"
            )

    @property
    def kind(self) -> Kind:
        """The cell under its name in :mod:`unrolled.notation`."""
        rnn: Kind = "RNN_TANH" if self.nonlinearity == "tanh" else "RNN_RELU"
        kinds: dict[CellName, Kind] = {"rnn": rnn, "lstm": "LSTM", "gru": "GRU"}
        return kinds[self.cell]
