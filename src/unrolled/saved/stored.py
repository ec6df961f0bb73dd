"""How the weights of a model lie in its file: as they are, or smaller, their matrices as bfloat16 or in int8.

In a folder whose config.json says `"weights": "bfloat16"` every array of two axes is of safetensors' type BF16; of
`"weights": "int8"` it is of type I8, and its scales, one a row, are float32 under its name and `.scale`.  Biases,
initial states and `start` stay float32.  Read, everything is widened to float32, exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from unrolled.core import bfloat16, int8
from unrolled.core.int8 import Int8Matrix
from unrolled.saved.atomic_files import CheckpointError, Tensors, pack, packed_as, read_whole, unpack

Narrow = Literal["bfloat16", "int8"]

#: What follows the name of a matrix in the name of its scales.
SCALE = ".scale"
#: The types of a file by safetensors' names, as numpy has them.
_TYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "I8": np.dtype("i1"), "BF16": np.dtype("<u2")}


def nearest(w: NDArray[Any], weights: str) -> NDArray[np.float32]:
    """Return the matrix nearest to w that `weights` holds, as float32."""
    return bfloat16.rounded(w) if weights == "bfloat16" else int8.widened(int8.quantised(w))


def pack_as(tensors: Mapping[str, NDArray[Any]], weights: str | None) -> bytes:
    """Return arrays as the bytes of a safetensors file, their matrices as `weights` says.

    Raises: ValueError if a matrix is not one that `weights` holds exactly.
    """
    return pack(tensors) if weights is None else b"".join(packed_as(_narrow_parts(tensors, weights)))


def unpack_as(path: Path, expected: str | None, weights: Any) -> Tensors:
    """Return the arrays of a safetensors file with this sha256, matrices widened to float32.

    Raises: CheckpointError if it is damaged, or its types are not those of `weights`, which config.json says.
    """
    if weights is None:
        return unpack(path, expected)
    if weights not in get_args(Narrow):
        raise CheckpointError(f"{path.parent / 'config.json'}: weights is {weights!r}, expected bfloat16 or int8")
    try:
        flat: Any = deserialize(read_whole(path, expected))  # type: ignore[no-untyped-call]
        found = {name: _array(each) for name, each in flat}
        return _widened(found, weights)
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged, or not of weights in {weights}: {error}") from None


def _narrow_parts(tensors: Mapping[str, NDArray[Any]], weights: str) -> Iterator[tuple[str, str, NDArray[Any]]]:
    """Yield the name, the type and the values of what lies in the file."""
    for name, w in tensors.items():
        if w.ndim != 2:
            yield name, "F32", w.astype("<f4")
        elif not np.array_equal(nearest(w, weights), w):
            raise ValueError(f"{name} is not what {weights} holds exactly; narrow the network first")
        elif weights == "bfloat16":
            yield name, "BF16", bfloat16.narrowed(w)
        else:
            matrix = int8.quantised(w)
            yield name, "I8", matrix.q
            yield name + SCALE, "F32", matrix.scale


def _array(each: dict[str, Any]) -> tuple[str, NDArray[Any]]:
    """Return the type of a tensor of a file, and its values."""
    if (kind := each["dtype"]) not in _TYPES:
        raise ValueError(f"a tensor is of type {kind}, expected one of {', '.join(_TYPES)}")
    return kind, np.frombuffer(each["data"], _TYPES[kind]).reshape(each["shape"])


def _widened(found: dict[str, tuple[str, NDArray[Any]]], weights: str) -> Tensors:
    expected = "BF16" if weights == "bfloat16" else "I8"
    scales = {name + SCALE for name, (kind, _) in found.items() if kind == "I8"}
    tensors: Tensors = {}
    for name, (kind, values) in found.items():
        if name in scales:
            continue
        if kind != (expected if values.ndim == 2 else "F32"):
            raise ValueError(f"{name!r} is of type {kind} {values.shape}, expected matrices in {expected}, else F32")
        tensors[name] = values
        if kind == "BF16":
            tensors[name] = bfloat16.widened(values)
        elif kind == "I8":
            tensors[name] = int8.widened(_matrix(name, values, *found.get(name + SCALE, ("", np.zeros(0)))))
    return tensors


def _matrix(name: str, q: NDArray[Any], kind: str, scale: NDArray[Any]) -> Int8Matrix:
    if kind != "F32" or scale.shape != q.shape[:1]:
        was = f"is {kind} {scale.shape}" if kind else "is missing"
        raise ValueError(f"{name + SCALE!r} {was}, expected F32 {q.shape[:1]}")
    if wrong := int8.fault(matrix := Int8Matrix(q, scale)):
        raise ValueError(f"{name!r} {wrong}")
    return matrix
