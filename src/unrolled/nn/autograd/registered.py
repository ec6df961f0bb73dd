"""What autograd and torch.func are told about the registered operator: derivatives of every order, and maps.

Whoever calls the operator, a traced or exported module too, gets here before the kernels of operator.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from unrolled.nn.autograd import func
from unrolled.nn.autograd.flat import LAYOUT
from unrolled.nn.autograd.func import Call, LayerFunction, LayerGradient
from unrolled.nn.autograd.operator import INPUTS, call_of, library, needed_of, present_of

_TRANSFORMS = "FuncTorchDynamicLayerFrontMode"  # where torch's dispatcher begins while a transform is active


def _layer(kind: str, *args: Any) -> Any:
    """Call the operator `layer` as a Function; whether to save for the backward pass is known here alone."""
    (_, inputs), (segment, save) = call_of(kind, args), args[-2:]
    call = Call(kind, args[0], segment, True, len(inputs))
    y, h_n, c_n, *saved = func.apply(LayerFunction, call, *args[1 : 1 + LAYOUT], *inputs)
    if save and not saved:  # the equations gave the results: they keep no gates
        raise NotImplementedError(
            "trace=True in a traced or exported program has no forward-mode derivatives; call the module itself"
        )
    return y, h_n, h_n.new_empty(0) if c_n is None else c_n, saved if save else []


def _layer_backward(kind: str, *args: Any) -> Any:
    """Call the operator `layer_backward` as a Function."""
    _, inputs = call_of(kind, args)
    y, saved, dy, dh_n, dc_n, segment, needs = args[INPUTS.stop :]
    call = Call(kind, args[0], segment, True, len(inputs), needed_of(inputs, needs))
    found = func.apply(LayerGradient, call, dy, dh_n, dc_n, *args[1 : 1 + LAYOUT], *inputs, y, *saved)
    return [y.new_empty(0) if d is None else d for d, there in zip(found, present_of(inputs), strict=True) if there]


def _register(name: str, differentiable: Callable[..., Any]) -> None:
    """Let a Function stand for an operator wherever a derivative or a map of it may be asked for."""
    operator = getattr(torch.ops.unrolled, name).default

    def autograd(keyset: Any, *args: Any) -> Any:
        if forward_ad._current_level >= 0 or (torch.is_grad_enabled() and torch._C._any_requires_grad(*args)):
            return differentiable(*args)
        with torch._C._AutoDispatchBelowAutograd():
            return operator.redispatch(keyset & torch._C._after_autograd_keyset, *args)

    library.impl(name, autograd, "Autograd", with_keyset=True)
    library.impl(name, differentiable, _TRANSFORMS)


_register("layer", _layer)
_register("layer_backward", _layer_backward)


def _setup_cat(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.sizes = [t.shape[0] for t in inputs[0]]


def _cat_backward(ctx: Any, d: Tensor) -> Any:
    return list(torch.split(d, ctx.sizes))


def _cat(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(parts))


torch.library.register_autograd("unrolled::cat", _cat_backward, setup_context=_setup_cat, lib=library)
library.impl("cat", _cat, _TRANSFORMS)
