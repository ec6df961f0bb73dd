"""A stack of layers that goes one step at a time in the compiled core, its weights packed once; numpy only.

Bit for bit the steps of the whole-sequence layers (docs/kernels.md): the same kernels walk one step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled import _core
from unrolled.notation import gate_count

#: Cell numbers of csrc/kernels.h (enum CellKind).
_CELLS = {"RNN_TANH": 0, "RNN_RELU": 1, "LSTM": 2, "GRU": 3}

Array = NDArray[Any]


class CoreStepper:
    """Layers of one direction, reading one symbol of each row a step.

    Args:
        kind: of cell, as in :data:`unrolled.notation.GATES`.
        layers: W_ih (G*H, I), W_hh (G*H, H), b_ih (G*H), b_hh (G*H) of each; for the first I is V, a column a symbol.
        B: rows that step together.

    Attributes:
        ids: the symbols of the next step (B,), int64 in [0, V), to be written before :meth:`step`.
        states: h (B, H), for LSTM followed by c (B, H), of each layer; read and overwritten by :meth:`step`.

    >>> W_ih, W_hh, b = np.eye(2, dtype=np.float32), np.zeros((2, 2), np.float32), np.zeros(2, np.float32)
    >>> stepper = CoreStepper("RNN_RELU", [(W_ih, W_hh, b, b)], 1)
    >>> stepper.ids[:] = 1
    >>> stepper.step().tolist()
    [[0.0, 1.0]]
    """

    def __init__(self, kind: str, layers: Sequence[tuple[Array, Array, Array, Array]], B: int):
        dtype = layers[0][1].dtype
        H = layers[0][1].shape[1]
        count = 2 if kind == "LSTM" else 1
        self.ids = np.zeros(B, np.int64)
        self.states = [tuple(np.zeros((B, H), dtype) for _ in range(count)) for _ in layers]
        self._outputs = [np.zeros((B, H), dtype) for _ in layers]
        self._layers = [tuple(np.ascontiguousarray(w, dtype) for w in layer) for layer in layers]  # kept alive
        make = _core.StepperF64 if dtype == np.float64 else _core.StepperF32
        steppers = []
        for number, (weights, state, y) in enumerate(zip(self._layers, self.states, self._outputs, strict=True)):
            W_ih, W_hh, b_ih, b_hh = weights
            if W_hh.shape != (gate_count(kind) * H, H):
                raise ValueError(
                    f"W_hh of layer {number} has shape {W_hh.shape}, expected (G*H, H) = {(gate_count(kind) * H, H)}"
                )
            I = W_ih.shape[1]
            x = (0, 0, 0, _at(self.ids), B, 1) if number == 0 else (_at(self._outputs[number - 1]), B * H, H, 0, 0, 0)
            h, c = (_at(state[0]), _at(state[1])) if kind == "LSTM" else (_at(state[0]), 0)
            # The fields of struct Call and struct Net; the state is read before it is written, so it may stay in place.
            header = [_CELLS[kind], 1, B, I, H, H, 1, 0, 0, 0, 0, 0, 0, 1]
            net = [_at(W_ih), _at(W_hh), _at(b_ih), _at(b_hh), 0, *x, h, c, _at(y), B * H, H, h, c, *(0,) * 6, 0]
            steppers.append(make(header, net))
        self._steps = [stepper.step for stepper in steppers]

    def step(self) -> Array:
        """Read `ids`, advance `states`; return the last layer's h (B, H), overwritten by the next step."""
        for step in self._steps:
            step()
        return self._outputs[-1]


def _at(array: Array) -> int:
    return array.ctypes.data
