"""Batches of symbols: sequences padded to one length, or chunks of one stream in B lanes for truncated BPTT.

T time, B batch.  A model reads inputs[t] and predicts targets[t], the symbol that follows.  The position in the data is
two integers, (epoch, index).  The order of an epoch depends on (seed, epoch) alone, so a resumed run sees the same
batches as an uninterrupted one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from unrolled.corpus.encoding import Compact
from unrolled.corpus.pages import Pages
from unrolled.corpus.sharing import ALL, Share, Whole
from unrolled.corpus.splitting import Sequences
from unrolled.saved.vocabulary import Ids
from unrolled.words import counted

#: The target where there is nothing to predict; torch's cross entropy ignores it by default.
IGNORED = -100
#: Fewest symbols in a lane of a stream that is measured: the first ones of each are predicted without their context.
LANE = 2000
#: Most rows in a batch that is measured, and places for symbols, unless it is of one row.
ROWS, PLACES = 64, 1 << 20
#: Start and length of the one row of a share that has none: nothing of it is read, and nothing predicted.
NO_ROW: tuple[Ids, Ids] = (np.zeros(1, np.int64), np.zeros(1, np.int64))


class SequenceBatch(NamedTuple):
    """inputs (T, B), targets (T, B), lengths (B,), int64; from lengths[b] on, inputs are 0 and targets IGNORED."""

    inputs: Ids
    targets: Ids
    lengths: Ids
    whole: Whole | None = None  # of which it is a part


class StreamBatch(NamedTuple):
    """inputs (T, B), targets (T, B), int64, and whether the state is reset before this batch."""

    inputs: Ids
    targets: Ids
    reset: bool
    whole: Whole | None = None  # of which it is a part


def lanes(symbols: int) -> int:
    """Return in how many lanes a stream of so many symbols is measured.

    >>> lanes(100), lanes(10_000), lanes(10**9)
    (1, 5, 64)
    """
    return max(1, min(ROWS, symbols // LANE))


AnyBatch = TypeVar("AnyBatch", SequenceBatch, StreamBatch)


class _Batches(ABC, Generic[AnyBatch]):
    """A position in the data; one ``for`` loop yields the rest of the epoch, the next loop the next epoch."""

    epoch = 0
    index = 0

    def __init__(self, ids: Compact | Ids) -> None:
        self._ids, self._pages = ids, Pages(ids)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _batch(self, index: int) -> AnyBatch: ...

    def __iter__(self) -> Iterator[AnyBatch]:
        if self.index == len(self):
            self.epoch, self.index = self.epoch + 1, 0
        while self.index < len(self):
            self.index += 1
            batch = self._batch(self.index - 1)
            self._pages.read(batch.inputs.shape[1], batch.inputs.size * self._ids.itemsize)
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return the position of the next batch: the epoch, and the index in it."""
        return {"epoch": self.epoch, "index": self.index}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Restore a position that :meth:`state_dict` returned.

        Raises: ValueError if this data has no such position.
        """
        epoch, index = state["epoch"], state["index"]
        if epoch < 0 or not 0 <= index <= len(self):
            raise ValueError(f"{type(self).__name__}: epoch {epoch}, batch {index} of {len(self)}; was it other data?")
        self.epoch, self.index = epoch, index


class SequenceBatches(_Batches[SequenceBatch]):
    """Batches of whole sequences of nearly equal length, each sequence once per epoch.

    Args:
        sequences: each of 2 symbols or more; the last one, EOS, is predicted and never read.
        batch_size: sequences in a batch; the last batch of an epoch may have fewer.
        seed: of the order, which changes from epoch to epoch.
        shuffle: False takes the sequences from long to short in every epoch.
        share: which rows of each batch to take; by default all.
        places: rows times steps of a batch at most, unless it is of one row; None for no limit.

    Raises: ValueError if there is no sequence, one is too short, or batch_size is below 1.

    >>> pairs = Sequences(np.array([0, 1, 2, 0, 0, 1, 1, 2], np.uint8), np.array([0, 3, 8]))
    >>> [batch] = SequenceBatches(pairs, batch_size=2)
    >>> batch.inputs.T.tolist(), batch.lengths.tolist()
    ([[0, 0, 1, 1], [0, 1, 0, 0]], [4, 2])
    """

    def __init__(
        self,
        sequences: Sequences,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        share: Share = ALL,
        places: int | None = None,
    ) -> None:
        _check(self, batch_size=batch_size)
        lengths = sequences.lengths - 1
        if not len(lengths) or lengths.min() < 1:
            shortest = f"one of {counted(int(lengths.min()) + 1, 'symbol')}" if len(lengths) else "none"
            raise ValueError(f"SequenceBatches: found {shortest}, expected sequences of 2 symbols or more")
        self.batch_size, self.seed, self.shuffle, self.share = batch_size, seed, shuffle, share
        super().__init__(sequences.ids)
        self._starts, self._lengths = sequences.offsets[:-1], lengths
        self._bounds = [*_bounds(lengths, batch_size, places)]
        self._ordered: int | None = None
        self._order: list[npt.NDArray[np.int64]] = []
        self._only = self._gather(np.argsort(-lengths, kind="stable")) if len(self) == 1 else None

    def __len__(self) -> int:
        return len(self._bounds)

    def _batch(self, index: int) -> SequenceBatch:
        if self._only is not None:
            return self._only
        if self._ordered != self.epoch:
            self._order, self._ordered = self._drawn(), self.epoch
        return self._gather(self._order[index])

    def _drawn(self) -> list[npt.NDArray[np.int64]]:
        """Return the sequences of each batch of this epoch: shuffled among equal lengths, then by batch."""
        n = len(self._lengths)
        random = np.random.default_rng([self.seed, self.epoch])
        order = random.permutation(n) if self.shuffle else np.arange(n)
        order = order[np.argsort(-self._lengths[order], kind="stable")]
        batches = np.split(order, self._bounds[1:])
        return [batches[k] for k in random.permutation(len(batches))] if self.shuffle else batches

    def _gather(self, units: npt.NDArray[np.int64]) -> SequenceBatch:
        lengths = self._lengths[units]
        if self.share.size > 1:
            return self._part(units, lengths)
        return SequenceBatch(*_cut(self._ids, self._starts[units], lengths, range(lengths.max())), lengths)

    def _part(self, units: npt.NDArray[np.int64], lengths: Ids) -> SequenceBatch:
        own = self.share.rows(lengths)
        whole = Whole(int(lengths.max()), len(lengths), _or_one(own), int(lengths.sum()))
        if not len(own):
            return SequenceBatch(*_cut(self._ids, *NO_ROW, range(1)), np.ones(1, np.int64), whole)
        units, lengths = units[own], lengths[own]
        return SequenceBatch(*_cut(self._ids, self._starts[units], lengths, range(lengths.max())), lengths, whole)


class StreamBatches(_Batches[StreamBatch]):
    """Chunks of one long stream in B lanes; each symbol but the first is predicted exactly once per epoch.

    Lane b continues where it stopped in the chunk before, so its state is carried over.  If the lanes differ in length,
    the longer ones come first and the shorter ones end with one IGNORED target.

    Args:
        ids: the stream (N,), of 2 symbols or more.
        batch_size: B, the number of lanes.
        bptt: T, the time steps of a chunk; the last chunk of an epoch may be shorter.
        share: which lanes to take; by default all.

    Raises: ValueError if the stream is too short, or batch_size or bptt is below 1.

    >>> for batch in StreamBatches(np.arange(6), batch_size=2, bptt=2):
    ...     print(batch.inputs.tolist(), batch.targets.tolist(), batch.reset)
    [[0, 3], [1, 4]] [[1, 4], [2, 5]] True
    [[2, 0]] [[3, -100]] False
    """

    def __init__(self, ids: Compact | Ids, batch_size: int, bptt: int, *, share: Share = ALL) -> None:
        _check(self, batch_size=batch_size, bptt=bptt)
        if len(ids) < 2:
            raise ValueError(f"StreamBatches: the stream has {counted(len(ids), 'symbol')}, expected 2 or more")
        self.batch_size, self.bptt, self.share = batch_size, bptt, share
        super().__init__(ids)
        even, longer = divmod(len(ids) - 1, batch_size)
        self._steps = even + (longer > 0)
        lane = np.arange(batch_size)
        self._starts = lane * even + np.minimum(lane, longer)  # (B,)
        self._lengths = even + (lane < longer)  # (B,)
        own = share.lanes(batch_size)
        self._rows = _or_one(own)
        self._own: tuple[Ids, Ids] = (self._starts[own], self._lengths[own]) if len(own) else NO_ROW

    def __len__(self) -> int:
        return -(-self._steps // self.bptt)

    def _batch(self, index: int) -> StreamBatch:
        first = index * self.bptt
        chunk = range(first, min(first + self.bptt, self._steps))
        inputs, targets = _cut(self._ids, *self._own, chunk)
        if self.share.size == 1:
            return StreamBatch(inputs, targets, index == 0)
        N = int(np.clip(self._lengths - first, 0, len(chunk)).sum())
        return StreamBatch(inputs, targets, index == 0, Whole(len(chunk), self.batch_size, self._rows, N))


def _cut(ids: Compact | Ids, starts: Ids, lengths: Ids, chunk: range) -> tuple[Ids, Ids]:
    """Return inputs and targets (T, B) of these time steps of the B lanes or sequences that begin at starts (B,)."""
    if lengths.min() >= chunk.stop:
        symbols = ids[starts + np.arange(chunk.start, chunk.stop + 1)[:, None]].astype(np.int64)  # (T + 1, B)
        return symbols[:-1], symbols[1:]
    t = np.arange(chunk.start, chunk.stop)[:, None]  # (T, 1)
    inside = t < lengths  # (T, B)
    position = np.where(inside, starts + t, 0)  # (T, B)
    inputs = np.where(inside, ids[position], 0).astype(np.int64)
    targets = np.where(inside, ids[position + 1].astype(np.int64), IGNORED)
    return inputs, targets


def _bounds(lengths: Ids, batch_size: int, places: int | None) -> Iterator[int]:
    """Yield where each batch begins among sequences of these lengths (N,), from long to short.

    >>> [*_bounds(np.array([5, 5, 90, 5]), 2, None)], [*_bounds(np.array([5, 5, 90, 5]), 2, 100)]
    ([0, 2], [0, 1, 3])
    """
    n, start = len(lengths), 0
    if places is None or int(lengths.max()) * batch_size <= places:
        yield from range(0, n, batch_size)
        return
    falling = -np.sort(-lengths)
    while start < n:
        yield start
        start += min(batch_size, max(1, places // int(falling[start])))


def _or_one(rows: Ids) -> Ids:
    """Return the rows of a share, or the first of the batch, which a share without rows stands on."""
    return rows if len(rows) else np.zeros(1, np.int64)


def _check(where: object, **sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{type(where).__name__}: {name} is {size}, expected 1 or more")
