"""Single-step inference of a stack of layers in the compiled core, its weights packed once; numpy only.

Steps have the bits of the whole-sequence layers (docs/kernels.md): the same kernels compute them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unrolled.core import _core
from unrolled.core.fields import Linear, Weights, core_name
from unrolled.notation import CELLS, weight_shapes

Array = NDArray[Any]

#: `Weights` of one layer, or a tuple in their order.
LayerWeights: TypeAlias = tuple[Any, ...]


class CoreStepper:
    """Layers of one direction that read one step of each row at a time.

    Args:
        kind: of cell, as in :data:`unrolled.notation.GATES`; of each layer, where they differ.
        layers: the weights of each, float32, float64, or the bits of bfloat16 as uint16, a type that numpy lacks; I of
            the first is V, a column a symbol, where it reads symbols.
        B: rows that step together.
        symbols: whether the first layer reads symbols rather than vectors.
        head: W_hy (V, H) and b_y (V), for a stepper that also writes.
    Vectors, states, outputs and logits are float32 where the weights are bfloat16; h is then a bfloat16 by value.

    Raises: ValueError if a weight has another shape or type; the message names it.

    >>> W_ih, W_hh, b = np.eye(2, dtype=np.float32), np.zeros((2, 2), np.float32), np.zeros(2, np.float32)
    >>> stepper = CoreStepper("RNN_RELU", [(W_ih, W_hh, b, b, None)], 1)
    >>> stepper.step(np.array([1])).tolist()
    [[0.0, 1.0]]
    """

    def __init__(
        self,
        kind: str | Sequence[str],
        layers: Sequence[LayerWeights],
        B: int,
        *,
        symbols: bool = True,
        head: tuple[Array, Array] | None = None,
    ):
        dtype = layers[0][1].dtype
        if dtype not in (np.float32, np.float64, np.uint16):
            raise ValueError(f"the weights are {dtype}, expected float32, float64, or the bits of bfloat16 as uint16")
        kinds = [kind] * len(layers) if isinstance(kind, str) else kind
        weights = [Weights(*layer) for layer in layers]
        width = weights[0].W_ih.shape[-1]
        for number, (k, layer) in enumerate(zip(kinds, weights, strict=True)):
            P = layer.W_hh.shape[-1]
            H = P if layer.W_hr is None else layer.W_hr.shape[-1]
            shapes, width = weight_shapes(k, width, H, proj_size=P), P
            for name, w in layer._asdict().items():
                if w is not None:
                    _check(w, dtype, shapes[name], f"{name} of layer {number}")
        if head is not None:
            V = len(head[1])
            _check(head[0], dtype, (V, width), "W_hy")
            _check(head[1], dtype, (V,), "b_y")
        # All memory is the core's: it has copied the weights, and these are views.
        cells = [CELLS[k].number for k in kinds]
        self._core = _core.Stepper(core_name(dtype), cells, weights, head and Linear(*head), B, symbols)
        #: h (B, P), for LSTM followed by c (B, H), of each layer; may be written to, is overwritten by every step.
        self.states: list[tuple[Array, ...]] = [*self._core.states]
        #: The last layer's h (B, P), overwritten by every step.
        self.output: Array = self._core.output
        #: (B, V), V 0 without a head: the logits of the next symbol; may be written to, is overwritten by every step.
        self.logits: Array = self._core.logits
        #: What a step gives: the logits, or without a head the last layer's h.
        self.result: Array = self.output if head is None else self.logits
        self.B = B

    def step(self, x: Any) -> Array:
        """Read symbols (B,) int64, or vectors x (B, I) of the type of `states`; advance `states`; return `output`.

        Raises: IndexError if a symbol is outside [0, V); ValueError for another shape or type.
        """
        self._core.step(x)
        return self.output

    def write(self, choice: _core.Choice, last: int, u: NDArray[np.float64]) -> NDArray[np.int64]:
        """Choose each row's next symbol from `logits`, read it, and so on, up to a step in which a row chose `last`.

        Args: how a symbol is chosen; u (N, B) in [0, 1), which decide.
        Returns: what was written, (N, B) or fewer steps.
        Raises: ValueError without a head, or if it has more symbols than the first layer reads.
        """
        written = np.empty(u.shape, np.int64)
        return written[: self._core.write(choice, last, u, written)]


def _check(w: Array, dtype: Any, shape: tuple[int, ...], name: str) -> None:
    if w.shape != shape or w.dtype != dtype:
        raise ValueError(f"{name} is {w.dtype} {w.shape}, expected {dtype} {shape}")
