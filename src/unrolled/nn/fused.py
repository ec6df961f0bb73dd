"""The border of the compiled core: tensors become addresses here, and nowhere else.

csrc/kernels.h is the contract.  Callers have checked shapes and dtypes (checks.py); this module sees to layout: the
last axis of x and dy must be contiguous, states and weights wholly so, and what is not is copied.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor

from unrolled import _core
from unrolled.notation import CELL_NUMBERS, GATES

DirectionWeights: TypeAlias = tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]

_T = TypeVar("_T", Tensor, "Tensor | None")

#: Vectors of units that forward keeps for backward (saved_slots in csrc/kernels.h), in order.
_SAVED = {"RNN_TANH": (), "RNN_RELU": (), "LSTM": tuple(GATES["LSTM"]), "GRU": (*GATES["GRU"], "hn")}


class Saved(NamedTuple):
    """What forward keeps for backward: unit rows are padded to 64 bytes (Hp)."""

    gates: Tensor  # (D, *rows, slots, Hp), activated: LSTM i f g o; GRU r z n and W_hn h + b_hn; RNN slots = 0
    cells: Tensor  # (D, *rows, Hp), LSTM; else empty.  In segments: gates empty, cells (D, edges, B, Hp)


def saved_shapes(
    kind: str, rows: Sequence[int], D: int, H: int, itemsize: int, edges: tuple[int, int] | None = None
) -> tuple[list[int], list[int]]:
    """Return the shapes of `Saved` for these rows, (T, B), (B, T) or (N,); in segments, for (edges, B).

    >>> saved_shapes("LSTM", (5, 2), 1, 10, 4)
    ([1, 5, 2, 4, 16], [1, 5, 2, 16])
    >>> saved_shapes("LSTM", (5, 2), 1, 10, 4, edges=(edge_count(5, 2), 2))
    ([0], [1, 2, 2, 16])
    """
    line = 64 // itemsize
    Hp = (H + line - 1) // line * line
    gates = [D, *rows, len(_SAVED[kind]), Hp] if edges is None else [0]
    cells = [D, *(edges or rows), Hp] if kind == "LSTM" else [0]
    return gates, cells


def edge_count(T: int, segment: int) -> int:
    """Return how many edges lie between segments of this many steps; the core may use fewer, never more.

    >>> edge_count(7, 3)
    2
    """
    return -(-T // segment) - 1


def block_steps(B: int) -> int:
    """Return the steps whose weight gradients the core sums in one go.

    Blocks are counted from the last step.  If T is a multiple of this, then steps of padding at the end change no bit
    of a net's gradients, so a net that sits beside one with longer strings learns as it would alone.

    >>> block_steps(1), block_steps(16), block_steps(200)
    (64, 8, 1)
    """
    return _core.block_steps(B)


def has_gates_to_keep(kind: str) -> bool:
    """Return whether forward keeps more for backward than the output.

    >>> has_gates_to_keep("RNN_TANH"), has_gates_to_keep("GRU")
    (False, True)
    """
    return bool(_SAVED[kind])


def trace(kind: str, saved: Saved, H: int) -> dict[str, Tensor]:
    """Return views of what was kept: name -> (D, *rows, H), names "c", "i", "f", "g", "o" or "r", "z", "n", "hn"."""
    named = {name: saved.gates[..., slot, :H] for slot, name in enumerate(_SAVED[kind])}
    return {"c": saved.cells[..., :H], **named} if kind == "LSTM" else named


def forward(
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
    save: bool = False,
    segment: int = 0,
) -> tuple[Tensor, Tensor, Tensor | None, Saved | None]:
    """Run one layer; arguments and shapes as in `reference.layer`, float32 or float64 on the cpu.

    Args: save what backward needs; segment: steps whose gates backward computes again at a time, 0 to save all of them.
    Returns: y, h_n, c_n (LSTM) and, with save, what backward needs.
    """
    call = _Call(kind, x, h0, c0, weights, batch_first, lengths, batch_sizes, reset)
    call.segment = segment if save else 0
    D, B, H, P = call.D, call.B, call.H, call.P
    like = weights[0][1]
    y = (like.new_zeros if lengths is not None else like.new_empty)((*call.rows, D * P))
    h_n = like.new_empty((D, B, P))
    c_n = like.new_empty((D, B, H)) if kind == "LSTM" else None
    saved = None
    if save:
        edges = (edge_count(call.T, segment), B) if segment else None
        gates, cells = saved_shapes(kind, call.rows, D, H, like.element_size(), edges)
        saved = Saved(_buffer(like, gates), _buffer(like, cells))
    nets: list[int] = []
    for d in range(D):
        nets += call.net(d, y, h_n, c_n, saved)
    call.run(nets, [], save and not segment)
    return y, h_n, c_n, saved


def backward(
    kind: str,
    saved: Saved,
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    weights: Sequence[DirectionWeights],
    y: Tensor,
    dy: Tensor | None,
    dh_n: Tensor | None,
    dc_n: Tensor | None,
    *,
    batch_first: bool = False,
    lengths: Tensor | None = None,
    batch_sizes: Tensor | None = None,
    reset: Tensor | None = None,
    needs: tuple[bool, bool, bool, bool] = (True, True, True, True),
    segment: int = 0,
) -> tuple[Tensor | None, Tensor | None, Tensor | None, list[tuple[Tensor | None, ...]]]:
    """Run one layer back through time.

    Args: what forward got and gave; gradients of y, h_n, c_n, None for zeros; needs: of x, h0, c0, weights.
    Returns: dx, dh0, dc0 and for each direction the five weight gradients; None where not needed.
    """
    call = _Call(kind, x, h0, c0, weights, batch_first, lengths, batch_sizes, reset)
    call.segment = segment
    D, like = call.D, weights[0][1]
    dy, dh_n, dc_n = _rows(dy), _whole(dh_n), _whole(dc_n)
    dx = None
    if needs[0] and not call.one_hot:
        # Both directions add to dx; rows past a sequence's end stay zero.
        dx = (like.new_zeros if D == 2 or lengths is not None else like.new_empty)(x.shape)
    dh0 = like.new_empty((D, call.B, call.P)) if needs[1] and h0 is not None else None
    dc0 = like.new_empty((D, call.B, call.H)) if needs[2] and c0 is not None else None
    dweights: list[tuple[Tensor | None, ...]] = [(None,) * 5] * D
    if needs[3]:
        dweights = [tuple(None if w is None else torch.empty_like(w) for w in call.weights[d]) for d in range(D)]
    nets: list[int] = []
    gradients: list[int] = []
    h_n = like.new_empty(0)
    for d in range(D):
        nets += call.net(d, y, h_n, None, saved)
        gradients += call.gradient(d, dy, dh_n, dc_n, dx, dh0, dc0, dweights[d])
    call.run(nets, gradients, True)
    return dx, dh0, dc0, dweights


class _Call:
    """One layer call on its way to the core; holds every tensor whose address it gives away."""

    segment = 0

    def __init__(
        self,
        kind: str,
        x: Tensor,
        h0: Tensor | None,
        c0: Tensor | None,
        weights: Sequence[DirectionWeights],
        batch_first: bool,
        lengths: Tensor | None,
        batch_sizes: Tensor | None,
        reset: Tensor | None,
    ) -> None:
        self.kind = kind
        self.one_hot = not x.is_floating_point()
        self.x = x if self.one_hot else _rows(x)
        self.h0, self.c0, self.batch_sizes, self.reset = _whole(h0), _whole(c0), _whole(batch_sizes), reset
        self.lengths = _whole(lengths)
        self.weights = [
            (_whole(w_ih), _whole(w_hh), _whole(b_ih), _whole(b_hh), _whole(w_hr))
            for w_ih, w_hh, b_ih, b_hh, w_hr in weights
        ]
        self.time_axis = int(batch_first)
        self.packed = batch_sizes is not None
        self.rows = tuple(x.shape) if self.one_hot else tuple(x.shape[:-1])
        if batch_sizes is None:
            self.T, self.B = self.rows[self.time_axis], self.rows[1 - self.time_axis]
        else:
            self.T, self.B = batch_sizes.shape[0], int(batch_sizes[0])
        w_ih, w_hh = weights[0][0], weights[0][1]
        self.D, self.I, self.P = len(weights), w_ih.shape[1], w_hh.shape[1]
        self.H = w_hh.shape[0] // len(GATES[kind])

    def strides(self, rows: Tensor) -> tuple[int, int]:
        """Elements between one step and the next, and between one row of the batch and the next."""
        s = rows.stride()
        return (s[0], s[0]) if self.packed else (s[self.time_axis], s[1 - self.time_axis])

    def net(self, d: int, y: Tensor, h_n: Tensor, c_n: Tensor | None, saved: Saved | None) -> list[int]:
        """Return the fields of struct Net for one direction."""
        x, item = self.x, y.element_size()
        fields = [0 if w is None else w.data_ptr() for w in self.weights[d]]
        place = (x.data_ptr(), *self.strides(x))
        fields += (0, 0, 0, *place) if self.one_hot else (*place, 0, 0, 0)
        fields += (_at(self.h0, d), _at(self.c0, d))
        fields += (y.data_ptr() + d * self.P * item, *self.strides(y), _at(h_n, d), _at(c_n, d))
        for kept in saved or ():
            if kept.numel():
                row = kept[d]
                fields += (row.data_ptr(), *(row.stride()[:2] if self.segment else self.strides(row)))
            else:
                fields += (0, 0, 0)
        if saved is None:
            fields += (0,) * 6
        fields.append(d)
        return fields

    def gradient(
        self,
        d: int,
        dy: Tensor | None,
        dh_n: Tensor | None,
        dc_n: Tensor | None,
        dx: Tensor | None,
        dh0: Tensor | None,
        dc0: Tensor | None,
        dweights: Sequence[Tensor | None],
    ) -> list[int]:
        """Return the fields of struct Gradients for one direction."""
        fields = [0, 0, 0]
        if dy is not None:
            fields = [dy.data_ptr() + d * self.P * dy.element_size(), *self.strides(dy)]
        fields += (_at(dh_n, d), _at(dc_n, d))
        fields += (0, 0, 0) if dx is None else (dx.data_ptr(), *self.strides(dx))
        fields += (int(self.D == 2), _at(dh0, d), _at(dc0, d))
        fields += [0 if g is None else g.data_ptr() for g in dweights]
        return fields

    def run(self, nets: list[int], gradients: list[int], keep: bool, copies: int = 1) -> None:
        """Hand the fields of struct Call, Net and Gradients to the core, for so many layers of this shape."""
        reset = (0, 0, 0) if self.reset is None else (self.reset.data_ptr(), *self.strides(self.reset))
        threads = torch.get_num_threads()  # unless UNROLLED_NUM_THREADS says otherwise
        lengths = 0 if self.lengths is None else self.lengths.data_ptr()
        batch_sizes = 0 if self.batch_sizes is None else self.batch_sizes.data_ptr()
        header = [CELL_NUMBERS[self.kind], self.T, self.B, self.I, self.H, self.P, self.D * copies]
        header += (lengths, batch_sizes, *reset, int(keep), threads, self.segment)
        run = _core.run_f64 if self.weights[0][1].dtype == torch.float64 else _core.run_f32
        run(header, nets, gradients)


def run_nets(
    kind: str,
    dtype: torch.dtype,
    sizes: tuple[int, int, int, int],
    S: int,
    nets: list[int],
    gradients: list[int],
    *,
    keep: bool,
    threads: int,
) -> None:
    """Hand S nets of one shape (T, B, I, H) to the core: the fields of struct Net, and of struct Gradients or none."""
    T, B, I, H = sizes
    header = [CELL_NUMBERS[kind], T, B, I, H, H, S, 0, 0, 0, 0, 0, int(keep), threads, 0]
    (_core.run_f64 if dtype == torch.float64 else _core.run_f32)(header, nets, gradients)


#: From this size on, what backward needs is kept in memory that is used again: touching fresh pages costs more than
#: the arithmetic of a small layer (docs/performance.md).
_LARGE = 1 << 20


def _buffer(like: Tensor, shape: Sequence[int]) -> Tensor:
    """An uninitialised tensor for what forward keeps."""
    n = math.prod(shape)
    if n * like.element_size() < _LARGE:
        return like.new_empty(shape)
    flat: Tensor = (_core.buffer_f64 if like.dtype == torch.float64 else _core.buffer_f32)(n)
    return flat.view(shape)


def _whole(t: _T) -> _T:
    return t if t is None else t.resolve_neg().contiguous()


def _rows(t: _T) -> _T:
    """A tensor whose last axis is contiguous."""
    if t is not None:
        t = t.resolve_neg()  # torch may hold -t as t with a flag, which an address does not carry
        t = t if t.stride(-1) == 1 else t.contiguous()
    return t


def _at(t: Tensor | None, d: int) -> int:
    """Address of direction d of a (D, ...) tensor, 0 for none."""
    return 0 if t is None or not t.numel() else t.data_ptr() + d * t.stride(0) * t.element_size()


def head(x: Tensor, W: Tensor, b: Tensor, targets: Tensor, dW: Tensor, db: Tensor) -> tuple[float, Tensor]:
    """Run a head once in training: logits y = W x + b, their cross-entropy, and its gradients.

    Args:
        x: (N, H), float32 or float64 on the cpu, like W (V, H) and b (V).
        targets: (N,) int64 below V; a negative one asks for nothing.
        dW, db: contiguous, (V, H) and (V); the gradients of the summed loss are added to them.
    Returns: the sum over rows of -log softmax(y)[target] in nats, and its gradient dx (N, H).
    Raises: IndexError if a target is V or more; the message names it and its row.

    >>> x, W, b = torch.zeros(2, 3), torch.zeros(4, 3), torch.zeros(4)
    >>> nats, dx = head(x, W, b, torch.tensor([0, 3]), torch.zeros(4, 3), torch.zeros(4))
    >>> round(nats, 4), dx.shape  # 2 ln 4
    (2.7726, torch.Size([2, 3]))
    """
    x, W, b, targets = _whole(x), _whole(W), _whole(b), _whole(targets)
    (N, H), V = x.shape, W.shape[0]
    dx = torch.empty_like(x)
    run = _core.head_f64 if W.dtype == torch.float64 else _core.head_f32
    pointers = [t.data_ptr() for t in (W, b, x, targets, dx, dW, db)]
    return run([*pointers, N, H, V, torch.get_num_threads()]), dx
