"""Dropout whose masks are drawn by the core, where they are used, and kept nowhere.

torch draws a random number for every element, one after the other, which at H 256 takes half the time of a training
step.  Here one draw of torch's generator seeds a mask, of which each element follows from the seed and from its place;
the way back draws the same mask again.  So a seed and a checkpoint fix all masks, for any number of threads.

Of a batch that several processes share, each draws its rows of the masks of the whole: the masks are those of one
process, and all generators stay alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor

from unrolled.core import elementwise
from unrolled.corpus.sharing import Whole
from unrolled.nn.fused import CORE_TYPES
from unrolled.nn.reach import core_reads

_whole: ContextVar[Whole | None] = ContextVar("whole", default=None)


class Mask(NamedTuple):
    """Which elements are dropped: a seed, the probability, and where rows lie in the mask of the whole batch."""

    seed: int
    p: float
    starts: Tensor | None = None


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
    if p and not (core_reads(x) and x.is_cpu):  # torch has to see it: a transform, a tracer, a mode, another device
        return torch.nn.functional.dropout(x, p)
    mask = kept(x, p)
    return x if mask is None else x * masked(torch.ones_like(x, requires_grad=False), mask)


def kept(x: Tensor, p: float) -> Mask | None:
    """Draw a mask for x, (T, B, H) or a weight; None if p is 0."""
    if not p:
        return None
    seed = int(torch.empty((), dtype=torch.int64, device="cpu").random_(-(2**63), None))
    whole = _whole.get() if x.dim() == 3 else None  # a weight has no rows of a batch
    if whole is None:
        return Mask(seed, p)
    places = torch.arange(x.shape[0], device=x.device)[:, None] * whole.B + torch.from_numpy(whole.rows)  # (T, B)
    return Mask(seed, p, places.flatten() * x.shape[2])


def masked(x: Tensor, mask: Mask | None, dtype: torch.dtype | None = None) -> Tensor:
    """Return x times its mask, divided by 1 - p; its derivative is the same function.

    Args: dtype: that of the result, bfloat16 for x in float32; by default that of x.
    """
    dtype = dtype or x.dtype
    if mask is None and dtype == x.dtype:
        return x
    if x.dtype not in CORE_TYPES:
        return masked(x.float(), mask).to(dtype)
    y = torch.empty(x.shape, dtype=dtype, device=x.device)
    seed, p, starts = mask or Mask(0, 0.0)
    elementwise.drop(x, y, seed, p, torch.get_num_threads(), starts=starts)
    return y


def add_masked(x: Tensor, mask: Mask, to: Tensor) -> None:
    """Add what :func:`masked` returns."""
    elementwise.drop(x, to, mask.seed, mask.p, torch.get_num_threads(), starts=mask.starts, add=True)
