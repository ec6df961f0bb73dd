"""The constants of an ONNX graph: weights that nodes cut and join, shapes, and states before the first step.

Sizes of the input that the file leaves open are stood in for by primes, so that what is computed of them is a constant
too; `of_sizes` marks it, for it is no number of the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.saved.network import Array

#: Numbers that nodes may compute in all beside those in the file.
ROOM = 1 << 22
#: numpy's types by ONNX's number: those that a graph of a network needs.
DTYPES: dict[int, Any] = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 11: np.float64}


@dataclass(frozen=True)
class Const:
    """An array that the file decides, up to the sizes of the input.

    Attributes:
        array: its numbers.
        of_sizes: whether these depend on the sizes of the input.
        product: the two arrays that a MatMul made it from.
    """

    array: Array
    of_sizes: bool = False
    product: tuple[Array, Array] | None = None


class Folder:
    """Computes nodes whose inputs are constants, within a bound on how many numbers there may be in all."""

    def __init__(self, size: int) -> None:
        self.room = size + ROOM

    def fold(self, op: str, inputs: list[Const | None], attributes: dict[str, Any], outputs: int) -> list[Const]:
        """Return the outputs of a node.

        Raises: ValueError and its kin if its inputs do not fit; KeyError for an operator that is not in `FOLDS`.
        """
        arrays = [None if each is None else each.array for each in inputs]
        if None in inputs[: 1 if op in _OPTIONAL else None]:
            raise ValueError("an input is missing")
        self.room -= _size(op, [a for a in arrays if a is not None], attributes)
        if self.room < 0:
            raise ValueError("it computes more numbers than the file holds")
        found = FOLDS[op](arrays, attributes, outputs)
        data = inputs[:1] if op in _BY_DATA else [] if op == "ConstantOfShape" else inputs
        of_sizes = any(each is not None and each.of_sizes for each in data)
        product = (arrays[0], arrays[1]) if op == "MatMul" else None
        results = found if isinstance(found, list) else [found]
        return [Const(np.asarray(each), of_sizes, product) for each in results]  # type: ignore[arg-type]


#: Operators that need their first input alone.
_OPTIONAL = {"Slice", "Split", "Squeeze"}
#: Operators that only move what is in their first input.
_BY_DATA = {"Expand", "Reshape", "Squeeze", "Unsqueeze", "Tile", "Transpose", "Identity", "Split"}

Given = list[Any]
Attributes = dict[str, Any]


def axes_of(given: Given, attributes: Attributes, position: int) -> tuple[int, ...] | None:
    """Return the axes of a node, an input since operator set 13 and an attribute before; None for all."""
    if len(given) > position and given[position] is not None:
        return tuple(int(axis) for axis in np.ravel(given[position]))
    return tuple(attributes["axes"]) if "axes" in attributes else None


def slices_of(given: Given, attributes: Attributes, rank: int) -> dict[int, slice]:
    """Return what a Slice takes of each axis that it cuts."""
    numbers: list[Any] = [attributes.get(name) for name in ("starts", "ends", "axes", "steps")]
    if len(given) > 1:
        numbers = ([None if a is None else np.ravel(a) for a in given[1:]] + [None] * 2)[:4]
    starts, ends, axes, steps = numbers
    if starts is None or ends is None:
        raise ValueError("starts or ends are missing")
    axes, steps = range(len(starts)) if axes is None else axes, [1] * len(starts) if steps is None else steps
    found = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if not -rank <= axis < rank or step != 1:
            raise ValueError(f"axis {axis} with step {step}, expected an axis of {rank} and a step of 1")
        found[int(axis) % rank] = slice(int(start), int(end))
    return found


def _constant(given: Given, attributes: Attributes, outputs: int) -> Array:
    for name, dtype in (("value_float", np.float32), ("value_floats", np.float32)):
        if name in attributes:
            return np.asarray(attributes[name], dtype)
    for name in ("value_int", "value_ints"):
        if name in attributes:
            return np.asarray(attributes[name], np.int64)
    value: Array = attributes["value"]
    return value


def _squeeze(given: Given, attributes: Attributes, outputs: int) -> Array:
    squeezed: Array = np.squeeze(given[0], axes_of(given, attributes, 1))
    return squeezed


def _unsqueeze(given: Given, attributes: Attributes, outputs: int) -> Array:
    axes = axes_of(given, attributes, 1)
    if axes is None:
        raise ValueError("axes are missing")
    return np.expand_dims(given[0], axes)


def _reshape(given: Given, attributes: Attributes, outputs: int) -> Array:
    shape = given[1] if len(given) > 1 else attributes["shape"]
    reshaped: Array = np.reshape(given[0], target(shape, given[0].shape, attributes))
    return reshaped


def target(shape: Any, before: tuple[int, ...], attributes: Attributes) -> list[int]:
    """Return the shape that a Reshape asks for, in which a 0 keeps the size that was there."""
    sizes = [int(n) for n in np.ravel(shape)]
    return sizes if attributes.get("allowzero") else [before[k] if n == 0 else n for k, n in enumerate(sizes)]


def _slice(given: Given, attributes: Attributes, outputs: int) -> Array:
    cuts = slices_of(given, attributes, given[0].ndim)
    cut: Array = given[0][tuple(cuts.get(axis, slice(None)) for axis in range(given[0].ndim))]
    return cut


def _split(given: Given, attributes: Attributes, outputs: int) -> list[Array]:
    axis = attributes.get("axis", 0)
    sizes = given[1] if len(given) > 1 and given[1] is not None else attributes.get("split")
    if sizes is None:
        return np.split(given[0], outputs, axis)
    if sum(sizes) != given[0].shape[axis] or min(sizes) < 0:
        raise ValueError(f"split is {[*map(int, sizes)]} of {given[0].shape[axis]}")
    return np.split(given[0], np.cumsum(sizes)[:-1], axis)


def _gather(given: Given, attributes: Attributes, outputs: int) -> Array:
    taken: Array = np.take(given[0], given[1], axis=attributes.get("axis", 0))
    return taken


def _filled(given: Given, attributes: Attributes, outputs: int) -> Array:
    value = np.ravel(attributes.get("value", np.zeros(1, np.float32)))
    return np.full([int(n) for n in given[0]], value[0], value.dtype)


def _expand(given: Given, attributes: Attributes, outputs: int) -> Array:
    shape = np.broadcast_shapes(given[0].shape, tuple(int(n) for n in given[1]))
    return np.broadcast_to(given[0], shape).copy()


def _cast(given: Given, attributes: Attributes, outputs: int) -> Array:
    if attributes["to"] not in DTYPES:
        raise ValueError(f"type {attributes['to']}, expected a float, an integer or a truth value")
    with np.errstate(invalid="ignore"):
        cast: Array = given[0].astype(DTYPES[attributes["to"]])
    return cast


def _elementwise(function: Callable[..., Any]) -> Callable[[Given, Attributes, int], Any]:
    def computed(given: Given, attributes: Attributes, outputs: int) -> Any:
        with np.errstate(all="ignore"):  # what comes of it is looked at in the end
            return function(*given)

    return computed


FOLDS: dict[str, Callable[[Given, Attributes, int], Any]] = {
    "Constant": _constant,
    "ConstantOfShape": _filled,
    "Identity": lambda given, attributes, outputs: given[0],
    "Cast": _cast,
    "Shape": lambda given, attributes, outputs: np.array(
        given[0].shape[attributes.get("start", 0) : attributes.get("end")], np.int64
    ),
    "Transpose": lambda given, attributes, outputs: np.transpose(given[0], attributes.get("perm")),
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "Expand": _expand,
    "Tile": lambda given, attributes, outputs: np.tile(given[0], [int(n) for n in given[1]]),
    "Concat": lambda given, attributes, outputs: np.concatenate(given, attributes["axis"]),
    "Slice": _slice,
    "Split": _split,
    "Gather": _gather,
    "Add": _elementwise(np.add),
    "Sub": _elementwise(np.subtract),
    "Mul": _elementwise(np.multiply),
    "Less": _elementwise(np.less),
    "Where": _elementwise(np.where),
    "MatMul": _elementwise(np.matmul),
}


def _size(op: str, arrays: list[Array], attributes: Attributes) -> int:
    """Return at least as many numbers as a node will compute, before it does."""
    if op == "ConstantOfShape":
        return math.prod(max(int(n), 0) for n in np.ravel(arrays[0]))
    if op in ("Expand", "Tile") and len(arrays) == 2:
        return int(arrays[0].size) * math.prod(max(int(n), 1) for n in np.ravel(arrays[1]))
    if op == "Gather" and len(arrays) == 2 and arrays[0].ndim:
        return int(arrays[0].size // max(arrays[0].shape[attributes.get("axis", 0)], 1) * arrays[1].size)
    if op in ("Add", "Sub", "Mul", "Less", "Where"):
        return math.prod(np.broadcast_shapes(*(a.shape for a in arrays)))
    if op == "MatMul" and len(arrays) == 2 and min(a.ndim for a in arrays) >= 2:
        (*rows, n, k), (*others, _, m) = (a.shape for a in arrays)
        return int(math.prod(np.broadcast_shapes(tuple(rows), tuple(others))) * n * m + k)
    return int(sum(a.size for a in arrays))
