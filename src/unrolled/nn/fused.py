"""The calls of the compiled core: tensors leave Python here, and nowhere else.

csrc/kernels.h is the contract.  csrc/tensors.h and csrc/layer_call.h check shapes, types, layout, lengths and indices
on the way to the addresses: the last axis of x and dy must be contiguous, states and weights wholly so, and what is not
is copied.  No operation of torch runs here that starts threads: a forked child has none (docs/torch.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from unrolled.core import _core
from unrolled.core.fields import GradientTensors, HeadPass, LayerTensors, Layout, Weights
from unrolled.nn import checks, fit, reference
from unrolled.nn.reach import PLAIN
from unrolled.nn.reference import ZEROS, ResetState
from unrolled.notation import CELLS, gate_count, has_cell_state

_of_any = torch.empty(0, device="cpu")
_core.use_library(Tensor.__dlpack_c_exchange_api__, _of_any.is_neg, _of_any.storage_offset, tuple(PLAIN - {type(None)}))


#: Types the compiled core computes in.
CORE_TYPES = (torch.float32, torch.float64, torch.bfloat16)


class Unreadable(ValueError):
    """The core cannot read a tensor of a call: it has no memory, wraps another tensor, or is no result of `forward`."""


class Saved(NamedTuple):
    """What forward saves for backward: unit rows are padded to 64 bytes (Hp) of the type that is computed with."""

    gates: Tensor  # (D, *rows, slots, Hp), activated: LSTM i f g o; GRU r z n and W_hn h + b_hn; RNN slots = 0
    cells: Tensor  # (D, *rows, Hp), LSTM; else empty.  In segments: gates empty, cells (D, edges, B, Hp)


def computed(dtype: torch.dtype) -> torch.dtype:
    """Return the type in which the core computes, and keeps cell states, for weights of a type.

    >>> computed(torch.bfloat16), computed(torch.float64)
    (torch.float32, torch.float64)
    """
    return torch.float32 if dtype == torch.bfloat16 else dtype


def types_of_saved(dtype: torch.dtype) -> tuple[torch.dtype, torch.dtype]:
    """Return the types of the gates and cells of `Saved`."""
    return dtype, computed(dtype)


def saved_shapes(
    kind: str, rows: Sequence[int], D: int, H: int, dtype: torch.dtype, edges: tuple[int, int] | None = None
) -> tuple[list[int], list[int]]:
    """Return the shapes of `Saved` for these rows, (T, B), (B, T) or (N,); in segments, for (edges, B).

    >>> saved_shapes("LSTM", (5, 2), 1, 10, torch.float32)
    ([1, 5, 2, 4, 16], [1, 5, 2, 16])
    >>> saved_shapes("LSTM", (5, 2), 1, 10, torch.float32, edges=(edge_count(5, 2), 2))
    ([0], [1, 2, 2, 16])
    """
    line = 64 // computed(dtype).itemsize
    Hp = (H + line - 1) // line * line
    gates = [D, *rows, len(CELLS[kind].saved), Hp] if edges is None else [0]
    cells = [D, *(edges or rows), Hp] if has_cell_state(kind) else [0]
    return gates, cells


def edge_count(T: int, segment: int) -> int:
    """Return how many edges lie between segments of this many steps; the core may use fewer, never more.

    >>> edge_count(7, 3)
    2
    """
    return -(-T // segment) - 1


def block_steps(B: int) -> int:
    """Return the number of steps whose weight gradients the core sums at once.

    Blocks are counted from the last step.  If T is a multiple of this, steps of padding at the end change no bit of the
    gradients, so a replica that runs beside one with longer strings learns as it would alone.

    >>> block_steps(1), block_steps(16), block_steps(200)
    (64, 16, 1)
    """
    return _core.block_steps(B)


def recorded(kind: str, layout: Layout, saved: Sequence[Tensor], W_hh: Tensor, *, copied: bool) -> dict[str, Tensor]:
    """Return every gate and cell state by name, (D, *rows, H), zero past the end of a row.

    Names are "c", "i", "f", "g", "o" or "r", "z", "n", "hn".

    Args: copied: give no views of what was saved: a backward pass may read that, and nobody notices NumPy's writes.
    """
    gates, cells = (s.detach().to(W_hh.dtype, copy=copied) for s in saved)
    H = W_hh.shape[0] // gate_count(kind)
    named = {"c": cells[..., :H]} if has_cell_state(kind) else {}
    named |= {name: gates[..., slot, :H] for slot, name in enumerate(CELLS[kind].saved)}
    if layout.lengths is not None:
        T = gates.shape[2 if layout.batch_first else 1]
        here = reference.alive(layout.lengths, T, layout.batch_first)[..., None]
        named = {name: torch.where(here, values, 0) for name, values in named.items()}
    return named


def forward(
    kind: str,
    layout: Layout,
    x: Tensor,
    h_0: Tensor | None,
    c_0: Tensor | None,
    weights: Sequence[Weights],
    save: bool = False,
    segment: int = 0,
    reset_state: ResetState = ZEROS,
) -> LayerTensors:
    """Run one layer; arguments and shapes as in `reference.layer`, float32, float64 or bfloat16 on the CPU.

    Args:
        save: save what backward needs.
        segment: steps whose gates backward recomputes together; 0 saves all gates.
        reset_state: h and c that a reset returns to.
    Returns: the layer's tensors, of which y, h_n and c_n are new, and with `save` also gates and cells.
    Raises: ValueError if the tensors do not fit each other, or a length is out of range; IndexError for a one-hot index
        outside [0, I).
    """
    if weights[0].W_hh.dim() != 2:
        fit.tensors(kind, layout, x, h_0, c_0, weights, reset_state)
    y, h_n, c_n, saved = results(kind, layout, x, weights, save, segment)
    tensors = LayerTensors(x, h_0, c_0, weights, y, h_n, c_n, *(saved or (None, None)), *reset_state)
    run(kind, layout, [tensors], [], save, segment)
    return tensors


def results(
    kind: str,
    layout: Layout,
    x: Tensor,
    weights: Sequence[Weights],
    save: bool,
    segment: int,
    copies: tuple[int, ...] = (),
) -> tuple[Tensor, Tensor, Tensor | None, Saved | None]:
    """Return room for what forward writes: y, h_n, c_n (LSTM) and what it saves; the axes of copies stand in front."""
    like, D = weights[0].W_hh, len(weights)
    P, H = like.shape[1], like.shape[0] // gate_count(kind)
    rows, T, B = _rows(layout, x)
    y = _buffer(like, (*copies, *rows, D * P), like.dtype)
    # Sizes one by one: torch takes half a microsecond longer to read them from a tuple.
    h_n = like.new_empty(*copies, D, B, P)
    c_n = like.new_empty(*copies, D, B, H) if has_cell_state(kind) else None
    if not save:
        return y, h_n, c_n, None
    edges = (edge_count(T, segment), B) if segment else None
    gates, cells = saved_shapes(kind, rows, D, H, like.dtype, edges)
    of_gates, of_cells = types_of_saved(like.dtype)
    return y, h_n, c_n, Saved(_buffer(like, (*copies, *gates), of_gates), _buffer(like, (*copies, *cells), of_cells))


def _rows(layout: Layout, x: Tensor) -> tuple[torch.Size, int, int]:
    """Return the axes of x without I, and T and B."""
    rows = x.shape if checks.is_one_hot(x) else x.shape[:-1]
    if layout.batch_sizes is not None:
        return rows, len(layout.batch_sizes), int(layout.batch_sizes[0])
    return rows, rows[int(layout.batch_first)], rows[1 - int(layout.batch_first)]


def backward(
    kind: str,
    layout: Layout,
    tensors: LayerTensors,
    dy: Tensor | None,
    dh_n: Tensor | None,
    dc_n: Tensor | None,
    *,
    needs: Sequence[bool] = (True,) * 6,
    segment: int = 0,
    sums: Sequence[Weights] | None = None,
) -> GradientTensors:
    """Backpropagate through one layer.

    Args:
        tensors: what `forward` returned with `save`.
        dy, dh_n, dc_n: gradients of y, h_n and c_n, None for zeros.
        needs: whether those of x, h_0, c_0, h_reset, c_reset and the weights are wanted.
        segment: that of `forward`.
        sums: of each direction, tensors to which the gradients of the weights are added, of the type that is computed
            in (`computed`); then none of the weights is wanted otherwise.
    Returns: the gradients; those of the inputs are new, or None where not wanted.
    """
    x, weights = tensors.x, tensors.weights
    dx = _buffer(x, x.shape, x.dtype) if needs[0] and not checks.is_one_hot(x) else None
    dh_0 = _like(tensors.h_0) if needs[1] else None
    dc_0 = _like(tensors.c_0) if needs[2] else None
    dh_reset = _like(tensors.h_reset) if needs[3] else None
    dc_reset = _like(tensors.c_reset) if needs[4] else None
    dweights = [Weights._make(map(_like, direction)) for direction in weights] if needs[5] else None
    gradients = GradientTensors(dy, dh_n, dc_n, dx, dh_0, dc_0, dweights, dh_reset, dc_reset, sums)
    run(kind, layout, [tensors], [gradients], True, segment)
    return gradients


def run(
    kind: str,
    layout: Layout,
    layers: Sequence[LayerTensors],
    gradients: Sequence[GradientTensors],
    save: bool,
    segment: int,
    threads: int = 0,
) -> None:
    """Run copies of one layer, which share the layout, in one call of the core.

    Rows past the end of a sequence are set to zero in y and dx.

    Args: gradients: none to run forward, else those of each copy; threads: how many may run it, 0 for torch's setting
        (unless UNROLLED_NUM_THREADS says otherwise).
    Raises: ValueError if the tensors of a copy do not fit each other, or a length is out of range; IndexError for a
        one-hot index outside [0, I); `Unreadable` if the core cannot read the tensors.
    """
    threads = threads or torch.get_num_threads()
    keep = save and (bool(gradients) or not segment)
    segment = segment if save else 0
    if not _core.unroll(CELLS[kind].number, layout, layers, gradients, keep, segment, threads):
        _refuse(kind, layout, layers, gradients, segment)


def _refuse(
    kind: str, layout: Layout, layers: Sequence[LayerTensors], gradients: Sequence[GradientTensors], segment: int
) -> NoReturn:
    """Raise for a call that the core refused, with the name of the first tensor that is wrong."""
    if segment < 0:
        raise ValueError(f"segment is {segment}, expected 0 or more steps")
    for one in layers:
        reset_state = (one.h_reset, one.c_reset)
        fit.kind_of_layer(kind, (one.c_0, one.c_reset), one.weights)
        fit.layout(one.x, layout)
        fit.tensors(kind, layout, one.x, one.h_0, one.c_0, one.weights, reset_state)
        fit.values(one.x, one.weights, layout)
        if (dtype := one.weights[0].W_hh.dtype) not in CORE_TYPES:
            raise Unreadable(
                f"W_hh is {dtype}, expected float32, float64 or bfloat16; a program that was traced or exported "
                "computes in no other type, unless the module had that type before"
            )
    for one, d in zip_longest(layers, gradients):
        for name, t, shape in _expected(kind, layout, one, d, segment):
            if not _core.reads(t):
                raise Unreadable(
                    f"{name} is {checks.described(t)} whose values the core cannot read: its memory was freed, or it "
                    "wraps another tensor; give a copy, made by clone()"
                )
            if t.shape != torch.Size(shape) or t.dtype not in (one.weights[0].W_hh.dtype, torch.int64):
                expected = checks.form(one.weights[0].W_hh.dtype, shape)
                raise Unreadable(f"{name} is {checks.described(t)}, expected {expected}")
    raise Unreadable(f"{kind}: a tensor to write to is not in one piece, or overlaps another tensor of the call")


def _expected(
    kind: str, layout: Layout, one: LayerTensors, d: GradientTensors | None, segment: int
) -> Iterator[tuple[str, Tensor, Sequence[int]]]:
    """Yield the tensors of one layer and of its gradients, each with its name and the shape that it should have."""
    rows, T, B = _rows(layout, one.x)
    D, (GH, P) = len(one.weights), one.weights[0].W_hh.shape
    H = GH // gate_count(kind)
    edges = (edge_count(T, segment), B) if segment else None
    shapes: dict[str, Sequence[int]] = dict.fromkeys(("x", "dx"), one.x.shape)
    shapes |= dict.fromkeys(("y", "dy"), (*rows, D * P))
    shapes["gates"], shapes["cells"] = saved_shapes(kind, rows, D, H, one.weights[0].W_hh.dtype, edges)
    for state, width in zip("hc", (P, H)[: 1 + has_cell_state(kind)], strict=False):
        shapes |= dict.fromkeys((f"{k}{state}_{n}" for k in ("", "d") for n in ("0", "n", "reset")), (D, B, width))
    for name, t in (one._asdict() | ({} if d is None else d._asdict())).items():
        if t is not None and name in shapes:
            yield name, t, shapes[name]
    for of, weights in (("", one.weights), ("gradient of ", [] if d is None else d.weights or [])):
        for k, (direction, like) in enumerate(zip(weights, one.weights, strict=True) if weights else ()):
            for (name, w), W in zip(direction._asdict().items(), like, strict=True):
                if w is not None:
                    yield f"{of}{name} of direction {k}", w, W.shape


def check_saved(
    kind: str, layout: Layout, x: Tensor, weights: Sequence[Weights], y: Tensor, saved: Sequence[Tensor], segment: int
) -> None:
    """Raise ValueError unless y and what forward saved have the shapes and the type that it gave them.

    >>> W, none = torch.zeros(6, 6), torch.zeros(0)
    >>> check_saved("RNN_RELU", Layout(), W[None], [Weights(W, W)], W[None], [torch.zeros(1, 1, 6, 0, 16), none], 0)
    """
    if len(saved) != len(Saved._fields):
        raise ValueError(f"saved holds {len(saved)} tensors, expected {' and '.join(Saved._fields)}")
    W_hh, D = weights[0].W_hh, len(weights)
    dtype = W_hh.dtype
    rows, T, B = _rows(layout, x)
    edges = (edge_count(T, segment), B) if segment else None
    shapes = (*rows, D * W_hh.shape[1]), *saved_shapes(kind, rows, D, W_hh.shape[0] // gate_count(kind), dtype, edges)
    types = dtype, *types_of_saved(dtype)
    for name, t, shape, expected in zip(("y", "gates", "cells"), (y, *saved), shapes, types, strict=True):
        if t.shape != torch.Size(shape) or t.dtype != expected:
            raise ValueError(
                f"{name}, saved for the backward pass, came back as {checks.described(t)}, expected "
                f"{checks.form(expected, shape)}; a saved-tensor hook must return what it was given"
            )


def _like(t: Tensor | None) -> Tensor | None:
    return None if t is None else torch.empty_like(t, memory_format=torch.contiguous_format)


def step(kind: str, x: Tensor, state: Any, weights: Sequence[Weights], stacked: bool) -> Any:
    """Return what `dispatch.step` does for plain tensors without a gradient, None for anything else."""
    return _core.step(CELLS[kind].number, x, state, weights, stacked, torch.get_num_threads())


#: From this size on, what forward and backward write lies in memory that is reused: touching fresh pages costs more
#: than the arithmetic of a small layer (docs/performance.md).
_LARGE = 1 << 20


def _buffer(like: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """An uninitialised contiguous tensor."""
    if math.prod(shape) * dtype.itemsize < _LARGE:
        return like.new_empty(*shape) if dtype is like.dtype else like.new_empty(shape, dtype=dtype)
    return _core.buffer(str(dtype).removeprefix("torch."), shape)  # type: ignore[no-any-return]


def head(x: Tensor, W: Tensor, b: Tensor, targets: Tensor, dW: Tensor, db: Tensor) -> tuple[float, Tensor]:
    """Run a head once in training: logits y = W x + b, their cross-entropy, and its gradients.

    Args:
        x: (N, H), float32, float64 or bfloat16 on the cpu, like W (V, H) and b (V).
        targets: (N,) int64 below V; a negative one asks for nothing.
        dW, db: contiguous, (V, H) and (V), of the type that is computed in (`computed`); the gradients of the summed
            loss are added to them.
    Returns: the sum over rows of -log softmax(y)[target] in nats, and its gradient dx (N, H).
    Raises: IndexError if a target is V or more; the message names it and its row.  ValueError if the tensors do not fit
        each other; the message names the first.

    >>> x, W, b = torch.zeros(2, 3), torch.zeros(4, 3), torch.zeros(4)
    >>> nats, dx = head(x, W, b, torch.tensor([0, 3]), torch.zeros(4, 3), torch.zeros(4))
    >>> round(nats, 4), dx.shape  # 2 ln 4
    (2.7726, torch.Size([2, 3]))
    """
    dx = x.new_empty(x.shape)
    return _core.head(HeadPass(W, b, x, targets, dx, dW, db), torch.get_num_threads()), dx
