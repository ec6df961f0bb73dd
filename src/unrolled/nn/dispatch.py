"""One layer unrolled: which way a call takes, and how autograd, torch.func and torch.compile learn of the core.

The equations are in reference.py, the border of the compiled core in fused.py.  Between them lie four routes, because
torch's own dispatch costs more than a small layer's work; each call takes the cheapest that does what it needs:

- nobody wants a gradient: a bare call;
- eager autograd: a plain ``autograd.Function``;
- torch.func transforms: a Function with a vmap rule, whose backward is such a Function too (func.py);
- torch.compile, torch.export, tensor subclasses: a registered operator (compiled.py).

Derivatives of derivatives, and forward-mode derivatives, go through the equations.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.utils.rnn import PackedSequence

from unrolled.core import backend
from unrolled.nn import checks, reference, routes
from unrolled.nn.autograd import compiled, func
from unrolled.nn.fake_tensors import PLAIN, is_traced
from unrolled.nn.recompute import CheckpointSteps, segment_steps
from unrolled.nn.reference import DirectionWeights, LayerResult
from unrolled.nn.routes import Layout, fused

#: Types the compiled core computes in.
CORE_TYPES = (torch.float32, torch.float64)
CORE_BUILT: bool = fused is not None

_PLAIN_TENSORS = PLAIN - {type(None)}

# Every call asks these: as names of this module, because looking torch._C's up costs as much as the answer.
_transforms_active = torch._C._are_functorch_transforms_active
_tracing_state = torch._C._get_tracing_state
_autocast_enabled = torch._C._is_any_autocast_enabled
_modes_active = torch._C._len_torch_dispatch_stack


class Backend(NamedTuple):
    """The way a call takes ("fused", "reference" or "torch") and the reason."""

    path: str
    why: str


def layer(
    kind: str,
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    weights: Sequence[DirectionWeights],
    *,
    batch_first: bool = False,
    lengths: Tensor | None = None,
    batch_sizes: Tensor | None = None,
    reset: Tensor | None = None,
    trace: bool = False,
    checkpoint_steps: CheckpointSteps = None,
) -> LayerResult:
    """Unroll one stacked layer by the fastest way there is; arguments and result are those of `reference.layer`.

    `checkpoint_steps` is that of `unrolled.nn.LSTM`: less memory for the backward pass, which computes gates again.
    float16 and bfloat16 are computed in float32; the results have the type of x (of the weights, if x is one-hot).

    Raises: ValueError or TypeError for arguments that do not fit each other, IndexError for a one-hot index outside
        [0, I).

    >>> W = torch.ones(1, 1)
    >>> y, h_n, _, _ = layer("RNN_RELU", torch.tensor([[0], [0]]), None, None, [(W, W, None, None, None)])
    >>> y.flatten().tolist()
    [1.0, 2.0]
    """
    layout = Layout(batch_first, lengths, batch_sizes, reset)
    checks.parts(kind, c0, weights)
    checks.layout(x, *layout)
    return run(kind, layout, x, h0, c0, weights, trace, checkpoint_steps)


def run(
    kind: str,
    layout: Layout,
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    weights: Sequence[DirectionWeights],
    trace: bool,
    checkpoint_steps: CheckpointSteps = None,
) -> LayerResult:
    """Do what `layer` does, for callers who have checked the layout: choose the route and take it."""
    W_hh = weights[0][1]
    if x.dtype in checks.HALF or W_hh.dtype in checks.HALF or autocast_type(x) is not None:
        return _widened(kind, layout, x, h0, c0, weights, trace, checkpoint_steps)
    tensors = (x, h0, c0, *(w for direction in weights for w in direction), *layout[1:])
    traced, transformed = is_traced(*tensors), _transforms_active()
    to_equations = obstacle(x, W_hh.dtype) is not None
    if traced or transformed or to_equations:  # else the core checks what it reads
        checks.fit(kind, x, h0, c0, weights, *layout)
    if to_equations:
        if not (traced or transformed or x.device.type == "meta"):
            routes.check_values(x, weights, layout)
        return reference.layer(kind, x, h0, c0, weights, **layout._asdict(), trace=trace)

    if traced or transformed or torch.is_grad_enabled():
        flat = [w for direction in weights for w in direction]
        gradient = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, h0, c0, *flat))
        segment = 0 if trace else _segment(kind, layout, x, checkpoint_steps)  # a trace is every gate
        if traced:
            return compiled.layer(kind, layout, x, h0, c0, flat, gradient, trace, segment)
        if transformed:
            return func.layer(kind, layout, x, h0, c0, flat, trace, segment)
        if gradient:
            return routes.Eager.apply(kind, layout, trace, segment, x, h0, c0, *flat)  # type: ignore[no-any-return,no-untyped-call]
    y, h_n, c_n, saved = routes.forward(kind, layout, x, h0, c0, weights, save=trace)
    return y, h_n, c_n, routes.recorded(kind, layout, saved, W_hh) if trace else None


def joined(states: Sequence[Tensor]) -> Tensor:
    """Return the states (D, B, ...) of stacked layers as one (L*D, B, ...).

    >>> joined([torch.zeros(2, 3, 6), torch.ones(2, 3, 6)]).shape
    torch.Size([4, 3, 6])
    """
    if len(states) == 1:
        return states[0]
    if is_traced(*states) and obstacle(states[0], states[0].dtype) is None:
        return torch.ops.unrolled.cat(states)  # type: ignore[no-any-return]
    return torch.cat(list(states))


def step(kind: str, x: Tensor, state: Any, weights: Sequence[DirectionWeights], stacked: bool) -> Any:
    """Return one step as `fused.step` does, or None where it needs a longer look: then take `run`, which has the words.

    Args: as for `fused.step`; anything at all may stand in their place, and what does not belong there gives None.

    >>> W, one = torch.eye(2), torch.ones(2)
    >>> step("RNN_RELU", one, one, [(W, W, None, None, None)], stacked=False)
    tensor([2., 2.])
    """
    if (
        torch.compiler.is_compiling()
        or not CORE_BUILT
        or _transforms_active()
        or _tracing_state() is not None
        or _modes_active()
        or _autocast_enabled()
        or forward_ad._current_level >= 0
        or reference_forced()
    ):
        return None
    if torch.is_grad_enabled():
        states = state if isinstance(state, tuple) else (state,)
        if any(getattr(t, "requires_grad", False) for t in chain(*weights, (x,), states)):
            return None if stacked else _step_with_gradient(kind, x, states, weights[0])
    return fused.step(kind, x, state, weights, stacked)


def _step_with_gradient(kind: str, x: Tensor, states: Sequence[Any], weights: DirectionWeights) -> Any:
    """Return the new state of a cell with a batch, or None."""
    if len(states) != 1 + (kind == "LSTM") or not _PLAIN_TENSORS.issuperset(map(type, (x, *states))):
        return None
    if not PLAIN.issuperset(map(type, weights)) or x.dim() != 2 or not x.is_cpu or not x.is_floating_point():
        return None
    h0, c0 = (*states, None)[:2]
    try:
        h, c = routes.EagerStep.apply(kind, x, h0, c0, *weights)  # type: ignore[no-untyped-call]
    except ValueError:  # they do not fit each other
        return None
    return h if c is None else (h, c)


def _segment(kind: str, layout: Layout, x: Tensor, checkpoint_steps: CheckpointSteps) -> int:
    """Return how many steps make a segment, 0 for a call that keeps every gate."""
    if checkpoint_steps is None:
        return 0
    T = x.shape[int(layout.batch_first)] if layout.batch_sizes is None else len(layout.batch_sizes)
    segment = segment_steps(checkpoint_steps, T)
    return segment if fused.has_gates_to_keep(kind) else 0


def autocast_type(x: Tensor) -> torch.dtype | None:
    """Return the type that autocast is on with for the device of x, or None if it is off.

    >>> with torch.autocast("cpu", torch.bfloat16):
    ...     autocast_type(torch.zeros(1))
    torch.bfloat16
    """
    if not _autocast_enabled():
        return None
    device = x.device.type  # some devices have no autocast to ask about
    on = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return torch.get_autocast_dtype(device) if on else None


def obstacle(x: Tensor, dtype: torch.dtype) -> str | None:
    """Return why the compiled core cannot compute on x with weights of this type, or None if it can.

    >>> obstacle(torch.zeros(3, 1, 2), torch.complex64)
    'the core computes in float32 and float64, not complex64'
    """
    if not x.is_cpu:
        return f"the core runs on the cpu, not on {x.device.type}"
    if dtype not in CORE_TYPES:
        return f"the core computes in float32 and float64, not {str(dtype).removeprefix('torch.')}"
    if reference_forced():
        return "UNROLLED_BACKEND=reference"
    if not CORE_BUILT:
        return "the compiled core is not built"
    if forward_ad._current_level >= 0:
        return "forward-mode derivatives go through the equations"
    if _transforms_active() and is_traced(x):
        return "torch.func inside torch.compile goes through the equations"
    return None


def reference_forced() -> bool:
    """Return whether UNROLLED_BACKEND asks for the pure-torch equations.

    Raises: ValueError if it names anything but "fused" and "reference".
    """
    if torch.compiler.is_compiling():  # which cannot trace the core's own
        return backend.reference_forced(os.environ.get)
    return backend.reference_forced()  # every call asks


def goes_to_torch(x: Tensor, beyond_torch: bool) -> bool:
    """Return whether torch's own operator takes the call: another device than the cpu, and nothing torch lacks.

    >>> goes_to_torch(torch.zeros(1, device="meta"), beyond_torch=False)
    True
    """
    return not x.is_cpu and not beyond_torch and not reference_forced()


def _widened(
    kind: str,
    layout: Layout,
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    weights: Sequence[DirectionWeights],
    trace: bool,
    checkpoint_steps: CheckpointSteps,
) -> LayerResult:
    """Compute in float32 (float64 stays) with autocast off; return the type of x."""
    W_hh = weights[0][1]
    wide = torch.float64 if W_hh.dtype == torch.float64 else torch.float32
    narrow = x.dtype if x.is_floating_point() else W_hh.dtype

    def to(dtype: torch.dtype, t: Any) -> Any:
        return t.to(dtype) if t is not None and t.is_floating_point() else t

    wide_weights: Any = [tuple(to(wide, w) for w in direction) for direction in weights]
    with torch.autocast(x.device.type, enabled=False):
        y, h_n, c_n, gates = run(
            kind, layout, to(wide, x), to(wide, h0), to(wide, c0), wide_weights, trace, checkpoint_steps
        )
    narrow_gates = None if gates is None else {name: gate.to(narrow) for name, gate in gates.items()}
    return y.to(narrow), h_n.to(narrow), to(narrow, c_n), narrow_gates


def explain_backend(
    layer: torch.nn.Module,
    x: Tensor | PackedSequence,
    *,
    lengths: Tensor | None = None,
    reset: Tensor | None = None,
    trace: bool = False,
) -> Backend:
    """Say which way a call of an unrolled layer or cell takes, and why.

    Args: the layer, and the arguments its call would get; nothing is computed.
    Returns: path "fused" (the compiled core), "reference" (the equations in torch operations) or "torch" (torch's own
        operator), and the reason in words.

    >>> from unrolled.nn import GRU
    >>> explain_backend(GRU(4, 6), torch.randn(5, 3, 4, device="meta")).path
    'torch'
    """
    data = x.data if isinstance(x, PackedSequence) else x
    W: Tensor = next(layer.parameters())
    beyond_torch = lengths is not None or reset is not None or trace or checks.is_one_hot(data)
    if not hasattr(layer, "stock"):
        return Backend("torch", f"{type(layer).__name__} is not of unrolled.nn; swap(model) makes it so")
    if goes_to_torch(data, beyond_torch):
        return Backend("torch", f"torch's own operator serves {data.device.type}")
    dtype = torch.float32 if W.dtype in checks.HALF else W.dtype
    why = obstacle(data, dtype)
    if why is not None:
        return Backend("reference", why)
    if is_traced(data):
        route = "a registered operator, because the call is being traced"
    elif _transforms_active():
        route = "a Function with a vmap rule, because a torch.func transform is active"
    elif torch.is_grad_enabled() and any(w.requires_grad for w in (data, *layer.parameters())):
        route = "an autograd Function, because a gradient is wanted"
    else:
        route = "a bare call, because no gradient is wanted"
    widened = f", computed in {dtype}" if W.dtype in checks.HALF or data.dtype in checks.HALF else ""
    return Backend("fused", f"{W.dtype} on {data.device.type}{widened}; {route}")
