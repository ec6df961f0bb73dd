"""Two classes, one network: the same Parameters seen as torch's layer or as ours."""

from __future__ import annotations

from copy import copy
from typing import TypeVar

import torch
from torch.nn.utils import parametrize

_Module = TypeVar("_Module", bound=torch.nn.Module)


def twin(module: torch.nn.Module, cls: type[_Module]) -> _Module:
    """Return a module of another class that shares the Parameters, buffers, hooks and settings of this one.

    Args: a layer or cell of torch or of this package, and the class of the same name in the other.
    Raises: TypeError for a parametrized module, whose class is its own.

    >>> from unrolled.nn import LSTM
    >>> stock = torch.nn.LSTM(4, 6)
    >>> twin(stock, LSTM).weight_ih_l0 is stock.weight_ih_l0
    True
    """
    if parametrize.is_parametrized(module):
        raise TypeError(
            f"{type(module).__name__} is parametrized; bake the weights in first, "
            "with torch.nn.utils.parametrize.remove_parametrizations"
        )
    other = cls.__new__(cls)
    for key, value in module.__dict__.items():
        # The registries are copied: a hook or a parameter added to one is not added to the other.
        other.__dict__[key] = copy(value) if isinstance(value, (dict, list, set)) else value
    return other
