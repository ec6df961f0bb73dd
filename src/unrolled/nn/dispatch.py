"""Which path a call takes to unroll one layer.

The equations are in reference.py, the calls of the compiled core in fused.py.  reach.py alone knows whether a call may
go straight to the core; torch's own dispatch costs more than a small layer's work, so most calls do:

- no gradient is wanted: a bare call;
- eager autograd: a plain ``autograd.Function`` (autograd/eager.py).

What else torch does with a call goes by one of two ways, which both end in the core:

- torch.func's transforms: Functions with rules for vmap (autograd/func.py);
- compilers, tracers, modes, other types of tensors: a registered operator (autograd/operator.py), which has those
  Functions as its derivatives (autograd/registered.py).

Derivatives of derivatives, and forward-mode derivatives, go through the equations.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.utils.rnn import PackedSequence

from unrolled.config.checks import CheckpointSteps
from unrolled.core import backend, threads
from unrolled.core.fields import Layout, Weights
from unrolled.nn import checks, fit, fused, reference
from unrolled.nn.autograd import func, operator
from unrolled.nn.autograd.eager import apply_layer, apply_step
from unrolled.nn.autograd.flat import flatten
from unrolled.nn.layout import savable
from unrolled.nn.reach import (
    PLAIN,
    PLAIN_TENSORS,
    core_reads,
    has_own_functions,
    has_values,
    is_open,
    is_traced,
    transforms_active,
)
from unrolled.nn.recompute import segment_steps
from unrolled.nn.reference import ZEROS, LayerResult, ResetState, in_type
from unrolled.notation import CELLS, has_cell_state

_any_requires_grad = torch._C._any_requires_grad
_grad_enabled = torch.is_grad_enabled
_autocast_enabled = torch._C._is_any_autocast_enabled


class Backend(NamedTuple):
    """The path a call takes ("fused", "reference" or "torch") and the reason."""

    path: str
    why: str


def layer(
    kind: str,
    x: Tensor,
    h_0: Tensor | None,
    c_0: Tensor | None,
    weights: Sequence[Sequence[Tensor | None]],
    *,
    batch_first: bool = False,
    lengths: Tensor | None = None,
    batch_sizes: Tensor | None = None,
    reset: Tensor | None = None,
    reset_state: ResetState = ZEROS,
    trace: bool = False,
    checkpoint_steps: CheckpointSteps = None,
) -> LayerResult:
    """Unroll one stacked layer, with all its directions, by the fastest path there is.

    bfloat16 is multiplied in pairs by the processor's own units, where it has them, and summed, activated and carried
    as c in float32; float16 is computed in float32.  The results have the type of x (of the weights, if x is one-hot).

    Args:
        kind: the cell, as notation.py names it.
        x: (T, B, I); or (B, T, I) with `batch_first`; or packed (N, I) with `batch_sizes`.  An int64 tensor without
            the last axis holds one-hot indices in [0, I).
        h_0: state before the first step, (D, B, P); None is zeros.
        c_0: (D, B, H), of a cell that has a cell state; None is zeros.
        weights: for each of the D directions (W_ih, W_hh, b_ih, b_hh, W_hr), None where there is none.
        lengths: (B,) int64, in any order, zero allowed; what lies past the end of a row is never read.
        batch_sizes: (T,) int64 on the CPU, non-increasing; row b of every step belongs to sequence b.
        reset: bool, shape of x without I; before such a step, in the order in which a direction runs, the state
            returns to zeros, or to `reset_state`.
        reset_state: (h, c), shaped as h_0 and c_0; None is zeros.
        trace: also return every gate and cell state.
        checkpoint_steps: as for `unrolled.nn.LSTM`.
    Returns: y (T, B, D*P) laid out as x, zero past the end; h_n (D, B, P) and c_n (D, B, H) after the last real
        step; the gates by name, (D, *rows, H), detached and laid out as x, or None.
    Raises: ValueError or TypeError for arguments that do not fit each other, IndexError for a one-hot index outside
        [0, I).

    >>> W = torch.ones(1, 1)
    >>> y, h_n, _, _ = layer("RNN_RELU", torch.tensor([[0], [0]]), None, None, [(W, W, None, None, None)])
    >>> y.flatten().tolist()
    [1.0, 2.0]
    """
    layout = Layout(batch_first, lengths, batch_sizes, reset)
    named = fit.forms(x, h_0, c_0, weights, reset_state)
    fit.kind_of_layer(kind, (c_0, reset_state[1]), named)
    fit.layout(x, layout)
    if any(s is not None for s in reset_state):
        checks.has_reset(reset)
    return run(kind, layout, x, h_0, c_0, named, trace, checkpoint_steps, reset_state)


def run(
    kind: str,
    layout: Layout,
    x: Tensor,
    h_0: Tensor | None,
    c_0: Tensor | None,
    weights: Sequence[Weights],
    trace: bool,
    checkpoint_steps: CheckpointSteps = None,
    reset_state: ResetState = ZEROS,
) -> LayerResult:
    """Do what `layer` does, for callers who have checked the layout: choose the path and take it."""
    W_hh = weights[0].W_hh
    if torch.float16 in (x.dtype, W_hh.dtype) or autocast_type(x) is not None:
        fit.types(x, (h_0, c_0, *reset_state), weights, autocast_type(x) is not None)
        inner = W_hh.dtype if W_hh.dtype in (torch.float64, torch.bfloat16) else torch.float32
        narrow = h_0.dtype if h_0 is not None else W_hh.dtype if checks.is_one_hot(x) else x.dtype  # as the state
        x, h_0, c_0, weights, reset_state = in_type((x, h_0, c_0, weights, tuple(reset_state)), inner)
        with torch.autocast(x.device.type, enabled=False):
            results = run(kind, layout, x, h_0, c_0, weights, trace, checkpoint_steps, reset_state)
        return in_type(results, narrow)  # type: ignore[no-any-return]
    inputs = (x, h_0, c_0, *reset_state, *flatten(weights))
    steps = None if trace else checkpoint_steps  # a trace needs every gate
    if core_reads(*inputs, *layout[1:]) and _elsewhere(x, W_hh.dtype) is None and not backend.reference_forced():
        try:
            if _grad_enabled() and _any_requires_grad(*inputs):
                if checks.is_one_hot(x):  # backward reads the symbols again, and numpy may write to them meanwhile,
                    fit.memory({"x": x})  # which autograd does not notice
                    inputs = (x.clone(), *inputs[1:])
                if layout.lengths is not None or layout.reset is not None or layout.batch_sizes is not None:
                    fit.memory(dict(zip(layout._fields[1:], layout[1:], strict=True)))
                    layout = layout.own()
                return apply_layer(kind, layout, trace, segment_steps(kind, layout, x, steps), *inputs)  # type: ignore[no-any-return]
            tensors = fused.forward(kind, layout, x, h_0, c_0, weights, save=trace, reset_state=reset_state)
            own = (tensors.gates, tensors.cells)
            gates = fused.recorded(kind, layout, own, W_hh, copied=False) if trace else None
            return tensors.y, tensors.h_n, tensors.c_n, gates
        except fused.Unreadable:  # the operator can: torch's dispatcher knows how
            pass
        except RuntimeError:
            fit.dense(x, (h_0, c_0, *reset_state), weights)
            raise
    fit.dense(x, (h_0, c_0, *reset_state), weights)
    fit.tensors(kind, layout, x, h_0, c_0, weights, reset_state)
    if not torch.compiler.is_compiling():
        fit.memory({"x": x, **dict(zip(layout._fields[1:], layout[1:], strict=True))})
    layout = Layout(layout.batch_first, *map(savable, layout[1:]))
    if checks.is_one_hot(x):
        x = savable(x)
        inputs = (x, *inputs[1:])
    if obstacle(x, W_hh.dtype) is not None:
        if has_values(x):
            fit.values(x, weights, layout)
        return reference.layer(kind, layout, x, h_0, c_0, weights, trace, reset_state)
    route = func.transformed if transforms_active() else operator.forward
    y, h_n, c_n, *saved = route(kind, layout, inputs, segment_steps(kind, layout, x, steps), trace)
    return y, h_n, c_n, fused.recorded(kind, layout, saved, W_hh, copied=True) if trace else None


def step(kind: str, x: Tensor, state: Any, weights: Sequence[Weights], stacked: bool) -> Any:
    """Return one step as `fused.step` does; None if not eligible, then call `run`, which validates and raises.

    Args:
        x: (B, I) or (I,); state: h, or (h, c), with B as x has it and, if `stacked`, L in front.
        weights: of each layer; a cell is one.
        Anything else in their place gives None.
    Returns: the new state; if `stacked`, the output and the new state.

    >>> W, one = torch.eye(2), torch.ones(2)
    >>> step("RNN_RELU", one, one, [Weights(W, W)], stacked=False)
    tensor([2., 2.])
    """
    if not is_open() or _autocast_enabled() or backend.reference_forced():
        return None
    if torch.is_grad_enabled():
        states = state if isinstance(state, tuple) else (state,)
        if any(getattr(t, "requires_grad", False) for t in chain(*weights, (x,), states)):
            return None if stacked else _step_with_gradient(kind, x, states, weights[0])
    return fused.step(kind, x, state, weights, stacked)


def _step_with_gradient(kind: str, x: Tensor, states: Sequence[Any], weights: Weights) -> Any:
    """Return the new state of a cell with a batch, or None."""
    if len(states) != 1 + has_cell_state(kind) or not PLAIN_TENSORS.issuperset(map(type, (x, *states))):
        return None
    if not PLAIN.issuperset(map(type, weights)) or x.dim() != 2 or not x.is_cpu or checks.is_one_hot(x):
        return None
    h_0, c_0 = (*states, None)[:2]
    try:
        h, c = apply_step(kind, x, h_0, c_0, *weights)
    except (ValueError, RuntimeError):  # they do not fit each other, or are sparse; whoever is next says so
        return None
    return h if c is None else (h, c)


def autocast_type(x: Tensor) -> torch.dtype | None:
    """Return the active autocast dtype for the device of x, or None.

    >>> with torch.autocast("cpu", torch.bfloat16):
    ...     autocast_type(torch.zeros(1))
    torch.bfloat16
    """
    if not _autocast_enabled():
        return None
    device = x.device.type  # some devices have no autocast to ask about
    on = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return torch.get_autocast_dtype(device) if on else None


#: torch's classes that ignore autocast.
_NOT_CAST = frozenset((torch.nn.GRU, torch.nn.GRUCell, torch.nn.LSTMCell))


def narrowed(stock: type[torch.nn.Module], x: Tensor, W: Tensor) -> torch.dtype | None:
    """Return the type in which autocast has a layer or cell compute, or None.

    Args: torch's class of the same name, of which some ignore autocast; the input and a weight.

    >>> with torch.autocast("cpu", torch.bfloat16):
    ...     [narrowed(stock, torch.zeros(1), torch.zeros(1)) for stock in (torch.nn.LSTM, torch.nn.LSTMCell)]
    [torch.bfloat16, None]
    """
    if not _autocast_enabled() or stock in _NOT_CAST or W.dtype not in checks.CAST:
        return None
    return autocast_type(x)


def obstacle(x: Tensor, dtype: torch.dtype) -> str | None:
    """Return why the compiled core cannot compute on x with weights of this type, or None if it can.

    >>> obstacle(torch.zeros(3, 1, 2), torch.complex64)
    'the core computes in float32, float64 and bfloat16, not complex64'
    """
    if forward_ad._current_level >= 0:
        return "forward-mode derivatives go through the equations"
    if transforms_active() and torch.compiler.is_compiling():
        return "torch.func inside torch.compile goes through the equations"
    return _elsewhere(x, dtype) or ("UNROLLED_BACKEND=reference" if reference_forced() else None)


def _elsewhere(x: Tensor, dtype: torch.dtype) -> str | None:
    """Return why the core is not for such tensors, whoever calls."""
    if not x.is_cpu:
        return f"the core runs on the cpu, not on {x.device.type}"
    if dtype not in fused.CORE_TYPES:
        return f"the core computes in float32, float64 and bfloat16, not {str(dtype).removeprefix('torch.')}"
    return None


def reference_forced() -> bool:
    """Return whether UNROLLED_BACKEND asks for the pure-torch equations.

    Raises: ValueError if it names anything but "fused" and "reference".
    """
    if torch.compiler.is_compiling():  # which cannot trace the core's own
        return backend.reference_forced(os.environ.get)
    return backend.reference_forced()  # every call asks


def goes_to_torch(x: Tensor, W: Tensor) -> bool:
    """Return whether torch's own operator takes the call, if nothing is asked for that torch lacks.

    It serves other devices than the cpu, and types that know it by name in a ``__torch_function__`` of their own.

    >>> W = torch.zeros(1, 1)
    >>> goes_to_torch(torch.zeros(1, device="meta"), W), goes_to_torch(W, W)
    (True, False)
    """
    if type(W) in PLAIN and type(x) in PLAIN and x.is_cpu:
        return False
    asked = has_own_functions(type(x)) or has_own_functions(type(W)) or not x.is_cpu
    return asked and not reference_forced()


def explain_backend(
    layer: torch.nn.Module,
    x: Tensor | PackedSequence,
    *,
    lengths: Tensor | None = None,
    reset: Tensor | None = None,
    trace: bool = False,
) -> Backend:
    """Say which path a call of an unrolled layer or cell takes, and why.

    Args: the layer, and the arguments its call would get; nothing is computed.
    Returns: path "fused" (the compiled core), "reference" (the equations in torch operations) or "torch" (torch's own
        operator), and the reason in words; of the core, also how many threads share the call, and why.
    Raises: TypeError, ValueError or NotImplementedError, as the call, for an input of another kind or number of axes.

    >>> from unrolled.nn import GRU
    >>> explain_backend(GRU(4, 6), torch.randn(5, 3, 4, device="meta")).path
    'torch'
    """
    if not hasattr(layer, "stock"):
        return Backend("torch", f"{type(layer).__name__} is not of unrolled.nn; swap(model) makes it so")
    stock = cast(type[torch.nn.Module], layer.stock)
    data = x.data if isinstance(x, PackedSequence) else x
    if data is x:
        checks.rank(stock.__name__, x, lowest=1 + issubclass(stock, torch.nn.RNNBase))
    checks.dense("x", data)
    W: Tensor = next(chain(layer.parameters(), getattr(layer, "_flat_weights", ())), data)  # a replica has none
    asks_more = lengths is not None or reset is not None or trace or checks.is_one_hot(data)
    if goes_to_torch(data, W) and not (getattr(layer, "beyond_torch", False) or asks_more):
        served = f"what {type(data).__name__} and {type(W).__name__} override" if data.is_cpu else data.device.type
        return Backend("torch", f"torch's own operator serves {served}")
    stored, autocast = W.dtype, narrowed(stock, data, W)
    dtype = torch.float32 if torch.float16 in (stored, data.dtype, autocast) else autocast or stored
    why = obstacle(data, dtype)
    if why is not None:
        return Backend("reference", why)
    if is_traced(data, W):
        route = "a registered operator, because a tracer, a mode or a type of its own must see the call"
    elif transforms_active():
        route = "a Function with a vmap rule, because a torch.func transform is active"
    elif torch.is_grad_enabled() and any(w.requires_grad for w in (data, *layer.parameters())):
        route = "an autograd Function, because a gradient is wanted"
    else:
        route = "a bare call, because no gradient is wanted"
    computed = "" if dtype == stored and autocast is None else f", computed in {str(dtype).removeprefix('torch.')}"
    count, reason = _threads(layer, x, dtype)
    shared = "one thread" if count == 1 else f"{count} threads"
    return Backend("fused", f"{stored} on {data.device.type}{computed}; {route}; {shared}: {reason}")


def _threads(layer: Any, x: Tensor | PackedSequence, dtype: torch.dtype) -> threads.Threads:
    """Return how many threads the first layer of a stack, or a cell, would use for its forward pass."""
    data = x.data if isinstance(x, PackedSequence) else x
    one_hot = checks.is_one_hot(data)
    rows = data.shape if one_hot else data.shape[:-1]
    if isinstance(x, PackedSequence):
        T, B = x.batch_sizes.shape[0], int(x.batch_sizes[0])
    elif not hasattr(layer, "num_layers"):  # a cell
        T, B = 1, rows.numel()
    elif len(rows) == 1:
        T, B = rows[0], 1
    else:
        B, T = rows if layer.batch_first else rows[::-1]
    H, P = layer.hidden_size, getattr(layer, "proj_size", 0) or layer.hidden_size
    return threads.of_layer(
        CELLS[layer.kind].number,
        str(dtype).removeprefix("torch."),
        T=T, B=B, I=layer.input_size, H=H, P=P, D=1 + getattr(layer, "bidirectional", False),
        symbols=one_hot, allowed=torch.get_num_threads(),
    )  # fmt: skip
