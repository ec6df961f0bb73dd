"""bfloat16 in numpy, which has no such type: the upper half of a float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def narrowed(values: NDArray[Any]) -> NDArray[np.uint16]:
    """Return the bits of numbers as bfloat16, rounded to nearest, ties to even; NaN stays NaN.

    >>> [hex(bits) for bits in narrowed(np.array([1.0, -2.0, 1 + 2**-8, 1 + 3 * 2**-8]))]
    ['0x3f80', '0xc000', '0x3f80', '0x3f82']
    """
    bits = values.astype(np.float32, order="C").view(np.uint32)
    nearest = bits + 0x7FFF + (bits >> 16 & 1)
    return (np.where(np.isnan(values), bits | 0x400000, nearest) >> 16).astype(np.uint16)


def widened(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return the numbers whose bits as bfloat16 these are, exactly.

    >>> widened(np.array([0x3F80, 0xC000], np.uint16)).tolist()
    [1.0, -2.0]
    """
    return (bits.astype(np.uint32) << 16).view(np.float32)


def rounded(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return the float32 numbers that are those of bfloat16 nearest to the values."""
    return widened(narrowed(values))
