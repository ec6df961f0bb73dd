"""Whether a tensor's values can be read: a tracer's tensors have none yet."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Buffer, Parameter

#: Types whose values lie where data_ptr says; other subclasses of Tensor may wrap tensors or have no values yet.
PLAIN: frozenset[type] = frozenset({Tensor, Parameter, Buffer, type(None)})


def is_traced(*tensors: Tensor | None) -> bool:
    """Return whether any tensor has no values yet, or has them elsewhere than plain tensors.

    Only the registered operator (autograd/compiled.py) computes with such tensors; it checks their values when it runs.

    >>> is_traced(torch.zeros(3), None)
    False
    """
    return (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or not PLAIN.issuperset(map(type, tensors))
    )


def has_values(*tensors: Tensor | None) -> bool:
    """Return whether the values of all tensors can be read now: not traced, not inside torch.func, not on meta.

    >>> has_values(torch.zeros(3)), has_values(torch.zeros(3, device="meta"))
    (True, False)
    """
    hidden = torch._C._are_functorch_transforms_active() or is_traced(*tensors)
    return not hidden and not any(t is not None and t.is_meta for t in tensors)


def batch_size(x: Tensor, batch_first: bool, batch_sizes: Tensor | None, states: Sequence[Tensor | None]) -> int:
    """Return B; for a packed batch batch_sizes[0] or, while that is traced, axis 1 of a state (., B, ...).

    >>> batch_size(torch.zeros(3, 4), False, torch.tensor([2, 1]), [])
    2
    """
    if batch_sizes is None:
        return x.shape[0 if batch_first else 1]
    given = [s for s in states if s is not None]
    return given[0].shape[1] if given and is_traced(x, batch_sizes) else int(batch_sizes[0])
