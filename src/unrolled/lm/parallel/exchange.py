"""What processes tell each other once a step: gradients, loss, whether to stop, and the time.

Between machines gradients go out in parts, while the walk back through the layers goes on; on one machine they are
added in memory (`memory`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from unrolled.corpus.sharing import NoExchange, Share, Timed
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
    """Sums the gradients of all processes, and tells them the loss, the stop and the time, once a step.

    Args: the flat parameters; the number of this process, and how many there are.
    """

    def __init__(self, flat: FlatParameters, share: Share):
        self.flat, self.share = flat, share

    @property
    def bytes(self) -> int:
        """How many bytes of gradient are summed in a step."""
        return self.flat.gradients.numel() * self.flat.gradients.element_size()

    def around(self, add_gradients: GradientFunction) -> GradientFunction:  # type: ignore[override]
        """Return the function that adds the gradients of a part of a batch."""

        def add_part(model: SequenceModel, batch: Batch, state: State | None) -> tuple[float, State]:
            with rows_of(batch.whole):
                return add_gradients(model, batch, state)

        return add_part


class SentGradients(Exchange):
    """Sums the gradients over connections.

    Parts go out in the same order everywhere, each once it and all before it are complete.

    Args:
        flat, share: as for :class:`Exchange`; all have the same parameters.
        order: in which a batch completes the gradients.
        send: begins to sum a tensor over all processes; what it returns waits until that is done.
    """

    def __init__(
        self,
        flat: FlatParameters,
        share: Share,
        order: Iterable[torch.nn.Parameter],
        send: Callable[[Tensor], Callable[[], None]],
    ):
        super().__init__(flat, share)
        self.send, self.buckets = send, buckets(flat, order)
        self.ready = self._ready
        self._waits: list[Callable[[], None]] = []
        self._complete: set[int] = set()

    def finish(self, nats: float, stop: bool, run: Timed) -> tuple[float, bool]:
        """Send what has not gone yet, with the loss, and wait for all."""
        self._send_until(len(self.buckets))
        numbers = torch.tensor(numbers_of(nats, stop, run, self.share), dtype=torch.float64, device="cpu")
        self._waits.append(self.send(numbers))
        for wait in self._waits:
            wait()
        self._waits, self._complete = [], set()
        return taken(numbers.tolist(), run)

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
            self._waits.append(self.send(self.flat.gradients[part.start : part.stop]))


def numbers_of(nats: float, stop: bool, run: Timed, share: Share) -> list[float]:
    """Return what a process tells the others: its loss, whether it is asked to stop, and the times of the first."""
    times = [run.clock.seconds, *run.lasted.values()]
    return [nats, float(stop), *(times if share.rank == 0 else [0.0] * len(times))]


def taken(sums: Sequence[float], run: Timed) -> tuple[float, bool]:
    """Take the times from the sums of what all have told; return the loss, and whether any is asked to stop."""
    nats, stops, run.clock.seconds, *lasted = sums
    run.lasted.update(zip(run.lasted, lasted, strict=True))
    return nats, stops > 0
