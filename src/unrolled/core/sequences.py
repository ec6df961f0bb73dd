"""Whole sequences in the compiled core, on arrays of numpy; the layers of torch have `unrolled.nn.fused`.

bfloat16, a type that numpy lacks, is given as its bits in uint16; cell states are then float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from unrolled.core import _core
from unrolled.core.fields import LayerTensors, Layout, Linear, LinearPass, Weights, core_name
from unrolled.notation import CELLS

Array = NDArray[Any]


def run_layer(
    kind: str,
    x: Array,
    before: Sequence[Array],
    weights: Sequence[Weights],
    lengths: NDArray[np.int64] | None = None,
) -> tuple[Array, tuple[Array, ...]]:
    """Run one layer over whole sequences.

    Args:
        kind: of cell, as in :data:`unrolled.notation.CELLS`.
        x: (T, B, I) of the weights' type, or symbols (T, B) int64 in [0, I).
        before: the state before the first step, h (D, B, P), for LSTM followed by c (D, B, H).
        weights: of each direction, of one type.
        lengths: steps of each row (B,), each in [0, T]; None for all T.  y past them is zero.
    Returns: y (T, B, D*P), and the state after each row's last step.
    Raises: IndexError if a symbol is outside [0, I); ValueError if the arrays do not fit each other.

    >>> W, b = np.eye(2, dtype=np.float32), np.zeros(2, np.float32)
    >>> y, (h,) = run_layer("RNN_RELU", np.array([[0], [1]]), [np.zeros((1, 1, 2), np.float32)], [Weights(W, W, b, b)])
    >>> y[:, 0].tolist(), h[0].tolist()
    ([[1.0, 0.0], [1.0, 1.0]], [[1.0, 1.0]])
    """
    W_hh = weights[0].W_hh
    y = np.empty((*x.shape[:2], len(weights) * W_hh.shape[1]), W_hh.dtype)
    after = tuple(np.empty_like(s) for s in before)
    h_0, c_0, h_n, c_n = (s for states in (before, after) for s in (*states, None)[:2])
    call = LayerTensors(x, h_0, c_0, weights, y, h_n, c_n)
    layout = Layout(lengths=lengths)
    if not _core.unroll_arrays(core_name(W_hh.dtype), CELLS[kind].number, layout, call, 0):
        _refuse(x, before, weights, lengths)
    return y, after


def linear(x: Array, head: Linear, out: Array) -> None:
    """Write W x + b of rows x (N, H) to `out` (N, V), with the bits that a stepper's head gives each row.

    Raises: ValueError if the arrays do not fit each other; the message names the first.
    """
    _core.linear(core_name(x.dtype), LinearPass(*head, x, out))


def _refuse(x: Array, before: Sequence[Array], weights: Sequence[Weights], lengths: Array | None) -> NoReturn:
    I, T, B = weights[0].W_ih.shape[1], *x.shape[:2]
    if x.ndim == 2:
        t = np.arange(T)[:, None]
        wrong = np.argwhere(((x < 0) | (x >= I)) & (t < (T if lengths is None else lengths)))
        if len(wrong):
            t, b = wrong[0]
            raise IndexError(f"symbol {x[t, b]} at step {t} of row {b}, expected 0 to V - 1 = {I - 1}")
    came = f"x {x.dtype} {x.shape}, states {', '.join(f'{s.dtype} {s.shape}' for s in before)}"
    length = "" if lengths is None else f", lengths {lengths.tolist()} in [0, {T}]"
    raise ValueError(f"the arrays of a layer do not fit each other: {came}{length}, I = {I}, B = {B}")
