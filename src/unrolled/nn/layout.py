"""From the layout of a caller's tensors to that which the core reads, and back."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from unrolled.core.fields import Layout

Rows: TypeAlias = Tensor | PackedSequence

#: The layout of one step of a batch: (1, B, I).
STEP = Layout()


_Maybe = TypeVar("_Maybe", Tensor, Tensor | None)


def savable(t: _Maybe) -> _Maybe:
    """Return a tensor that has no gradient such that autograd may save it: a copy if it was made in inference mode.

    >>> with torch.inference_mode():
    ...     lengths = torch.tensor([5, 2])
    >>> savable(lengths).is_inference()
    False
    """
    if t is None or torch.compiler.is_compiling():  # which cannot ask, so there torch refuses what it cannot save
        return t
    return t.clone() if t.is_inference() and not torch.is_inference_mode_enabled() else t


def output_and_state(layer: torch.nn.Module, given: Any) -> tuple[Tensor, Any]:
    """Return what a call of a layer gave, which must be (output, state).

    Raises: TypeError if it is not, as from the forward of a subclass.

    >>> output_and_state(torch.nn.GRU(4, 6), (torch.zeros(1), torch.ones(1)))
    (tensor([0.]), tensor([1.]))
    """
    if not isinstance(given, tuple) or len(given) != 2:
        came = f"{len(given)} values" if isinstance(given, tuple) else f"a {type(given).__name__}"
        raise TypeError(f"{type(layer).__name__}.step expected its forward to return (output, state), got {came}")
    return given


class Arrangement(NamedTuple):
    """How a caller arranged its tensors, so that the results are given back in the same arrangement.

    >>> import torch
    >>> Arrangement(unbatched=1).rows(torch.zeros(5, 1, 6)).shape
    torch.Size([5, 6])
    """

    unbatched: int | None = None  #: the axis that a single sequence was given for its batch of one
    transposed: bool = False  #: whether (B, T, ...) became (T, B, ...)
    packed: PackedSequence | None = None  #: the input, if it was packed

    def rows(self, y: Tensor) -> Rows:
        """Return rows (T, B, ...) or (N, ...) laid out as the caller's input."""
        if self.packed is not None:
            return PackedSequence(y, *self.packed[1:])
        y = y.transpose(0, 1) if self.transposed else y
        return y if self.unbatched is None else y.squeeze(self.unbatched)

    def sorted(self, states: list[Tensor]) -> list[Tensor]:
        """Return states (L*D, B, ...) in the order of the rows of a packed batch."""
        order = None if self.packed is None else self.packed.sorted_indices
        return states if order is None else [s.index_select(1, order) for s in states]

    def restored(self, states: list[Tensor]) -> list[Tensor]:
        """Return states laid out as the caller's: in the caller's order, without B for a single sequence."""
        if self.unbatched is not None:
            return [s.squeeze(1) for s in states]
        order = None if self.packed is None else self.packed.unsorted_indices
        return states if order is None else [s.index_select(1, order) for s in states]


#: The arrangement of tensors that the core reads as they are.
AS_GIVEN = Arrangement()

#: The arguments of a layer's call, checked and laid out as the core reads them: x (T, B, I), (B, T, I) or (N, I), or
#: one-hot indices without I; the states h_0 (L*D, B, P) and c_0 (L*D, B, H), none for zeros; how both lie in memory;
#: how the caller arranged them; what a reset returns to, as states.
Arguments: TypeAlias = tuple[Tensor, list[Tensor], Layout, Arrangement, list[Tensor]]
