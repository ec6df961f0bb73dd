"""How autograd and torch.func learn of the compiled core: two routes, one forward and one backward between them.

A route never computes: it hands tensors to fused.py and keeps for the backward pass what that asks to keep.  Derivatives
of derivatives are those of the equations in reference.py, which autograd can follow to any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from torch import Tensor

from unrolled.nn import checks
from unrolled.nn.reference import DirectionWeights

try:
    from unrolled.nn import fused
except ImportError:  # the compiled core is not built: the equations still run
    fused = None  # type: ignore[assignment]

#: W_ih, W_hh, b_ih, b_hh, W_hr of each direction in turn: autograd wants its tensors in one row.
FlatWeights: TypeAlias = Sequence[Tensor | None]


class Layout(NamedTuple):
    """How the rows of a sequence lie in memory, where they end and where the state returns; see `reference.layer`."""

    batch_first: bool
    lengths: Tensor | None
    batch_sizes: Tensor | None
    reset: Tensor | None


def by_direction(flat: FlatWeights) -> tuple[DirectionWeights, ...]:
    """Return flat weights as one tuple of five for each direction.

    >>> by_direction([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    ((1, 2, 3, 4, 5), (6, 7, 8, 9, 10))
    """
    return tuple(tuple(flat[k : k + 5]) for k in range(0, len(flat), 5))  # type: ignore[misc]


def check_values(x: Tensor, W_ih: Tensor, layout: Layout) -> None:
    """Raise if a length or a one-hot index lies outside its range; this reads the values, so it needs them there."""
    if layout.lengths is not None:
        checks.length_range(layout.lengths, x.shape[int(layout.batch_first)])
    if checks.is_one_hot(x):
        checks.one_hot_range(x, W_ih.shape[1], layout.lengths, layout.batch_first)
