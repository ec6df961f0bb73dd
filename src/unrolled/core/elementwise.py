"""What training does with numbers one by one, in the core: dropout, rounding, the norm of a gradient, AdamW.

Tensors of torch, each in one piece; the results have the same bits for any number of threads.
"""

from __future__ import annotations

from typing import Any

from unrolled.core import _core
from unrolled.core.fields import AdamStep


def sum_of_squares(x: Any, threads: int) -> float:
    """Return the sum of the squares of x (P), float32 or float64."""
    return _core.sum_of_squares(x, threads)


def drop(x: Any, y: Any, seed: int, p: float, threads: int, *, starts: Any = None, add: bool = False) -> None:
    """Write x to y, each number with probability p as 0 and else divided by 1 - p.

    Args:
        x, y: of one shape (..., H) and one type, or y is bfloat16 and x float32; they do not overlap.
        seed: of what is drawn, int64.
        p: in [0, 1]; 0 rounds alone.
        starts: int64, the place in the draws of the first number of each row of H; by default they follow each other.
        add: add to y.
    """
    _core.drop(x, y, starts, seed, p, add, threads)


def adam(
    arrays: AdamStep, *, scale: float, beta1: float, beta2: float, eps: float, keep: float, rate: float, root: float,
    threads: int,
) -> None:  # fmt: skip
    """Take a step of AdamW with the gradient times `scale`, which becomes zero.

    Args: keep, 1 less the learning rate times the weight decay; rate, the learning rate / (1 - beta1^t); root, the
        square root of 1 - beta2^t; t, the number of the step.
    """
    _core.adam(arrays, scale, beta1, beta2, eps, keep, rate, root, threads)
