"""Dropout whose masks are cheap to draw.

torch draws a random number for every element, which at H 256 takes half the time of a training step.  Here one draw of
64 bits decides about four elements.  The draws come from torch's generator, so a seed and a checkpoint fix them.

Of a batch that several processes share, each draws the masks of the whole and keeps its rows: the masks are those of
one process, and all generators stay alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import prod

import torch
from torch import Tensor

from unrolled.corpus.sharing import Whole

#: Elements that one draw of 64 bits decides about, and the values that each part of it takes.
PARTS, VALUES = 4, 1 << 16

_whole: ContextVar[Whole | None] = ContextVar("whole", default=None)


@contextmanager
def rows_of(whole: Whole | None) -> Iterator[None]:
    """Let masks (T, B, H) inside the block be rows of those of a whole batch."""
    before = _whole.set(whole)
    try:
        yield
    finally:
        _whole.reset(before)


def dropout(x: Tensor, p: float) -> Tensor:
    """Zero each element with probability p and divide the others by 1 - p, as torch.nn.functional.dropout.

    >>> y = dropout(torch.ones(3, 5), 0.5)
    >>> sorted({*y.flatten().tolist()} | {0.0, 2.0})
    [0.0, 2.0]
    """
    return masked(x, kept(x, p), p)


def kept(x: Tensor, p: float) -> Tensor | None:
    """Return a mask of x's shape and type: 0 with probability p, rounded to 1/65,536, else 1; None if p is 0."""
    if not p:
        return None
    whole = _whole.get() if x.dim() == 3 else None  # a weight has no rows of a batch
    shape = x.shape if whole is None else (whole.T, whole.B, x.shape[2])
    draws = torch.empty(-(-prod(shape) // PARTS), dtype=torch.int64, device=x.device).random_(-(2**63), None)
    parts = draws.view(torch.int16)[: prod(shape)].view(shape)  # each from -VALUES/2 to VALUES/2 - 1
    if whole is not None:
        parts = parts[: x.shape[0], torch.from_numpy(whole.rows)]
    return torch.ge(parts, _dropped(p) - VALUES // 2, out=torch.empty_like(x, requires_grad=False))


def masked(x: Tensor, mask: Tensor | None, p: float) -> Tensor:
    """Return x times a mask of :func:`kept`, divided by 1 - p; its derivative is the same function."""
    return x if mask is None else (x * mask).mul_(VALUES / (VALUES - _dropped(p)))


def _dropped(p: float) -> int:
    """Return how many of the values drop an element: all but one at most."""
    return min(round(p * VALUES), VALUES - 1)
