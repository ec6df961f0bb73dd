"""The recurrent layers of a configuration."""

from __future__ import annotations

from typing import Any

from unrolled.config.model import ModelConfig
from unrolled.nn import GRU, LSTM, RNN


def recurrent_layers(config: ModelConfig, input_size: int) -> RNN | LSTM | GRU:
    """Return the recurrent layers of a configuration; they read input_size numbers or symbols.

    >>> recurrent_layers(ModelConfig(cell="gru", hidden_size=3), 5).weight_ih_l0.shape
    torch.Size([9, 5])
    """
    sizes = input_size, config.hidden_size, config.num_layers
    options: dict[str, Any] = {"checkpoint_steps": config.checkpoint_steps}
    if config.num_layers > 1:
        options["dropout"] = config.dropout
    if config.cell == "rnn":
        options["nonlinearity"] = config.nonlinearity
    layers: dict[str, type[RNN | LSTM | GRU]] = {"rnn": RNN, "lstm": LSTM, "gru": GRU}
    return layers[config.cell](*sizes, **options)
