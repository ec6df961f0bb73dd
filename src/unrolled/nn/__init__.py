"""Drop-in replacements for torch.nn's recurrent layers: same arguments, same checkpoints, same numbers, and more.

``RNN``, ``LSTM``, ``GRU`` and their one-step cells; ``swap`` puts them into a model that has torch's.
"""

from unrolled.nn import functional
from unrolled.nn.cells import GRUCell, LSTMCell, RecurrentCell, RNNCell
from unrolled.nn.dispatch import Backend, explain_backend
from unrolled.nn.init import init_
from unrolled.nn.layers import GRU, LSTM, RNN, PeepholeLSTM
from unrolled.nn.network import network_of, save
from unrolled.nn.network_module import NetworkModule, module_of
from unrolled.nn.recording import Trace
from unrolled.nn.recurrent_layer import RecurrentLayer
from unrolled.nn.stepper import Stepper
from unrolled.nn.swap import Recurrent, explain_swap, from_torch, swap

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Backend",
    "GRUCell",
    "LSTMCell",
    "NetworkModule",
    "PeepholeLSTM",
    "RNNCell",
    "Recurrent",
    "RecurrentCell",
    "RecurrentLayer",
    "Stepper",
    "Trace",
    "explain_backend",
    "explain_swap",
    "from_torch",
    "functional",
    "init_",
    "module_of",
    "network_of",
    "save",
    "swap",
]
