"""RNN, LSTM and GRU: the layers of torch.nn, argument for argument, and what torch.nn lacks."""

from __future__ import annotations

from functools import wraps
from typing import Any

import torch

from unrolled.config.checks import CheckpointSteps
from unrolled.nn import checks
from unrolled.nn.modules import with_gate_views
from unrolled.nn.recurrent_layer import RecurrentLayer
from unrolled.notation import stored_name


@with_gate_views("RNN_TANH")
class RNN(RecurrentLayer):
    """Elman network, h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), or relu instead of tanh.

    Args:
        input_size: I, features of the input.
        hidden_size: H, features of the state.
        num_layers: L, layers stacked, each reading the output of the one below.
        nonlinearity: "tanh" or "relu".
        bias: whether to add b_ih and b_hh.
        batch_first: input and output are (B, T, I) instead of (T, B, I); states are not affected.
        dropout: probability of zeroing an output of every layer but the last, in training.
        bidirectional: whether a second direction runs from the end to the start; D = 2.
        checkpoint_steps: as for LSTM; an RNN saves no gates, so it changes nothing here.
    Raises: TypeError, ValueError as torch.nn.RNN.
    Source: docs/notation.md, RNN; Elman, "Finding structure in time", 1990.

    >>> y, h_n = RNN(4, 6, nonlinearity="relu")(torch.randn(5, 3, 4))
    >>> y.shape, h_n.shape
    (torch.Size([5, 3, 6]), torch.Size([1, 3, 6]))
    """

    stock = torch.nn.RNN
    nonlinearity: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: None = None,
        *,
        device: Any = None,
        dtype: torch.dtype | None = None,
        checkpoint_steps: CheckpointSteps = None,
    ) -> None:
        checks.no_projection(proj_size)
        # torch sets this before Module.__init__, which is why it must not be a tensor or a module.
        self.nonlinearity = nonlinearity
        kind = checks.nonlinearity_kind(nonlinearity)
        shape = (input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__(kind, *shape, device=device, dtype=dtype, checkpoint_steps=checkpoint_steps)


@with_gate_views("LSTM")
class LSTM(RecurrentLayer):
    """Long short-term memory: c_t = f * c_{t-1} + i * g, h_t = o * tanh(c_t), gates stored in the order i f g o.

    Args:
        input_size: I, features of the input.
        hidden_size: H, features of the cell state.
        num_layers: L, layers stacked, each reading the output of the one below.
        bias: whether to add b_ih and b_hh.
        batch_first: input and output are (B, T, I) instead of (T, B, I); states are not affected.
        dropout: probability of zeroing an output of every layer but the last, in training.
        bidirectional: whether a second direction runs from the end to the start; D = 2.
        proj_size: P, to which W_hr projects the output and the hidden state; 0 for none.
        checkpoint_steps: save no gates for the backward pass, but recompute those of so many steps at a time:
            less memory, more time, the same bits.  "auto" takes about sqrt(T) steps.
    Raises: TypeError, ValueError as torch.nn.LSTM.
    Source: docs/notation.md, LSTM; Hochreiter and Schmidhuber 1997; Gers et al. 2000; projection: Sak et al. 2014.

    >>> y, (h_n, c_n) = LSTM(4, 6, proj_size=2)(torch.randn(5, 3, 4))
    >>> y.shape, h_n.shape, c_n.shape
    (torch.Size([5, 3, 2]), torch.Size([1, 3, 2]), torch.Size([1, 3, 6]))
    """

    stock = torch.nn.LSTM
    # What callers of torch's know: for two states, where RNNBase has them for one.
    check_forward_args = torch.nn.LSTM.check_forward_args  # type: ignore[assignment]
    get_expected_cell_size = torch.nn.LSTM.get_expected_cell_size
    permute_hidden = torch.nn.LSTM.permute_hidden  # type: ignore[assignment]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        checkpoint_steps: CheckpointSteps = None,
    ) -> None:
        shape = (input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size)
        super().__init__("LSTM", *shape, device=device, dtype=dtype, checkpoint_steps=checkpoint_steps)


@with_gate_views("GRU")
class GRU(RecurrentLayer):
    """Gated recurrent unit: h_t = (1 - z) * n + z * h_{t-1}, gates stored in the order r z n, r after the product.

    Args:
        input_size: I, features of the input.
        hidden_size: H, features of the state.
        num_layers: L, layers stacked, each reading the output of the one below.
        bias: whether to add b_ih and b_hh.
        batch_first: input and output are (B, T, I) instead of (T, B, I); states are not affected.
        dropout: probability of zeroing an output of every layer but the last, in training.
        bidirectional: whether a second direction runs from the end to the start; D = 2.
        checkpoint_steps: save no gates for the backward pass, but recompute those of so many steps at a time:
            less memory, more time, the same bits.  "auto" takes about sqrt(T) steps.
    Raises: TypeError, ValueError as torch.nn.GRU.
    Source: docs/notation.md, GRU; Cho et al. 2014, in the first form of the paper (v1).

    >>> y, h_n = GRU(4, 6, bidirectional=True)(torch.randn(5, 3, 4))
    >>> y.shape, h_n.shape
    (torch.Size([5, 3, 12]), torch.Size([2, 3, 6]))
    """

    stock = torch.nn.GRU

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: None = None,
        *,
        device: Any = None,
        dtype: torch.dtype | None = None,
        checkpoint_steps: CheckpointSteps = None,
    ) -> None:
        checks.no_projection(proj_size)
        shape = (input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__("GRU", *shape, device=device, dtype=dtype, checkpoint_steps=checkpoint_steps)


@with_gate_views("LSTM_PEEPHOLE")
class PeepholeLSTM(LSTM):
    """LSTM whose gates also see the cell state: i and f see c_{t-1}, o sees c_t, each unit its own.

    It also stores ``peephole_l0`` (3*H), the vectors p_i, p_f, p_o; if they are zeros, it is an LSTM.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, checkpoint_steps: as
            for LSTM.
    Raises: TypeError, ValueError as torch.nn.LSTM.
    Source: docs/notation.md, peepholes; Gers and Schmidhuber 2000; Gers, Schraudolph and Schmidhuber 2002.

    >>> lstm = PeepholeLSTM(4, 6)
    >>> y, (h_n, c_n) = lstm(torch.randn(5, 3, 4))
    >>> y.shape, lstm.peephole_l0.shape, lstm.p_f.shape
    (torch.Size([5, 3, 6]), torch.Size([18]), torch.Size([6]))
    """

    beyond_torch = True

    # help() and torch.nn.utils.skip_init look at the names of its parameters.
    @wraps(LSTM.__init__, assigned=())  # type: ignore[misc]
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.mode, like = "LSTM_PEEPHOLE", self.get_parameter("weight_hh_l0")
        for k, names in enumerate(self._all_weights):
            name = stored_name("p", *((k // 2, k % 2 == 1) if self.bidirectional else (k, False)))
            self.register_parameter(name, torch.nn.Parameter(like.new_empty(3 * self.hidden_size)))
            names.append(name)
        self.reset_parameters()

    def flatten_parameters(self) -> None:
        """Do nothing: cuDNN, which wants the weights in one piece, has no peepholes."""
