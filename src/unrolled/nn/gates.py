"""The blocks of the equations as attributes of a layer: ``lstm.W_if`` is ``lstm.gate("W_if")``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from unrolled.notation import gate_parameters

_Layer = TypeVar("_Layer", bound=torch.nn.Module)


def with_gate_views(kind: str) -> Callable[[type[_Layer]], type[_Layer]]:
    """Give a class that has a `gate` method one property for each block of the equations of its cell.

    >>> from unrolled.nn import GRU
    >>> gru = GRU(3, 5)
    >>> gru.W_hz.data_ptr() == gru.weight_hh_l0[5:].data_ptr()
    True
    """

    def view(name: str) -> property:
        return property(lambda self: self.gate(name), doc=f"{name} of the first layer's forward direction, a view.")

    def decorate(cls: type[_Layer]) -> type[_Layer]:
        for name, _, _ in gate_parameters(kind):
            setattr(cls, name, view(name))
        return cls

    return decorate
