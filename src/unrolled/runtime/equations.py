"""The equations of docs/notation.md in numpy: what UNROLLED_BACKEND=reference computes with in place of the core.

Letters and shapes are those of :mod:`unrolled.notation`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.core.fields import Linear, Weights

Array = NDArray[Any]
#: Rounds to the numbers that a type can hold.
Change = Callable[[Array], Array]


def sigmoid(a: Array) -> Array:
    """Return 1 / (1 + exp(-a)), in a form that cannot overflow.

    >>> sigmoid(np.array([-1e4, 0.0, 1e4])).tolist()
    [0.0, 0.5, 1.0]
    """
    s: Array = 0.5 * (1 + np.tanh(0.5 * a))
    return s


def _rnn_tanh(a: Array, h_a: Array, w: Weights, h_prev: Array) -> tuple[Array, ...]:
    return (np.tanh(a + h_a),)


def _rnn_relu(a: Array, h_a: Array, w: Weights, h_prev: Array) -> tuple[Array, ...]:
    return (np.maximum(a + h_a, 0),)


def _lstm(a: Array, h_a: Array, w: Weights, h_prev: Array, c_prev: Array) -> tuple[Array, ...]:
    a_i, a_f, a_g, a_o = np.split(a + h_a, 4, axis=1)  # each (B, H)
    p_i, p_f, p_o = (0, 0, 0) if w.p is None else np.split(w.p, 3)
    i, f = sigmoid(a_i + p_i * c_prev), sigmoid(a_f + p_f * c_prev)
    c = f * c_prev + i * np.tanh(a_g)
    return sigmoid(a_o + p_o * c) * np.tanh(c), c


def _gru(a: Array, h_a: Array, w: Weights, h_prev: Array) -> tuple[Array, ...]:
    (a_r, a_z, a_n), (h_r, h_z, h_n) = np.split(a, 3, axis=1), np.split(h_a, 3, axis=1)  # each (B, H)
    r, z = sigmoid(a_r + h_r), sigmoid(a_z + h_z)
    return ((1 - z) * np.tanh(a_n + r * h_n) + z * h_prev,)


#: The next state of each cell, from a = W_ih x + b_ih and h_a = W_hh h_prev + b_hh, both (B, G*H), and the state.
CELLS: dict[str, Callable[..., tuple[Array, ...]]] = {
    "RNN_TANH": _rnn_tanh,
    "RNN_RELU": _rnn_relu,
    "LSTM": _lstm,
    "GRU": _gru,
    "LSTM_PEEPHOLE": _lstm,
}


def _step(kind: str, x: Array, before: Sequence[Array], w: Weights, rounded: Change) -> tuple[Array, ...]:
    """Return the state after x (B, I), or symbols (B,); IndexError if one of these is outside [0, V)."""
    if x.ndim == 1 and (wrong := x[(x < 0) | (x >= w.W_ih.shape[1])]).size:
        raise IndexError(f"symbol {wrong[0]} to step on, expected 0 to V - 1 = {w.W_ih.shape[1] - 1}")
    b_ih, b_hh = (0 if b is None else b for b in (w.b_ih, w.b_hh))
    a = (w.W_ih.T[x] if x.ndim == 1 else x @ w.W_ih.T) + b_ih
    h, *c = CELLS[kind](a, before[0] @ w.W_hh.T + b_hh, w, *before)
    if w.W_hr is not None:
        h = rounded(h) @ w.W_hr.T
    return rounded(h), *c


def run_layer(
    kind: str,
    x: Array,
    before: Sequence[Array],
    weights: Sequence[Weights],
    lengths: NDArray[np.int64] | None = None,
    rounded: Change = np.asarray,
) -> tuple[Array, tuple[Array, ...]]:
    """Run one layer over whole sequences, as :func:`unrolled.core.sequences.run_layer`.

    Args: rounded: of which numbers h is one.

    >>> W = np.eye(2)
    >>> run_layer("RNN_RELU", np.array([[0], [1]]), [np.zeros((1, 1, 2))], [Weights(W, W)])[1][0].tolist()
    [[[1.0, 1.0]]]
    """
    T, B = x.shape[:2]
    P = weights[0].W_hh.shape[1]
    y = np.zeros((T, B, len(weights) * P), weights[0].W_hh.dtype)
    ends = np.full(B, T) if lengths is None else lengths
    finals = []
    for d, w in enumerate(weights):
        state = tuple(s[d] for s in before)
        for t in range(T)[:: -1 if d else 1]:
            here = (t < ends)[:, None]
            after = _step(kind, x[t] if x.ndim == 3 else np.where(here[:, 0], x[t], 0), state, w, rounded)
            state = tuple(np.where(here, new, old) for new, old in zip(after, state, strict=True))
            y[t, :, d * P : (d + 1) * P] = np.where(here, after[0], 0)
        finals.append(state)
    return y, tuple(np.stack(of_directions) for of_directions in zip(*finals, strict=True))


class EquationStepper:
    """Steps by the equations: what :class:`unrolled.core.stepper.CoreStepper` does, for layers of one direction.

    Args: as there; the state that it begins with, of each layer; to which numbers h and vectors x are rounded.
    """

    def __init__(
        self,
        kinds: Sequence[str],
        layers: Sequence[Weights],
        states: Sequence[tuple[Array, ...]],
        *,
        symbols: bool,
        head: Linear | None,
        rounded: Change = np.asarray,
    ):
        B = len(states[0][0])
        self._kinds, self._layers, self._head, self._rounded = kinds, layers, head, rounded
        self._shape = (B,) if symbols else (B, layers[0].W_ih.shape[1])
        self._dtype = np.dtype(np.int64) if symbols else layers[0].W_ih.dtype
        self.states = [tuple(s.copy() for s in layer) for layer in states]
        self.logits = np.zeros((B, 0 if head is None else len(head.b)), layers[0].W_ih.dtype)

    def read(self, x: Any) -> None:
        """Read symbols (B,) int64 or vectors (B, I), of one row also a number or (I,); advance `states`."""
        symbols = len(self._shape) == 1
        if len(self.logits) == 1:  # one row may come as a number, or as (I,)
            x = np.array([x]) if isinstance(x, int) else x.reshape(self._shape) if x.shape == self._shape[1:] else x
        if x.shape != self._shape or x.dtype != self._dtype:
            letters = "symbols (B)" if symbols else "vectors (B, I)"
            raise ValueError(f"step: x is {x.dtype} {x.shape}, expected {self._dtype} {letters} = {self._shape}")
        x = x if symbols else self._rounded(x)
        for kind, w, state in zip(self._kinds, self._layers, self.states, strict=True):
            after = _step(kind, x, state, w, self._rounded)
            for s, new in zip(state, after, strict=True):
                s[...] = new
            x = after[0]
        if self._head is not None:
            self.logits[...] = x @ self._head.W.T + self._head.b

    @property
    def result(self) -> Array:
        """The head's logits (B, V), or the last layer's h (B, P)."""
        return self.states[-1][0] if self._head is None else self.logits
