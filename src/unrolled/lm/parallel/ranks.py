"""What processes do together: sums, what the first one decides, and the states of all rows.

Every method is called by all of them, in the same order.  The loops and commands know only the words of
:class:`unrolled.corpus.sharing.Alone`.
"""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, TypeVar

import msgspec
import numpy as np
import torch
from torch import Tensor
from torch.distributed.distributed_c10d import BroadcastOptions, ProcessGroupGloo

from unrolled.core import Barrier
from unrolled.corpus.sharing import Alone, Share, Timed
from unrolled.lm.optimisers import FlatParameters
from unrolled.lm.parallel.comparison import Given, difference
from unrolled.lm.parallel.exchange import Exchange, SentGradients, numbers_of, taken
from unrolled.lm.parallel.memory import Gathering, SharedFile, SharedGradients
from unrolled.lm.parallel.watch import LOOK, Watch

Value = TypeVar("Value")

#: Bytes of a value that is told in one message.
SHORT = 256
#: For how long an operation may wait: who lives is watched otherwise, and may be writing a large file.
FOR_EVER = timedelta(days=365)


class RanksDiffer(ValueError):
    """The processes were not given the same data, options, model or version.

    Attributes: first: whether this process is the one to tell it.
    """

    def __init__(self, message: str, first: bool = True):
        super().__init__(message)
        self.first = first


class Ranks(Alone):
    """Several processes that share one run, connected by gloo, and by memory if that is told to :meth:`gather`.

    Args:
        watch: who of them lives, in a store that all reach.
        share: the number of this process, and how many there are.
        group: their connections, of :func:`connected`.
        processors: what each computes with: instruction set and number of threads.
    """

    def __init__(self, watch: Watch, share: Share, group: Any, processors: Sequence[str]):
        self.watch, self.share, self.group, self.processors = watch, share, group, processors
        self.gathering: Gathering | None = None
        self._pending: set[Any] = set()
        self._compared = 0

    @property
    def name(self) -> str:
        """What this process is called."""
        return self.watch.names[self.share.rank]

    def gather(self) -> None:
        """Wait for each other, and add gradients, in memory that all share, if all are on one machine and can."""
        if file := SharedFile.of(self, Barrier.bytes(self.size)):
            self.gathering = Gathering(file, self.share, self.watch)

    def close(self) -> None:
        """Break the connections; others that wait for this process see it.

        While an operation waits for a process that is lost, gloo would wait with it: such a group is left to the exit.
        """
        self.watch.heart.stop()
        if self.gathering:
            self.gathering.file.close()
        if self._pending:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.group))
        self.group = None

    def sum(self, *numbers: float) -> tuple[float, ...]:
        """Return the sum over all processes of each number."""
        if self.gathering:
            return self.gathering.sum(*numbers)
        sums = torch.tensor(numbers, dtype=torch.float64, device="cpu")
        self._summing(sums)()
        return tuple(sums.tolist())

    def told(self, value: Value) -> Value:
        """Return the value that the first process has: what JSON can express, with lists for tuples."""
        data = msgspec.msgpack.encode(value) if self.first else b""
        head = np.zeros(8 + SHORT, np.uint8)
        head[:8] = np.frombuffer(len(data).to_bytes(8, "little"), np.uint8)
        head[8 : 8 + min(len(data), SHORT)] = np.frombuffer(data[:SHORT], np.uint8)
        self._tell(torch.from_numpy(head))
        length = int.from_bytes(head[:8].tobytes(), "little")
        whole = head[8 : 8 + length]
        if length > SHORT:
            whole = np.frombuffer(data, np.uint8).copy() if self.first else np.empty(length, np.uint8)
            self._tell(torch.from_numpy(whole))
        return value if self.first else msgspec.msgpack.decode(whole.tobytes())

    def told_arrays(self, arrays: dict[str, Any]) -> dict[str, Any]:
        """Return the arrays that the first process has."""
        found = {}
        for name, dtype, shape in self.told([(name, a.dtype.str, a.shape) for name, a in arrays.items()]):
            array = np.ascontiguousarray(arrays[name]) if self.first else np.empty(shape, dtype)
            if array.size:
                self._tell(torch.from_numpy(array.reshape(-1).view(np.uint8)))
            found[name] = array.reshape(shape)
        return found

    def agree(self, stop: bool, run: Timed) -> bool:
        """Return whether any process is asked to stop; from here on all have the times of the first."""
        return taken(self.sum(*numbers_of(0.0, stop, run, self.share)), run)[1]

    def copy_first(self, *tensors: Any) -> None:
        """Overwrite tensors with those of the first process."""
        for tensor in tensors:
            self._tell(tensor)

    def align(self, *tensors: Any) -> None:
        """Overwrite tensors with those of the first process, where processors differ and so rounding may."""
        if len({*self.processors}) > 1:
            self.copy_first(*tensors)

    def of_all(self, states: Any, B: int) -> Any:
        """Return the states (L, B, H) of the rows of all processes: sums of bits, to which others add zeros."""
        return states and tuple(self._of_all(state, B) for state in states)

    def own(self, states: Any) -> Any:
        """Return the states of its own lanes, of those of all."""
        return states and tuple(s[:, torch.from_numpy(self.share.lanes(s.shape[1]))].contiguous() for s in states)

    def compare(self, given: Callable[[], Given]) -> None:
        """Refuse processes that were given other things than the first one.

        Args: given: returns names and values by kind: version, options, data, model.
        Raises: RanksDiffer naming the process and what it has.
        """
        self._compared += 1
        key, watch, ask = f"compared/{self._compared}", self.watch, self.watch.heart.ask
        own = msgspec.json.encode(given())
        ask(lambda store: store.set(f"{key}/{self.share.rank}", own))
        if self.first:
            every = [f"{key}/{rank}" for rank in range(self.size)]
            watch.until(lambda store: bool(store.check(every)))
            records = [msgspec.json.decode(said, type=Given) for said in ask(lambda store: [*map(store.get, every)])]
            differs = difference(records, watch.names) or ""  # here, where options are named as flags
            ask(lambda store: store.set(f"{key}/found", differs))
        watch.until(lambda store: bool(store.check([f"{key}/found"])))
        if found := ask(lambda store: store.get(f"{key}/found")).decode():
            raise RanksDiffer(found)

    def note_processors(self) -> None:
        """Warn, once, if processors differ."""
        other = next((k for k, found in enumerate(self.processors) if found != self.processors[0]), None)
        if other is not None and self.first:
            warnings.warn(
                f"{self.watch.names[other]} computes with {self.processors[other]}, rank 0 with {self.processors[0]}: "
                "they round differently, so other machines would not find the same bits",
                stacklevel=3,
            )

    def exchange(self, flat: FlatParameters, order: Iterable[torch.nn.Parameter]) -> Exchange:
        """Return what sums the gradients of all processes."""
        file = SharedFile.of(self, SharedGradients.bytes_of(flat, self.size)) if self.gathering else None
        if self.gathering and file:
            return SharedGradients(flat, file, self.gathering)
        return SentGradients(flat, self.share, order, self._summing)

    def reporting(self) -> AbstractContextManager[None]:
        """Tell the others of an error inside the block, because they would wait for this process."""
        return self.watch.reporting()

    def _of_all(self, state: Tensor, B: int) -> Tensor:
        whole = state.new_zeros(state.shape[0], B, state.shape[2])
        whole[:, torch.from_numpy(self.share.lanes(B))] = state
        bits = torch.int64 if state.dtype == torch.float64 else torch.int32
        self._summing(whole.view(bits))()
        return whole

    def _tell(self, tensor: Tensor) -> None:
        """Overwrite a tensor with that of the first process."""
        options = BroadcastOptions()
        options.rootRank, options.rootTensor = 0, 0
        self._waiting(self.group.broadcast([tensor], options))()

    def _summing(self, tensor: Tensor) -> Callable[[], None]:
        """Begin to overwrite a tensor with its sum over all processes; return what waits for that."""
        return self._waiting(self.group.allreduce([tensor]))

    def _waiting(self, work: Any) -> Callable[[], None]:
        self._pending.add(work)

        def wait() -> None:
            while True:
                over = work.is_completed()
                try:
                    work.wait(timedelta(seconds=LOOK))
                except RuntimeError as error:  # the second is over, or a connection has broken
                    if over:
                        self._pending.remove(work)
                        raise self.watch.broken(error) from None
                    self.watch.look()
                else:
                    self._pending.remove(work)
                    return

        return wait


def connected(store: Any, share: Share, timeout: float, device: Any = None) -> Any:
    """Return the connections of gloo between all processes.

    Args: a store that all reach; the number of this process, and how many there are; seconds in which they must be
        connected; the interface to the others, None leaves it to gloo.
    """
    made: Any = ProcessGroupGloo
    if device is None:
        group = made(store, share.rank, share.size, timedelta(seconds=timeout))
    else:
        options = made._Options()
        options._devices, options._timeout = [device], timedelta(seconds=timeout)
        group = made(store, share.rank, share.size, options)
    group._set_default_timeout(FOR_EVER)
    return group
