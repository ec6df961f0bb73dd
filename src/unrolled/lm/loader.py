"""The data loader: batches of torch tensors, of the same form for sequences and for a stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from unrolled.corpus.batching import IGNORED, PLACES, SequenceBatch, SequenceBatches, StreamBatch, StreamBatches
from unrolled.corpus.sharing import ALL, Share, Whole
from unrolled.corpus.splitting import Sequences


class Batch(NamedTuple):
    """One batch.

    Attributes:
        ids: Input symbols, (T, B) int64.
        targets: Symbols to predict, (T, B) int64; IGNORED where there is none.
        lengths: Symbols in each row, (B,) int64; None if every row has T.
        reset: Whether every row starts from the initial state, not from the one after the last batch.
        N: Number of symbols to predict; in the whole batch, if this is a part of one.
        whole: The batch of which it is a part, the share of one process; None if it is no part.
    """

    ids: Tensor
    targets: Tensor
    lengths: Tensor | None
    reset: bool
    N: int
    whole: Whole | None = None


def as_batch(batch: SequenceBatch | StreamBatch) -> Batch:
    """Return a batch of tensors that share memory with a batch of arrays."""
    ids, targets, whole = torch.from_numpy(batch.inputs), torch.from_numpy(batch.targets), batch.whole
    if isinstance(batch, StreamBatch):
        N = int((batch.targets != IGNORED).sum()) if whole is None else whole.N
        return Batch(ids, targets, None, batch.reset, N, whole)
    ragged, N = batch.lengths.min() < len(ids), int(batch.lengths.sum()) if whole is None else whole.N
    return Batch(ids, targets, torch.from_numpy(batch.lengths) if ragged else None, True, N, whole)


class BatchLoader:
    """Loads the training batches of a corpus, epoch after epoch, without end.

    Args:
        part: the training split.
        stream: whether it is one stream, else independent sequences.
        batch_size: sequences in a batch, or lanes of the stream.
        bptt: time steps in a chunk of the stream.
        seed: seed for the order of sequences.
        share: what this process takes of each batch.
    """

    def __init__(self, part: Sequences, stream: bool, batch_size: int, bptt: int, seed: int, share: Share = ALL):
        self.source: SequenceBatches | StreamBatches = (
            StreamBatches(part.ids, batch_size, bptt, share=share)
            if stream
            else SequenceBatches(part, batch_size, seed=seed, share=share)
        )
        self._arrays: SequenceBatch | StreamBatch | None = None
        self._batch: Batch | None = None

    @property
    def batches_per_epoch(self) -> int:
        """Number of batches in an epoch."""
        return len(self.source)

    @property
    def epoch(self) -> int:
        """The epoch of the last batch, counted from 1."""
        return self.source.epoch + 1

    @property
    def index(self) -> int:
        """The index of the last batch in its epoch, counted from 1."""
        return self.source.index

    @property
    def epochs_done(self) -> int:
        """Number of complete epochs."""
        return self.source.epoch + (self.source.index == len(self.source))

    def next(self) -> Batch:
        """Return the next batch; the same tensors every time if an epoch is one batch."""
        arrays: SequenceBatch | StreamBatch = next(iter(self.source))  # type: ignore[assignment]
        if self._batch is None or arrays is not self._arrays:
            self._arrays, self._batch = arrays, as_batch(arrays)
        return self._batch

    def state(self) -> dict[str, int]:
        """Return the position in the data."""
        return self.source.state_dict()

    def load_state(self, state: dict[str, int]) -> None:
        """Restore a position from :meth:`state`."""
        self.source.load_state_dict(state)


def one_epoch(
    part: Sequences, stream: bool, batch_size: int, bptt: int, *, shuffle: bool = False, share: Share = ALL
) -> Iterator[Batch]:
    """Yield every batch of a split once, always in the same order; arguments as :class:`BatchLoader`.

    Sequences come from long to short, very long ones in batches of fewer; with `shuffle` in an order of which every
    beginning is a fair sample.  Those of a stream are one: each lane begins elsewhere in it.
    """
    source: SequenceBatches | StreamBatches = (
        StreamBatches(part.ids, batch_size, bptt, share=share)
        if stream
        else SequenceBatches(part, batch_size, shuffle=shuffle, share=share, places=PLACES)
    )
    return map(as_batch, source)
