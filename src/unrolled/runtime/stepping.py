"""A stack of layers that goes one step at a time in the compiled core, its weights packed once; numpy only.

Bit for bit the steps of the whole-sequence layers (docs/kernels.md): the same kernels walk one step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled import _core
from unrolled.notation import CELL_NUMBERS, gate_count

Array = NDArray[Any]


class CoreStepper:
    """Layers of one direction, reading one symbol of each row a step.

    Args:
        kind: of cell, as in :data:`unrolled.notation.GATES`.
        layers: W_ih (G*H, I), W_hh (G*H, H), b_ih (G*H), b_hh (G*H) of each, float32 or float64; for the first layer I
            is V, a column a symbol, for the others H.
        B: rows that step together.
    Raises: ValueError if a weight has another shape or type; the message names it.

    >>> W_ih, W_hh, b = np.eye(2, dtype=np.float32), np.zeros((2, 2), np.float32), np.zeros(2, np.float32)
    >>> stepper = CoreStepper("RNN_RELU", [(W_ih, W_hh, b, b)], 1)
    >>> stepper.step(np.array([1])).tolist()
    [[0.0, 1.0]]
    """

    def __init__(self, kind: str, layers: Sequence[tuple[Array, Array, Array, Array]], B: int):
        dtype, H = layers[0][1].dtype, layers[0][1].shape[-1]
        if dtype not in (np.float32, np.float64):
            raise ValueError(f"the weights are {dtype}, expected float32 or float64")
        self.V = layers[0][0].shape[-1]
        GH = gate_count(kind) * H
        for number, layer in enumerate(layers):
            shapes = ((GH, H if number else self.V), (GH, H), (GH,), (GH,))
            for name, w, shape in zip(("W_ih", "W_hh", "b_ih", "b_hh"), layer, shapes, strict=True):
                if w.shape != shape or w.dtype != dtype:
                    raise ValueError(f"{name} of layer {number} is {w.dtype} {w.shape}, expected {dtype} {shape}")
        # The core has the addresses of these arrays: they are written to, never replaced.
        self._ids = np.zeros(B, np.int64)
        self._states = [tuple(np.zeros((B, H), dtype) for _ in range(2 if kind == "LSTM" else 1)) for _ in layers]
        self._outputs = [np.zeros((B, H), dtype) for _ in layers]
        self._weights = [tuple(np.ascontiguousarray(w) for w in layer) for layer in layers]
        make = _core.StepperF64 if dtype == np.float64 else _core.StepperF32
        steppers = []
        for number, (weights, state, y) in enumerate(zip(self._weights, self._states, self._outputs, strict=True)):
            I = weights[0].shape[1]
            x = (0, 0, 0, _at(self._ids), B, 1) if number == 0 else (_at(self._outputs[number - 1]), B * H, H, 0, 0, 0)
            h, c = (_at(state[0]), _at(state[1])) if kind == "LSTM" else (_at(state[0]), 0)
            # The fields of struct Call and struct Net; the state is read before it is written, so it may stay in place.
            header = [CELL_NUMBERS[kind], 1, B, I, H, H, 1, 0, 0, 0, 0, 0, 0, 1]
            net = [*map(_at, weights), 0, *x, h, c, _at(y), B * H, H, h, c, *(0,) * 6, 0]
            steppers.append(make(header, net))
        self._steps = [stepper.step for stepper in steppers]

    @property
    def states(self) -> list[tuple[Array, ...]]:
        """h (B, H), for LSTM followed by c (B, H), of each layer; may be written to, is overwritten by :meth:`step`."""
        return list(self._states)

    def step(self, ids: NDArray[np.int64]) -> Array:
        """Read symbols ids (B,), advance `states`; return the last layer's h (B, H), overwritten by the next step.

        Raises: IndexError if a symbol is outside [0, V).
        """
        for symbol in ids.tolist():
            if not 0 <= symbol < self.V:
                raise IndexError(f"symbol {symbol} to step on, expected 0 to V - 1 = {self.V - 1}")
        self._ids[:] = ids
        for step in self._steps:
            step()
        return self._outputs[-1]


def _at(array: Array) -> int:
    return array.ctypes.data
