"""How a caller laid out a sequence and its states, and the way back to that."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

Rows: TypeAlias = Tensor | PackedSequence


class Arrangement(NamedTuple):
    """What was done to a caller's tensors on the way in, to be undone on the way out.

    >>> import torch
    >>> Arrangement(alone=1).rows(torch.zeros(5, 1, 6)).shape
    torch.Size([5, 6])
    """

    alone: int | None = None  #: where a single sequence was given an axis for its batch of one
    turned: bool = False  #: whether (B, T, ...) was turned to (T, B, ...)
    packed: PackedSequence | None = None  #: the input, if it was packed

    def rows(self, y: Tensor) -> Rows:
        """Return rows (T, B, ...) or (N, ...) as the caller's input was laid out."""
        if self.packed is not None:
            return PackedSequence(y, *self.packed[1:])
        y = y.transpose(0, 1) if self.turned else y
        return y if self.alone is None else y.squeeze(self.alone)

    def sorted(self, states: list[Tensor]) -> list[Tensor]:
        """Return states (L*D, B, ...) in the order of the rows of a packed batch."""
        order = None if self.packed is None else self.packed.sorted_indices
        return states if order is None else [s.index_select(1, order) for s in states]

    def restored(self, states: list[Tensor]) -> list[Tensor]:
        """Return states as the caller's were laid out: in his order, without B for a single sequence."""
        if self.alone is not None:
            return [s.squeeze(1) for s in states]
        order = None if self.packed is None else self.packed.unsorted_indices
        return states if order is None else [s.index_select(1, order) for s in states]
