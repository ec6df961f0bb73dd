"""Layers as functions of explicit weights, for callers who hold or compute the weights themselves.

``layer`` unrolls one stacked layer; ``rnn_step``, ``lstm_step`` and ``gru_step`` are the equations of one step.

>>> from unrolled.nn import functional, LSTM
>>> import torch
>>> lstm, symbols = LSTM(4, 6), torch.tensor([[0], [3], [1]])
>>> weights = (lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_ih_l0, lstm.bias_hh_l0, None)
>>> y, h_n, c_n, _ = functional.layer("LSTM", symbols, None, None, [weights])
>>> torch.equal(y, lstm(symbols)[0])
True
"""

from unrolled.nn.dispatch import layer
from unrolled.nn.reference import gru_step, lstm_step, rnn_step

__all__ = ["gru_step", "layer", "lstm_step", "rnn_step"]
