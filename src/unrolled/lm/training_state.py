"""What training.json and training.safetensors of a checkpoint must hold, and that they fit the run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from unrolled.lm.counters import Clock, Meter
from unrolled.lm.run import Run
from unrolled.lm.schedule import Counted, Progress, ScheduleState
from unrolled.saved.atomic_files import CheckpointError, Tensors
from unrolled.saved.tensors import Expected, check_tensors
from unrolled.words import counted

#: Tensors of optimisers whose square roots are taken.
SQUARES = ("optimiser.exp_avg_sq", "optimiser.square_avg")


class Position(msgspec.Struct, forbid_unknown_fields=True):
    """The last batch: its epoch, from 0, and its number in the epoch, from 1; 0 before the first."""

    epoch: Counted
    index: Counted


class RunConfiguration(msgspec.Struct):
    """The options that a run began with; more keys say where its data came from."""

    model: dict[str, Any]
    training: dict[str, Any]
    framed: bool


class TrainingState(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """All that the next step depends on, beside tensors."""

    config: dict[str, Any]
    corpus: str
    feed: Position  # named as in the files of version 0.1
    schedule: ScheduleState
    progress: Progress
    clock: Clock
    meter: Meter
    metrics: Counted | None = None  # bytes of metrics.jsonl, which version 0.1 did not write
    vocabulary: str | None = None  # as in vocabulary.json, of a run whose data alone does not tell it
    frozen: list[str] | None = None  # names of weights that are not trained, if there are any

    @classmethod
    def read(cls, file: Path, values: dict[str, Any]) -> TrainingState:
        """Convert the JSON values of a file.

        Raises: CheckpointError naming the file, and the key that is missing, unknown, mistyped or out of range.
        """
        try:
            msgspec.convert(values.get("config"), RunConfiguration)
            return msgspec.convert(values, cls)
        except msgspec.ValidationError as error:
            raise CheckpointError(f"{file}: not the state of a run: {error}; resume from a copy") from None


def check_state(file: Path, state: TrainingState, run: Run) -> None:
    """Refuse a position that a run cannot have after so many steps.

    Raises: CheckpointError naming the file.
    """
    batches, of_epoch = state.clock.step * run.config.accumulate, run.loader.batches_per_epoch
    there = state.feed.epoch * of_epoch + state.feed.index
    if state.feed.index > of_epoch or there != batches:
        raise CheckpointError(
            f"{file}: batch {state.feed.index:,} of epoch {state.feed.epoch + 1:,}, expected the one after which "
            f"{counted(state.clock.step, 'step')} done, of epochs of {counted(of_epoch, 'batch')}; resume from a copy"
        )


def check_arrays(file: Path, tensors: Tensors, state: TrainingState, run: Run) -> None:
    """Refuse tensors that are not those of a run in this state.

    Raises: CheckpointError naming the file and the tensors.
    """
    check_tensors(file, tensors, _expected(state, run), "the run")
    steps = tensors.get("optimiser.step")
    if steps is not None and not min(state.clock.step, 1) <= steps <= state.clock.step:
        raise CheckpointError(f"{file}: the optimiser is at step {steps:g}, the run at step {state.clock.step:,}")
    for name in SQUARES:
        if name in tensors and tensors[name].min(initial=0) < 0:
            raise CheckpointError(f"{file}: {name!r}, a mean of squares, has numbers below 0")


def _expected(state: TrainingState, run: Run) -> Iterator[Expected]:
    """Yield what the tensors of a run in this state are."""
    values, rng = run.optimiser.flat.values.detach().numpy(), torch.get_rng_state().numpy()
    yield Expected("values", values.dtype, ("N",), values.shape)
    yield Expected("rng", rng.dtype, ("R",), rng.shape)
    for name, tensor in run.optimiser.rule.state_after(state.clock.step).items():
        yield Expected(f"optimiser.{name}", _dtype(tensor), ("N",) * tensor.ndim, tuple(tensor.shape))
    for name in state.frozen or ():
        frozen = run.frozen[name].detach().numpy()
        yield Expected(f"frozen.{name}", frozen.dtype, ("N",) * frozen.ndim, frozen.shape)
    if state.progress.best is not None:
        yield Expected("best", values.dtype, ("N",), values.shape)
    model = run.model.config
    for k in range(run.model.state_count if run.corpus.stream and state.clock.step else 0):
        shape = (model.num_layers, run.config.batch_size, model.hidden_size)
        yield Expected(f"carried.{k}", values.dtype, ("L", "B", "H"), shape)


def _dtype(tensor: torch.Tensor) -> np.dtype[Any]:
    return torch.empty(0, dtype=tensor.dtype, device="cpu").numpy().dtype
