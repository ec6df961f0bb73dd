"""Single-step inference of a stack of layers in the compiled core, its weights packed once; numpy only.

Steps have the bits of the whole-sequence layers (docs/kernels.md): the same kernels compute them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unrolled.core import _core
from unrolled.core.fields import Linear, Weights, core_name
from unrolled.core.int8 import Int8Matrix, fault, widened
from unrolled.notation import CELLS, weight_shapes

Array = NDArray[Any]

#: `Weights` of one layer, or a tuple in their order.
LayerWeights: TypeAlias = tuple[Any, ...]


class CoreStepper:
    """Layers of one direction that read one step of each row at a time.

    Args:
        kind: of cell, as in :data:`unrolled.notation.CELLS`: of all layers, or of each.
        layers: the weights of each, float32, float64, the bits of bfloat16 as uint16, a type that numpy lacks, or in
            int8: matrices as :class:`Int8Matrix`, vectors float32.  I of the first is V, a column a symbol, where it
            reads symbols without an embedding.
        B: rows that step together.
        symbols: whether the first layer reads symbols rather than vectors.
        head: W_hy (V, H) and b_y (V), for a stepper that also writes.
        embedding: (V, E), which symbols are looked up in; float32 where the weights are in int8.
    Vectors, states, outputs and logits are float32 where the weights are bfloat16 or int8; h of bfloat16 weights is a
    bfloat16 by value.  In int8 each row that a matrix multiplies is rounded to whole numbers with one scale a row and
    step; what symbols look up is float32.

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
        head: tuple[Any, Array] | None = None,
        embedding: Array | None = None,
    ):
        kinds = [kind] * len(layers) if isinstance(kind, str) else [*kind]
        weights = [Weights(*layer) for layer in layers]
        if symbols and isinstance(weights[0].W_ih, Int8Matrix):
            weights[0] = weights[0]._replace(W_ih=widened(weights[0].W_ih))
        name = _check_layers(kinds, weights, symbols, embedding)
        if head is not None:
            P, V = _shape(weights[-1].W_hh)[1], len(head[1])
            _check(head[0], name, (V, P), "W_hy")
            _check(head[1], name, (V,), "b_y")
        self.has_head = head is not None
        # All memory is the core's: it has copied the weights, and what it shows are views.
        numbers = [CELLS[kind].number for kind in kinds]
        self._show(_core.Stepper(name, numbers, weights, head and Linear(*head), embedding, B, symbols))

    def _show(self, core: _core.Stepper) -> None:
        self._core = core
        #: What :meth:`step` calls: it reads, and returns nothing.
        self.read: Callable[[Any], None] = core.step
        #: h (B, P), for LSTM followed by c (B, H), of each layer; may be written to, is overwritten by every step.
        self.states: list[tuple[Array, ...]] = [*core.states]
        #: The last layer's h (B, P), overwritten by every step.
        self.output: Array = core.output
        #: (B, V), V 0 without a head: the logits of the next symbol; may be written to, is overwritten by every step.
        self.logits: Array = core.logits
        #: What a step gives: the logits, or without a head the last layer's h.
        self.result: Array = self.logits if self.has_head else self.output
        self.B = len(self.output)

    def beside(self, B: int) -> CoreStepper:
        """Return a stepper for B other rows, from zeros, on the same packed weights."""
        other = copy(self)
        other._show(self._core.beside(B))
        return other

    def step(self, x: Any) -> Array:
        """Read symbols (B,) int64, or vectors x (B, I) of the type of `states`; advance `states`; return `output`.

        One row may also come as a number, or as x (I,).

        Raises: IndexError if a symbol is outside [0, V); ValueError for another shape or type.
        """
        self.read(x)
        return self.output

    def write(self, choice: _core.Choice, last: int, u: NDArray[np.float64]) -> NDArray[np.int64]:
        """Choose each row's next symbol from `logits`, read it, and so on, up to a step in which a row chose `last`.

        Args: how a symbol is chosen; u (N, B) in [0, 1), which decide.
        Returns: what was written, (N, B) or fewer steps.
        Raises: ValueError without a head, or if it has more symbols than the first layer reads.
        """
        written = np.empty(u.shape, np.int64)
        return written[: self._core.write(choice, last, u, written)]


def _check_layers(kinds: Sequence[str], layers: Sequence[Weights], symbols: bool, embedding: Array | None) -> str:
    """Return the core's name for the type of some layers; refuse a weight that does not fit."""
    W = layers[0].W_hh
    name = "int8" if isinstance(W, Int8Matrix) else core_name(W.dtype)
    if name not in ("float32", "float64", "bfloat16", "int8"):
        expected = "float32, float64, the bits of bfloat16 as uint16, or int8"
        raise ValueError(f"the weights are {W.dtype}, expected {expected}")
    I = _shape(layers[0].W_ih)[1] if embedding is None else embedding.shape[-1]
    if embedding is not None:
        _check(embedding, "float32" if name == "int8" else name, (len(embedding), I), "the embedding")
    for number, (kind, layer) in enumerate(zip(kinds, layers, strict=True)):
        P = _shape(layer.W_hh)[-1]
        H = P if layer.W_hr is None else _shape(layer.W_hr)[-1]
        shapes = weight_shapes(kind, I, H, proj_size=P)
        for weight, w in layer._asdict().items():
            looked_up = weight == "W_ih" and number == 0 and symbols
            if w is not None:
                of_type = "float32" if name == "int8" and looked_up else name
                _check(w, of_type, shapes[weight], f"{weight} of layer {number}")
        I = P
    return name


def _shape(w: Any) -> tuple[int, ...]:
    shape: tuple[int, ...] = (w.q if isinstance(w, Int8Matrix) else w).shape
    return shape


def _check(w: Any, name: str, shape: tuple[int, ...], what: str) -> None:
    if name == "int8" and len(shape) == 2:
        if not isinstance(w, Int8Matrix):
            raise ValueError(f"{what} is {w.dtype} {w.shape}, expected int8 {shape} with a scale for each row")
        _check_array(w.q, "int8", shape, what)
        _check_array(w.scale, "float32", shape[:1], f"the scale of {what}")
        if wrong := fault(w):
            raise ValueError(f"{what} {wrong}")
        return
    _check_array(w, {"bfloat16": "uint16", "int8": "float32"}.get(name, name), shape, what)


def _check_array(w: Any, dtype: str, shape: tuple[int, ...], what: str) -> None:
    w = w.q if isinstance(w, Int8Matrix) else w
    if w.shape != shape or w.dtype != dtype:
        raise ValueError(f"{what} is {w.dtype} {w.shape}, expected {dtype} {shape}")
