"""A module's weights by name, at every call and at little cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.modules.module import _has_any_global_hook


def named(module: torch.nn.Module, names: Sequence[str]) -> list[Any]:
    """Return what the names stand for now, tensors or None.

    Nothing is kept by identity: parametrizations, pruning, functional_call and plain reassignment all change what a
    name stands for.  The dictionary is tried first because ``Module.__getattr__`` is slow.

    >>> [tuple(w.shape) for w in named(torch.nn.Linear(2, 3), ["weight", "bias"])]
    [(3, 2), (3,)]
    """
    try:
        return [*map(module._parameters.__getitem__, names)]
    except KeyError:
        return [getattr(module, name) for name in names]


def is_hooked(module: torch.nn.Module) -> bool:
    """Return whether a call of the module does something else than the `forward` of its class.

    >>> is_hooked(torch.nn.Linear(2, 3))
    False
    """
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in module.__dict__
        or _has_any_global_hook()  # type: ignore[no-untyped-call]
    )
