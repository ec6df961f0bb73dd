"""Recurrent layers that take the place of torch.nn's: same arguments, same checkpoints, same numbers, and more.

``RNN``, ``LSTM``, ``GRU`` and their one-step cells; ``swap`` puts them into a model that has torch's.
"""

from unrolled.nn.layers import GRU, LSTM, RNN, RecurrentLayer
from unrolled.nn.ops import Backend, explain_backend
from unrolled.nn.trace import Trace

__all__ = ["GRU", "LSTM", "RNN", "Backend", "RecurrentLayer", "Trace", "explain_backend"]
