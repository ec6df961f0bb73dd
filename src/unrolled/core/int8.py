"""Matrices in int8: whole numbers from -127 to 127, and one scale a row.

A scale has at most 17 significant bits, so q * scale, with 7 bits of q, is exact in float32's 24: a matrix widened and
quantised again is the same in every bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: The longest row whose products with another an int32 holds.
LONGEST = 1 << 16
#: Significant bits of a scale, and the largest number of a matrix.
SCALE_BITS, LARGEST = 17, 127
#: A row whose largest number is smaller becomes zeros: its scale would be too small to be exact.
SMALLEST = 1e-30


class Int8Matrix(NamedTuple):
    """Row r stands for q[r] * scale[r]."""

    q: NDArray[np.int8]  #: (rows, columns)
    scale: NDArray[np.float32]  #: (rows)


def quantised(w: NDArray[Any]) -> Int8Matrix:
    """Return the matrix in int8 nearest to w (rows, columns), whose numbers are finite.

    >>> matrix = quantised(np.array([[0.5, -2.0], [0.0, 0.0]]))
    >>> matrix.q.tolist(), np.round(widened(matrix), 3).tolist()
    ([[32, -127], [0, 0]], [[0.5040000081062317, -2.0], [0.0, 0.0]])
    """
    largest = np.abs(w).max(axis=1, initial=0).astype(np.float64)
    mantissa, exponent = np.frexp(np.where(largest < SMALLEST, 0, largest) / LARGEST)
    scale = np.ldexp(np.rint(np.ldexp(mantissa, SCALE_BITS)), exponent - SCALE_BITS)
    q = np.rint(w / np.where(scale > 0, scale, np.inf)[:, None])
    return Int8Matrix(q.astype(np.int8), scale.astype(np.float32))


def widened(matrix: Int8Matrix) -> NDArray[np.float32]:
    """Return the numbers (rows, columns) that a matrix stands for, exactly."""
    return matrix.q.astype(np.float32) * matrix.scale[:, None]


def fault(matrix: Int8Matrix) -> str:
    """Return what is wrong with the numbers of a matrix, or nothing.

    >>> fault(Int8Matrix(np.array([[-128]], np.int8), np.ones(1, np.float32)))
    'holds -128, expected -127 to 127'
    """
    q, scale = matrix.q, matrix.scale.astype(np.float64)
    if (q == -128).any():
        return f"holds -128, expected -{LARGEST} to {LARGEST}"
    if not np.isfinite(scale).all() or (scale < 0).any():
        return "has a scale that is negative or not finite, expected 0 or more"
    if (scale * LARGEST > np.finfo(np.float32).max).any():
        return "has a scale that is too large for float32"
    bits = np.ldexp(np.frexp(scale)[0], SCALE_BITS)
    if (bits != np.rint(bits)).any() or ((scale > 0) & (scale * LARGEST < SMALLEST)).any():
        return f"has a scale with which q * scale is not exact, expected {SCALE_BITS} significant bits"
    return ""
