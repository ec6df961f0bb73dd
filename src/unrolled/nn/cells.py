"""RNNCell, LSTMCell and GRUCell: the cells of torch.nn, argument for argument; a layer of one step.

A new kind of cell starts in notation.py, its equations in reference.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.fx import Proxy
from torch.nn.modules.rnn import RNNCellBase

from unrolled.core.fields import Weights
from unrolled.nn import checks, dispatch, fit
from unrolled.nn.layout import STEP
from unrolled.nn.modules import OwnNames, as_leaf, named, refuse_script, sharing_parameters
from unrolled.nn.reference import ZEROS, in_type
from unrolled.notation import gate_count, has_cell_state

#: Attributes of a cell, in the order of `Weights`.
NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class RecurrentCell(OwnNames, RNNCellBase):
    """What the three cells share."""

    #: torch's cell of the same name.
    stock: ClassVar[type[RNNCellBase]]
    kind: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, gate_count(self.kind), device=device, dtype=dtype)

    def forward(self, input: Tensor, hx: Any = None, *, reset: Tensor | None = None, reset_state: Any = None) -> Any:
        """Advance one step of time.

        Args:
            input: (B, I) or (I,), or one-hot indices, int64 (B,) or ().
            hx: h (B, H) or (H,), for LSTMCell a pair (h, c) of them; zeros if left out.
            reset: bool (B,) or (): the rows whose state returns to zeros before the step, or to `reset_state`.
            reset_state: another state for a reset to return to, shaped as hx.
        Returns: the new state, shaped as hx.
        Raises: what torch.nn raises, with its messages; ValueError or TypeError for what torch.nn lacks.
        """
        if isinstance(input, Proxy):  # type: ignore[unreachable]
            return as_leaf(self, input, hx, reset=reset, reset_state=reset_state)  # type: ignore[unreachable]
        weights = Weights(*named(self, NAMES))
        if reset is None and reset_state is None:
            after = dispatch.step(self.kind, input, hx, [weights], stacked=False)
            if after is not None:
                return after
        name, count = self.stock.__name__, 1 + has_cell_state(self.kind)
        states = () if hx is None else checks.states(name, hx, count)
        other = () if reset_state is None else checks.states(name, reset_state, count, "reset_state")
        finals = self._advance(input, states, weights, reset, other)
        return tuple(finals) if count == 2 else finals[0]

    def to_torch(self) -> RNNCellBase:
        """Return torch's own cell, sharing this cell's Parameters.

        >>> GRUCell(4, 6).to_torch()
        GRUCell(4, 6)
        """
        return sharing_parameters(self, self.stock)

    __prepare_scriptable__ = refuse_script

    def _advance(
        self, x: Tensor, states: Sequence[Tensor], weights: Weights, reset: Any, reset_states: Sequence[Tensor]
    ) -> list[Tensor]:
        """Check everything and return the states (B, H) one step later, without B if x has none."""
        name, W, layout = self.stock.__name__, weights.W_ih, STEP
        batched = checks.rank(name, x, lowest=1)
        checks.cell_state_ranks(name, states)
        fit.dense(x, states, [weights])
        autocast = dispatch.autocast_type(x)
        if reset_states:
            checks.has_reset(reset)
        if reset is not None:
            checks.resets(x, reset)
            checks.reset_states(reset_states, [(*reset.shape, self.hidden_size)] * 2, W, autocast is not None)
            layout = STEP._replace(reset=reset.reshape(1, -1))
        if not batched:
            x, states = x.unsqueeze(0), [s.unsqueeze(0) for s in states]
            reset_states = [s.unsqueeze(0) for s in reset_states]
        checks.cell(x, states, W, self.hidden_size, autocast is not None)
        narrow = dispatch.narrowed(self.stock, x, W)
        if dispatch.goes_to_torch(x, W) and not (checks.is_one_hot(x) or reset is not None):
            hx = tuple(states) if len(states) == 2 else (*states, None)[0]
            found = self.stock.forward(self, x, hx)
            after = list(found) if isinstance(found, tuple) else [found]
        else:
            if narrow == torch.bfloat16:
                fit.types(x, (), [weights], autocast=True)
                x, states, weights, reset_states = in_type((x, states, weights, reset_states), narrow)
            h_0, c_0 = _with_direction(states)
            to = _with_direction(reset_states) if reset_states else ZEROS
            x = x.unsqueeze(0)
            _, *finals, _ = dispatch.run(self.kind, layout, x, h_0, c_0, [weights], False, reset_state=to)
            after = [s.squeeze(0) for s in finals if s is not None]
        if not batched:
            after = [s.squeeze(0) for s in after]
        if narrow is not None:
            after = [s.to(narrow) for s in after]
        return after


def _with_direction(states: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    """Return h and c (B, H) as those of the one direction of a layer (1, B, H), None where there is none."""
    return (*(s.unsqueeze(0) for s in states), None, None)[:2]


class RNNCell(RecurrentCell):
    """One step of an Elman network: h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu instead of tanh.

    Args:
        input_size: I, features of the input.
        hidden_size: H, features of the state.
        bias: whether to add b_ih and b_hh.
        nonlinearity: "tanh" or "relu".
    Source: docs/notation.md, RNN.

    >>> RNNCell(4, 6)(torch.randn(3, 4)).shape
    torch.Size([3, 6])
    """

    stock = torch.nn.RNNCell
    nonlinearity: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        # Not RecurrentCell's, which asks for the kind: torch refuses an unknown nonlinearity only in `forward`.
        RNNCellBase.__init__(self, input_size, hidden_size, bias, gate_count("RNN_TANH"), device=device, dtype=dtype)
        self.nonlinearity = nonlinearity

    @property
    def kind(self) -> str:  # type: ignore[override]
        """The cell, as notation.py names it; RuntimeError for an unknown nonlinearity, as torch raises in `forward`."""
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return f"RNN_{self.nonlinearity.upper()}"


class LSTMCell(RecurrentCell):
    """One step of an LSTM: c' = f * c + i * g, h' = o * tanh(c'), gates stored in the order i f g o.

    Args:
        input_size: I, features of the input.
        hidden_size: H, features of the state.
        bias: whether to add b_ih and b_hh.
    Source: docs/notation.md, LSTM.

    >>> h, c = LSTMCell(4, 6)(torch.randn(3, 4))
    >>> h.shape, c.shape
    (torch.Size([3, 6]), torch.Size([3, 6]))
    """

    stock = torch.nn.LSTMCell
    kind = "LSTM"


class GRUCell(RecurrentCell):
    """One step of a GRU: h' = (1 - z) * n + z * h, gates stored in the order r z n, r after the product.

    Args:
        input_size: I, features of the input.
        hidden_size: H, features of the state.
        bias: whether to add b_ih and b_hh.
    Source: docs/notation.md, GRU.

    >>> GRUCell(4, 6)(torch.randn(3, 4)).shape
    torch.Size([3, 6])
    """

    stock = torch.nn.GRUCell
    kind = "GRU"
