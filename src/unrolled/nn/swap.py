"""From torch's layers to these and back, over the same Parameters."""

from __future__ import annotations

import warnings
from typing import TypeVar

import torch
from torch.nn.modules.rnn import RNNCellBase

from unrolled.nn.cells import GRUCell, LSTMCell, RecurrentCell, RNNCell
from unrolled.nn.layers import GRU, LSTM, RNN
from unrolled.nn.modules import sharing_parameters
from unrolled.nn.recurrent_layer import RecurrentLayer

_Model = TypeVar("_Model", bound=torch.nn.Module)

_OURS: dict[type[torch.nn.Module], type[RecurrentLayer] | type[RecurrentCell]] = {
    cls.stock: cls for cls in (RNN, LSTM, GRU, RNNCell, LSTMCell, GRUCell)
}


def from_torch(module: torch.nn.Module) -> RecurrentLayer | RecurrentCell:
    """Return the layer or cell of this package that corresponds to one of torch's, sharing its Parameters.

    Args: an RNN, LSTM, GRU, RNNCell, LSTMCell or GRUCell of torch.nn; it stays as it is.
    Raises: TypeError for any other module, and for a parametrized one.

    >>> stock = torch.nn.GRU(4, 6)
    >>> gru = from_torch(stock)
    >>> type(gru).__module__, gru.weight_hh_l0 is stock.weight_hh_l0
    ('unrolled.nn.layers', True)
    """
    for stock, ours in _OURS.items():
        if type(module) is stock or torch.nn.utils.parametrize.type_before_parametrizations(module) is stock:
            return sharing_parameters(module, ours)
    expected = ", ".join(f"torch.nn.{stock.__name__}" for stock in _OURS)
    raise TypeError(f"from_torch expected one of {expected}, got {type(module).__qualname__}")


def swap(model: _Model) -> _Model:
    """Turn every recurrent layer and cell of torch.nn inside a model into this package's, in place.

    The objects stay the same: an optimiser, a hook or a list that holds one of them or its Parameters still does.

    Args: any module; it may itself be such a layer.
    Returns: the same module.
    Warns: UserWarning with the names of recurrent modules it had to leave: parametrized ones, and subclasses.

    >>> model = swap(torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.LSTM(4, 6)))
    >>> type(model[1]).__module__
    'unrolled.nn.layers'
    """
    left = []
    for name, module in model.named_modules():
        if type(module) in _OURS:
            module.__class__ = _OURS[type(module)]  # both classes keep the same attributes and nothing else
        elif isinstance(module, (torch.nn.RNNBase, RNNCellBase)) and not isinstance(
            module, (RecurrentLayer, RecurrentCell)
        ):
            left.append(f"{name or 'the model'} ({type(module).__name__})")
    if left:
        warnings.warn(
            f"swap left {', '.join(left)} as it is: only the classes of torch.nn themselves are swapped; "
            "remove parametrizations first, or use unrolled.nn in the subclass",
            stacklevel=2,
        )
    return model
