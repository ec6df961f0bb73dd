"""A stack of layers that goes one step at a time in the compiled core, its weights packed once; numpy only.

Bit for bit the steps of the whole-sequence layers (docs/kernels.md): the same kernels walk one step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unrolled import _core
from unrolled.notation import CELLS, gate_count, has_cell_state

Array = NDArray[Any]

#: W_ih (G*H, I), W_hh (G*H, P), b_ih (G*H), b_hh (G*H), W_hr (P, H) of one layer; None for what it has not.
LayerWeights: TypeAlias = tuple[Array, Array, "Array | None", "Array | None", "Array | None"]


class CoreStepper:
    """Layers of one direction, reading one step of each row at a time.

    Args:
        kind: of cell, as in :data:`unrolled.notation.GATES`.
        layers: the weights of each, float32 or float64; I of the first is V, a column a symbol, where it reads symbols.
        B: rows that step together.
        symbols: whether the first layer reads symbols rather than vectors.
        head: W_hy (V, H) and b_y (V), for a stepper that also writes.
    Raises: ValueError if a weight has another shape or type; the message names it.

    >>> W_ih, W_hh, b = np.eye(2, dtype=np.float32), np.zeros((2, 2), np.float32), np.zeros(2, np.float32)
    >>> stepper = CoreStepper("RNN_RELU", [(W_ih, W_hh, b, b, None)], 1)
    >>> stepper.step(np.array([1])).tolist()
    [[0.0, 1.0]]
    """

    def __init__(
        self,
        kind: str,
        layers: Sequence[LayerWeights],
        B: int,
        *,
        symbols: bool = True,
        head: tuple[Array, Array] | None = None,
    ):
        dtype = layers[0][1].dtype
        if dtype not in (np.float32, np.float64):
            raise ValueError(f"the weights are {dtype}, expected float32 or float64")
        GH, P = layers[0][1].shape
        self.H, self.I = GH // gate_count(kind), layers[0][0].shape[-1]
        for number, layer in enumerate(layers):
            shapes = ((GH, P if number else self.I), (GH, P), (GH,), (GH,), (P, self.H))
            for name, w, shape in zip(("W_ih", "W_hh", "b_ih", "b_hh", "W_hr"), layer, shapes, strict=True):
                if w is not None:
                    _check(w, dtype, shape, f"{name} of layer {number}")
        # The core has the addresses of these arrays: they are written to, never replaced.
        self._ids = np.zeros((B, 1), np.int64)
        widths = (P, self.H) if has_cell_state(kind) else (P,)
        self._states = [tuple(np.zeros((B, width), dtype) for width in widths) for _ in layers]
        self._outputs = [np.zeros((B, P), dtype) for _ in layers]
        self._weights = [tuple(None if w is None else np.ascontiguousarray(w) for w in layer) for layer in layers]
        calls = []
        for number, (weights, state, y) in enumerate(zip(self._weights, self._states, self._outputs, strict=True)):
            I = self.I if number == 0 else P
            # Struct Net's x and symbols: address and strides of each.
            if number:
                x = (_at(self._outputs[number - 1]), B * P, P, 0, 0, 0)
            else:
                x = (0, 0, 0, _at(self._ids), B, 1) if symbols else (0, B * I, I, 0, 0, 0)
            h, c = (_at(state[0]), _at(state[1])) if has_cell_state(kind) else (_at(state[0]), 0)
            # The fields of struct Call and struct Net; the state is read before it is written, so it may stay in place.
            header = [CELLS[kind].number, 1, B, I, self.H, P, 1, 0, 0, 0, 0, 0, 0, 1, 0]
            net = [*map(_at, weights), *x, h, c, _at(y), B * P, P, h, c, *(0,) * 6, 0]
            calls.append((header, net))
        #: (B, V): what the head says comes next; may be written to, is overwritten by every step.
        self.logits = np.zeros((B, 0), dtype)
        fields: list[int] = []
        if head is not None:
            V = len(head[0])
            _check(head[0], dtype, (V, P), "W_hy")
            _check(head[1], dtype, (V,), "b_y")
            self._head = tuple(np.ascontiguousarray(w) for w in head)
            self.logits = np.zeros((B, V), dtype)
            fields = [*map(_at, self._head), _at(self._outputs[-1]), _at(self.logits), B, P, V]
        self._core = (_core.StepperF64 if dtype == np.float64 else _core.StepperF32)(calls, fields)

    @property
    def states(self) -> list[tuple[Array, ...]]:
        """h (B, P), for LSTM followed by c (B, H), of each layer; may be written to, is overwritten by every step."""
        return list(self._states)

    @property
    def output(self) -> Array:
        """The last layer's h (B, P), overwritten by every step."""
        return self._outputs[-1]

    def step(self, ids: NDArray[np.int64]) -> Array:
        """Read symbols ids (B,), advance `states`; return `output`.

        Raises: IndexError if a symbol is outside [0, V).
        """
        for symbol in ids.tolist():
            if not 0 <= symbol < self.I:
                raise IndexError(f"symbol {symbol} to step on, expected 0 to V - 1 = {self.I - 1}")
        self._ids[:, 0] = ids
        self._core.step()
        return self._outputs[-1]

    def step_from(self, address: int) -> None:
        """Read the vectors x (B, I) at an address, contiguous and of the weights' type; advance `states`."""
        self._core.step_from(address)

    def write(self, choice: _core.Choice, last: int, u: NDArray[np.float64]) -> NDArray[np.int64]:
        """Choose each row's next symbol from `logits`, read it, and so on, up to a step in which a row chose `last`.

        Args: how a symbol is chosen; u (N, B) in [0, 1), which decide.
        Returns: what was written, (N, B) or fewer steps.
        """
        written = np.empty(u.shape, np.int64)
        return written[: self._core.write(choice, last, u, written)]


def _check(w: Array, dtype: Any, shape: tuple[int, ...], name: str) -> None:
    if w.shape != shape or w.dtype != dtype:
        raise ValueError(f"{name} is {w.dtype} {w.shape}, expected {dtype} {shape}")


def _at(array: Array | None) -> int:
    return 0 if array is None else array.ctypes.data
