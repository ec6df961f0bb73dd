"""Whether a tensor's values can be read: under a tracer they are not there yet."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Buffer, Parameter

#: Types whose values lie where data_ptr says; other subclasses of Tensor may wrap or promise theirs.
PLAIN: frozenset[type] = frozenset({Tensor, Parameter, Buffer, type(None)})


def is_traced(*tensors: Tensor | None) -> bool:
    """Return whether tensors stand for values that are not there yet, or lie elsewhere.

    Only the registered operator (registered.py) computes with such tensors, and checks their values once there.

    >>> is_traced(torch.zeros(3), None)
    False
    """
    return (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or not PLAIN.issuperset(map(type, tensors))
    )
