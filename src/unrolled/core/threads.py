"""How many threads a call of the core uses, and why (csrc/division.h chooses)."""

from __future__ import annotations

import os
from typing import NamedTuple

from unrolled.core import _core


class Threads(NamedTuple):
    """How many threads share a call, and the reason."""

    number: int
    why: str


def of_layer(
    cell: int,
    dtype: str,
    *,
    T: int,
    B: int,
    I: int,
    H: int,
    P: int,
    D: int = 1,
    symbols: bool = False,
    backward: bool = False,
    allowed: int,
) -> Threads:
    """Return how many threads one layer would use.

    Args:
        cell: the number of its kind.
        dtype: float32 or float64.
        T, B, I, H, P, D: its sizes; symbols: whether its input is one-hot; backward: of the backward pass.
        allowed: how many may be used where UNROLLED_NUM_THREADS is not set.

    >>> of_layer(2, "float32", T=1, B=1, I=8, H=8, P=8, allowed=4)
    Threads(number=1, why='it is done before another would have woken')
    """
    asked = int(os.environ.get("UNROLLED_NUM_THREADS") or allowed)
    count, division = _core.crew(cell, dtype, T, B, I, H, P, D, symbols, backward, allowed)
    limit = min(asked, _core.processors())
    if limit == 1:
        return Threads(1, limits(asked))
    if count == 1:
        return Threads(1, "it is done before another would have woken")
    shared = "they share its rows" if division == "rows" else "they share each of its steps"
    return Threads(count, f"{shared}; {limits(asked)}")


def limits(asked: int) -> str:
    """Say how many threads may run and what the limit is.

    >>> limits(1)
    'one thread is allowed'
    """
    processors = _core.processors()
    if asked <= processors:
        return "one thread is allowed" if asked == 1 else f"{asked} threads are allowed"
    count = "one processor" if processors == 1 else f"{processors} processors"
    return f"{asked} threads are allowed, and this process has {count}"
