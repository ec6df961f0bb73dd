"""Batches as the model wants them: torch tensors, one shape for sequences and streams, for ever or once through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from unrolled.corpus.batching import IGNORED, SequenceBatch, SequenceBatches, StreamBatch, StreamBatches
from unrolled.corpus.splitting import Sequences


class Batch(NamedTuple):
    """One batch.

    Attributes:
        ids: what the model reads, (T, B) int64.
        targets: what it should predict, (T, B) int64; IGNORED where there is nothing to predict.
        lengths: symbols of each row (B,) int64; None if all have T.
        fresh: whether every row starts from the initial state.
        N: symbols to predict.
    """

    ids: Tensor
    targets: Tensor
    lengths: Tensor | None
    fresh: bool
    N: int


def as_batch(batch: SequenceBatch | StreamBatch) -> Batch:
    """Return a batch of arrays as a batch of tensors, which share their memory."""
    ids, targets = torch.from_numpy(batch.inputs), torch.from_numpy(batch.targets)
    if isinstance(batch, StreamBatch):
        return Batch(ids, targets, None, batch.reset, int((batch.targets != IGNORED).sum()))
    ragged = batch.lengths.min() < len(ids)
    return Batch(ids, targets, torch.from_numpy(batch.lengths) if ragged else None, True, int(batch.lengths.sum()))


class Feed:
    """The training batches of a corpus, one epoch after another without end.

    Args:
        part: the training sequences, or the stream.
        stream: which of the two it is.
        batch_size: sequences of a batch, or lanes of the stream.
        bptt: time steps of a chunk of the stream.
        seed: of the order of sequences.
    """

    def __init__(self, part: Sequences, stream: bool, batch_size: int, bptt: int, seed: int):
        self.source: SequenceBatches | StreamBatches = (
            StreamBatches(part.ids, batch_size, bptt) if stream else SequenceBatches(part, batch_size, seed=seed)
        )
        self._arrays: SequenceBatch | StreamBatch | None = None
        self._batch: Batch | None = None

    @property
    def batches_per_epoch(self) -> int:
        """Batches of one pass over the data."""
        return len(self.source)

    @property
    def epoch(self) -> int:
        """The pass over the data that the last batch belongs to, counted from 1."""
        return self.source.epoch + 1

    @property
    def index(self) -> int:
        """The place of the last batch in its pass, counted from 1."""
        return self.source.index

    @property
    def epochs_done(self) -> int:
        """Passes over the data that are complete."""
        return self.source.epoch + (self.source.index == len(self.source))

    def next(self) -> Batch:
        """Return the next batch; the same tensors again where one batch is all there is."""
        arrays: SequenceBatch | StreamBatch = next(iter(self.source))  # type: ignore[assignment]
        if self._batch is None or arrays is not self._arrays:
            self._arrays, self._batch = arrays, as_batch(arrays)
        return self._batch

    def state(self) -> dict[str, int]:
        """Return the place in the data."""
        return self.source.state_dict()

    def load_state(self, state: dict[str, int]) -> None:
        """Go to the place that :meth:`state` returned."""
        self.source.load_state_dict(state)


def once(part: Sequences, stream: bool, batch_size: int, bptt: int) -> Iterator[Batch]:
    """Yield each symbol of a part once, in a fixed order; arguments as :class:`Feed`."""
    source = StreamBatches(part.ids, batch_size, bptt) if stream else SequenceBatches(part, batch_size, shuffle=False)
    return map(as_batch, source)
