"""How several processes share a run: which rows of each batch are whose, and what a process does that is alone.

`Alone` is the one word for both: the training loop, the run and the commands ask it, and the processes that torchrun
has started answer as :class:`unrolled.lm.parallel.ranks.Ranks`, which has the same methods.  T time, B batch.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from unrolled.saved.vocabulary import Ids

Value = TypeVar("Value")


class Whole(NamedTuple):
    """The batch of all processes, of which one has a part: (T, B), the B of its rows (b,), and N symbols to predict."""

    T: int
    B: int
    rows: Ids
    N: int


class Share(NamedTuple):
    """The part of every batch that one process takes; rank is its number, from 0, and size how many there are.

    >>> lengths = np.array([9, 4, 4, 2, 1])
    >>> [Share(rank, 2).rows(lengths).tolist() for rank in (0, 1)]
    [[0, 4], [1, 2, 3]]
    >>> [Share(rank, 2).lanes(5).tolist() for rank in (0, 1)]
    [[0, 1], [2, 3, 4]]
    """

    rank: int = 0
    size: int = 1

    def lanes(self, B: int) -> Ids:
        """Return its lanes of a stream: always the same, so that a state stays with its text."""
        return np.arange(*self.part(B))

    def part(self, n: int) -> tuple[int, int]:
        """Return where its part of n things that lie in a row begins and ends."""
        return n * self.rank // self.size, n * (self.rank + 1) // self.size

    def rows(self, lengths: Ids) -> Ids:
        """Return its rows of a batch of sequences, so that all processes have about as many symbols.

        From long to short, each row goes to the process that has the fewest symbols so far.
        """
        loads, own = [(0, rank) for rank in range(self.size)], []
        for row in np.argsort(-lengths, kind="stable").tolist():
            symbols, rank = loads[0]
            heapq.heapreplace(loads, (symbols + int(lengths[row]), rank))
            if rank == self.rank:
                own.append(row)
        return np.array(sorted(own), np.int64)


#: The share of a process that takes every row.
ALL = Share()


class Timed(Protocol):
    """What a run knows of time: its clock, and the seconds that its parts lasted."""

    clock: Any  # with `seconds`
    lasted: dict[str, float]


class NoExchange:
    """What becomes of the gradient of a process that is alone: nothing."""

    #: What is called with parameters whose gradient is complete; None where nobody waits for them.
    ready: Any = None
    #: Whether the next batch is the last of its step.
    last = True

    def around(self, add_gradients: Value) -> Value:
        """Return the function that adds the gradients of a batch, or of a part of it."""
        return add_gradients

    def finish(self, nats: float, stop: bool, run: Timed) -> tuple[float, bool]:
        """Return the loss of all processes, summed, and whether any is asked to stop.

        Their gradients are summed then too, and all have the times of the first.
        """
        return nats, stop


class Alone:
    """A process that shares its run with no other.

    >>> Alone().sum(2.0, 3), Alone().told("here"), Alone().first
    ((2.0, 3), 'here', True)
    """

    share = ALL

    @property
    def size(self) -> int:
        """How many processes there are."""
        return self.share.size

    @property
    def first(self) -> bool:
        """Whether it is the one that writes files, prints and decides."""
        return self.share.rank == 0

    def sum(self, *numbers: float) -> tuple[float, ...]:
        """Return the sum over all processes of each number."""
        return numbers

    def told(self, value: Value) -> Value:
        """Return the value that the first process has: what JSON can express."""
        return value

    def told_arrays(self, arrays: dict[str, Value]) -> dict[str, Value]:
        """Return the arrays that the first process has."""
        return arrays

    def agree(self, stop: bool, run: Timed) -> bool:
        """Return whether any process is asked to stop; from here on all have the times of the first."""
        return stop

    def copy_first(self, *tensors: object) -> None:
        """Overwrite tensors with those of the first process."""

    def align(self, *tensors: object) -> None:
        """Overwrite tensors with those of the first process, where processors differ and so rounding may."""

    def of_all(self, states: Value, B: int) -> Value:
        """Return the states (L, B, H) of the rows of all processes."""
        return states

    def own(self, states: Value) -> Value:
        """Return the states of its own rows, of those of all."""
        return states

    def compare(self, given: Callable[[], dict[str, dict[str, Any]]]) -> None:
        """Refuse processes that were given other things than the first one."""

    def exchange(self, flat: Any, order: Any) -> NoExchange:
        """Return what sums the gradients of all processes.

        Args: the flat parameters; the parameters in the order in which their gradients are completed.
        """
        return NoExchange()

    def reporting(self) -> AbstractContextManager[None]:
        """Tell the others of an error inside the block, because they would wait for this process."""
        return nullcontext()


#: A process that shares with nobody.
ALONE = Alone()
