"""May a call reach the compiled core with these tensors, now?  The one place that asks.

The core reads and writes memory at addresses, and nothing of torch's sees it.  So the answer is no unless everything
between the caller and that memory is known to be plain: no compiler, tracer, transform or mode that must see each
operation, no forward-mode level, and types whose values lie at their address.  What a type does not tell (freed memory,
zeros without memory, dead wrappers, the batches of an older vmap) is refused at the border of the core, csrc/tensors.h.

A call that may not reach the core, or that it refuses, is the registered operator's (autograd/operator.py): torch's
dispatcher takes it through whatever is in the way, or says what it cannot do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.fx import _symbolic_trace
from torch.nn import Buffer, Parameter
from torch.utils._device import DeviceContext

#: Types whose values lie where data_ptr says; other subclasses of Tensor may wrap tensors or have no values yet.
PLAIN_TENSORS: frozenset[type] = frozenset({Tensor, Parameter, Buffer})
PLAIN = PLAIN_TENSORS | {type(None)}

# Every call asks these; they are bound here because looking them up in torch._C costs as much as the answer.
_is_compiling = torch.compiler.is_compiling
transforms_active = torch._C._are_functorch_transforms_active
_is_tracing = torch._C._is_tracing
_dispatch_modes = torch._C._len_torch_dispatch_stack
_function_modes = torch._C._len_torch_function_stack


def is_watched() -> bool:
    """Return whether a compiler, a tracer or a mode of torch's must see every operation.

    >>> from torch.utils.flop_counter import FlopCounterMode
    >>> with FlopCounterMode(display=False):
    ...     is_watched()
    True
    """
    return (
        _is_compiling()
        or _is_tracing()
        or _dispatch_modes() > 0
        or (_function_modes() > 0 and not _only_devices())
        or _symbolic_trace._is_fx_tracing_flag  # make_fx may trace above all modes
    )


def _only_devices() -> bool:
    """Return whether all function modes are default devices, which only look at where tensors are made."""
    modes = map(torch._C._get_function_stack_at, range(_function_modes()))
    return all(type(mode) is DeviceContext for mode in modes)


def is_open() -> bool:
    """Return whether plain tensors may reach the core now.

    >>> with forward_ad.dual_level():
    ...     is_open()
    False
    """
    return not (transforms_active() or forward_ad._current_level >= 0 or is_watched())


def core_reads(*tensors: Tensor | None) -> bool:
    """Return whether these tensors may reach the core now.

    >>> core_reads(torch.zeros(3), None), core_reads(torch.zeros(3).as_subclass(type("Other", (Tensor,), {})))
    (True, False)
    """
    return is_open() and PLAIN.issuperset(map(type, tensors))


class Unseen(TypeError):
    """A call that only the core can serve, where torch would have to see what happens.

    >>> raise Unseen.of("x", torch.zeros(3), "leave the mode")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    unrolled.nn.reach.Unseen: x is a Tensor, expected a plain Tensor ...
    """

    @classmethod
    def of(cls, name: str, given: object, what_to_do: str) -> Unseen:
        """Return the error for an argument of this name."""
        return cls(
            f"{name} is a {type(given).__name__}, expected a plain Tensor outside of torch's tracers, transforms and "
            f"modes: {what_to_do}"
        )


def is_traced(*tensors: Tensor | None) -> bool:
    """Return whether any tensor has no values yet or has them elsewhere, or reading them would be seen.

    >>> is_traced(torch.zeros(3), None)
    False
    """
    return is_watched() or not PLAIN.issuperset(map(type, tensors))


def has_own_functions(cls: type) -> bool:
    """Return whether a type says by itself what torch's functions do with it.

    >>> from torch.nn.utils._expanded_weights import ExpandedWeight
    >>> has_own_functions(ExpandedWeight), has_own_functions(Parameter)
    (True, False)
    """
    own = getattr(cls, "__torch_function__", None)
    inherited = getattr(own, "__func__", None) is Tensor.__torch_function__.__func__  # type: ignore[attr-defined]
    return not inherited and own not in (None, torch._C._disabled_torch_function_impl)


def has_values(*tensors: Tensor | None) -> bool:
    """Return whether the values of all tensors can be read now: not traced, not inside torch.func, not on meta.

    >>> has_values(torch.zeros(3)), has_values(torch.zeros(3, device="meta"))
    (True, False)
    """
    hidden = transforms_active() or is_traced(*tensors)
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


def open_batch_size(batch_sizes: Tensor, B: int) -> Any:
    """Return B of a packed batch; while torch.jit traces, as the tensor that stays open in the trace.

    >>> open_batch_size(torch.tensor([2, 1]), 2)
    2
    """
    return batch_sizes[0] if not torch.compiler.is_compiling() and _is_tracing() else B
