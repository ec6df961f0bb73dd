"""The sum of all processes' gradients, in parts that go out while the walk back through the layers goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from unrolled.corpus.sharing import NoExchange
from unrolled.lm.dropout import rows_of
from unrolled.lm.loader import Batch
from unrolled.lm.optimisers import FlatParameters

if TYPE_CHECKING:
    from unrolled.lm.gradients import GradientFunction
    from unrolled.lm.model import SequenceModel, State

#: Bytes of a part, at least: a smaller one takes as long, because it is the way there that takes it.
LEAST = 1 << 20


class Bucket(NamedTuple):
    """Neighbours in the flat gradient: from where to where, and the ids of their parameters."""

    start: int
    stop: int
    parameters: frozenset[int]


def buckets(flat: FlatParameters, order: Iterable[torch.nn.Parameter], least: int = LEAST) -> list[Bucket]:
    """Divide the flat gradient into parts that are complete one after another.

    Args: the flat parameters; the parameters in the order in which they are completed; bytes of a part, at least,
        where its neighbour is completed next.

    >>> layers = torch.nn.Sequential(torch.nn.Linear(4, 8, bias=False), torch.nn.Linear(8, 2, bias=False))
    >>> order = [layers[1].weight, layers[0].weight]
    >>> [[(part.start, part.stop) for part in buckets(FlatParameters(layers.parameters()), order, n)] for n in (1, 999)]
    [[(32, 48), (0, 32)], [(0, 48)]]
    """
    found: list[Bucket] = []
    for name in (id(p) for p in order if id(p) in flat.spans):
        start, stop = flat.spans[name]
        if found and found[-1].start == stop and (found[-1].stop - stop) * flat.values.element_size() < least:
            last = found.pop()
            found.append(Bucket(start, last.stop, last.parameters | {name}))
        else:
            found.append(Bucket(start, stop, frozenset({name})))
    return found


class Exchange(NoExchange):
    """Sums the flat gradients of all processes.

    Parts go out in the same order everywhere, each once it and all before it are complete.

    Args:
        flat: the flat parameters, all of them in the order.
        order: in which a batch completes the gradients.
        send: begins to sum a tensor over all processes; what it returns waits until that is done.
    """

    def __init__(
        self, flat: FlatParameters, order: Iterable[torch.nn.Parameter], send: Callable[[Tensor], Callable[[], None]]
    ):
        self.gradients, self.send = flat.gradients, send
        self.buckets = buckets(flat, order)
        self.ready = self._ready
        self._waits: list[Callable[[], None]] = []
        self._complete: set[int] = set()

    @property
    def bytes(self) -> int:
        """How many bytes of gradient are summed in a step."""
        return self.gradients.numel() * self.gradients.element_size()

    def around(self, add_gradients: GradientFunction) -> GradientFunction:  # type: ignore[override]
        """Return the function that adds the gradients of a part of a batch."""

        def add_part(model: SequenceModel, batch: Batch, state: State | None) -> tuple[float, State]:
            with rows_of(batch.whole):
                return add_gradients(model, batch, state)

        return add_part

    def finish(self, nats: float) -> float:
        """Send what has not gone yet and wait for all; return the loss of all processes, summed."""
        self._send_until(len(self.buckets))
        loss = torch.tensor([nats], dtype=torch.float64)
        self._waits.append(self.send(loss))
        for wait in self._waits:
            wait()
        self._waits, self._complete = [], set()
        return float(loss)

    def _ready(self, *parameters: Tensor | None) -> None:
        """Send the parts that are complete with these parameters, if no other batch adds to them."""
        if not self.last:
            return
        self._complete.update(map(id, parameters))
        sent = len(self._waits)
        while sent < len(self.buckets) and self.buckets[sent].parameters <= self._complete:
            sent += 1
        self._send_until(sent)

    def _send_until(self, count: int) -> None:
        for part in self.buckets[len(self._waits) : count]:
            self._waits.append(self.send(self.gradients[part.start : part.stop]))
