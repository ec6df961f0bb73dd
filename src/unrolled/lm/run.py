"""The state of a training run: all that its loop carries from step to step, how it is saved, how it is taken up."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.config.training import LIMITS, TrainingConfig
from unrolled.corpus.splitting import counts
from unrolled.lm.evaluation import evaluate
from unrolled.lm.loader import Feed
from unrolled.lm.optimisers import Optimiser
from unrolled.lm.run_state import MetricsLog, load_run_state, save_run_state
from unrolled.lm.schedule import Progress, Schedule
from unrolled.saved.files import clear_folder, new_folder
from unrolled.saved.model import save_model

if TYPE_CHECKING:
    from unrolled.corpus.corpus import Corpus
    from unrolled.lm.model import SequenceModel, State


#: What a symbol counts that no training text starts with.
UNSEEN = 1e-3


class TrainingDiverged(RuntimeError):
    """The loss or the gradient is no longer finite."""


class ResumeError(ValueError):
    """A run cannot be gone on with: its data or configuration are not those it began with."""


@dataclass(frozen=True)
class Result:
    """What a run came to.

    Attributes:
        steps: Optimiser steps taken, earlier parts of the run included.
        epochs: Passes over the training data begun.
        nats: Training loss of the last line of metrics, nats per symbol; None before the first.
        validation: Best validation loss in nats per symbol; None without validation data.
        seconds: Time spent training, earlier parts of the run included.
        ended: What ended it: max_steps, max_epochs, max_minutes, patience or signal.
        folder: Where the run lies, if it was written.
    """

    steps: int
    epochs: int
    nats: float | None
    validation: float | None
    seconds: float
    ended: str
    folder: Path | None


@dataclass
class Meter:
    """Sums over the steps since the last line of metrics."""

    nats: float = 0.0
    symbols: int = 0
    norm: float = 0.0
    steps: int = 0


@dataclass
class Clock:
    """Where a run stands.

    Attributes:
        step: Optimiser steps done.
        symbols: Symbols predicted in them.
        seconds: Time spent on them.
        nats: Training loss of the last line of metrics, nats per symbol.
        validated: Step of the last validation.
        logged_symbols, logged_seconds: Symbols and seconds at the last line of metrics.
    """

    step: int = 0
    symbols: int = 0
    seconds: float = 0.0
    nats: float | None = None
    validated: int = 0
    logged_symbols: int = 0
    logged_seconds: float = 0.0


class Run:
    """One training run, new or taken up from its last checkpoint.

    Args: as :func:`unrolled.lm.training.train`.
    """

    def __init__(
        self,
        model: SequenceModel,
        corpus: Corpus,
        config: TrainingConfig,
        out: str | Path | None,
        *,
        resume: bool,
        origin: dict[str, Any] | None = None,
    ):
        if corpus.vocabulary != model.vocabulary:
            raise ValueError(f"the corpus is read as {corpus.vocabulary}, the model knows {model.vocabulary}")
        self.model, self.corpus, self.config, self.origin = model, corpus, config, origin or {}
        self.folder = Path(out) if out is not None else None
        self.feed = Feed(corpus.train, corpus.stream, config.batch_size, config.bptt, config.seed)
        self.total_steps = _total_steps(config, self.feed.batches_per_epoch)
        self.optimiser = Optimiser(model, config)
        self.schedule = Schedule(config, self.total_steps)
        self.progress = Progress()
        self.best: torch.Tensor | None = None  # flat weights, best on the validation data
        self.clock, self.meter = Clock(), Meter()
        self.carried: State | None = None
        model.start.copy_(torch.from_numpy(_starts(corpus)))
        if resume:
            self._load()
        elif self.folder:
            new_folder(self.folder)
        self.metrics = MetricsLog(self.folder, step=self.clock.step) if self.folder else None
        if not resume:
            self._save_first()

    def ended(self, stop: bool) -> str | None:
        """Return the name of the limit that the run has reached, or None while it goes on."""
        config, clock = self.config, self.clock
        if stop:
            return "signal"
        if config.max_steps and clock.step >= config.max_steps:
            return "max_steps"
        if config.max_epochs and self.feed.epochs_done >= config.max_epochs:
            return "max_epochs"
        if config.max_minutes and clock.seconds >= 60 * config.max_minutes:
            return "max_minutes"
        return "patience" if config.patience and self.progress.waited >= config.patience else None

    def count(self, nats: float, N: int, norm: float) -> None:
        """Take note of one step: its loss, summed over N symbols in nats, and the norm of its gradient."""
        self.clock.step += 1
        self.clock.symbols += N
        self.meter.nats += nats
        self.meter.symbols += N
        self.meter.norm += norm
        self.meter.steps += 1

    def log(self, learning_rate: float) -> dict[str, Any]:
        """Write and return one line of metrics: means over the steps since the line before."""
        clock, meter = self.clock, self.meter
        clock.nats = meter.nats / meter.symbols
        lasted = max(clock.seconds - clock.logged_seconds, 1e-9)
        line = {
            "step": clock.step,
            "epoch": self.feed.epoch,
            "symbols": clock.symbols,
            "nats": clock.nats,
            "bits": clock.nats / math.log(2),
            "gradient_norm": meter.norm / meter.steps,
            "learning_rate": learning_rate,
            "seconds": clock.seconds,
            "symbols_per_second": (clock.symbols - clock.logged_symbols) / lasted,
        }
        clock.logged_symbols, clock.logged_seconds = clock.symbols, clock.seconds
        self.meter = Meter()
        self._write(line)
        return line

    def validate(self) -> dict[str, Any] | None:
        """Measure the model on the validation data, keep its weights if they are the best; None without such data."""
        self.clock.validated = self.clock.step
        if not len(self.corpus.validation):
            return None
        nats = evaluate(self.model, self.corpus, "validation").nats
        if self.progress.update(nats):
            self.best = self.optimiser.flat.values.detach().clone()
        self.schedule.validated(nats)
        line = {
            "step": self.clock.step,
            "symbols": self.clock.symbols,
            "validation_nats": nats,
            "validation_bits": nats / math.log(2),
            "seconds": self.clock.seconds,
        }
        self._write(line)
        return line

    def finish(self, ended: str) -> Result:
        """Save the run and leave the best weights in the model; return what the run came to."""
        if ended != "signal" and self.clock.validated != self.clock.step:
            self.validate()
        self.save()
        if self.best is not None:
            self.optimiser.flat.values.data.copy_(self.best)
        self.model.eval()
        clock = self.clock
        return Result(clock.step, self.feed.epoch, clock.nats, self.progress.best, clock.seconds, ended, self.folder)

    def divergence(self, nats: float, norm: float) -> str:
        """Return what to tell about a step whose loss or gradient is not finite."""
        kept = f"the last good checkpoint is in {self.folder}" if self.folder else "nothing was saved"
        return (
            f"training diverged at step {self.clock.step + 1}, batch {self.feed.index} of epoch {self.feed.epoch}: "
            f"loss {nats:g} nats per symbol, gradient norm {norm:g}; {kept}. Lower learning_rate "
            f"(now {self.config.learning_rate:g}) or clip_norm (now {self.config.clip_norm:g})"
        )

    def saved_config(self) -> dict[str, Any]:
        """Return what config.json says of the model and of how it was trained."""
        return self.model.saved_config() | {"training": asdict(self.config)} | self.origin

    def save(self) -> None:
        """Write a checkpoint that holds everything the next step depends on, and the best model so far."""
        if not self.folder:
            return
        tensors = {"values": self.optimiser.flat.values.data, "rng": torch.get_rng_state()}
        tensors |= {f"optimiser.{name}": t for name, t in self.optimiser.state().items()}
        tensors |= {f"carried.{k}": t for k, t in enumerate(self.carried or ())}
        if self.best is not None:
            tensors["best"] = self.best
        state = {
            "config": self.saved_config(),
            "corpus": self.corpus.fingerprint,
            "feed": self.feed.state(),
            "schedule": self.schedule.state(),
            "progress": asdict(self.progress),
            "clock": asdict(self.clock),
            "meter": asdict(self.meter),
        }
        arrays = {name: t.detach().numpy() for name, t in tensors.items()}
        save_run_state(self.folder, self.clock.step, arrays, state)
        with self._best_weights():
            weights = self.model.tensors()
            save_model(self.folder, self.saved_config(), self.model.vocabulary, weights, overwrite=True)

    def _save_first(self) -> None:
        """Write the first checkpoint, or leave the folder as empty as it was: a disk may be full from the start."""
        try:
            self.save()
        except BaseException:
            if self.folder:
                clear_folder(self.folder)
            raise

    @contextmanager
    def _best_weights(self) -> Iterator[None]:
        """Put the best weights into the model inside the block, and the last ones back after it."""
        if self.best is None:
            yield
            return
        values = self.optimiser.flat.values.data
        last = values.clone()
        values.copy_(self.best)
        try:
            yield
        finally:
            values.copy_(last)

    def _load(self) -> None:
        if self.folder is None:
            raise ResumeError("resume needs the folder of the run to go on with; give out")
        tensors, state = load_run_state(self.folder)
        _refuse_other_config(state["config"], self.saved_config())
        if state["corpus"] != self.corpus.fingerprint:
            raise ResumeError(
                f"{self.folder}: this run began with other data, or the same data split otherwise; "
                "give the files and data options it began with, or train anew in another folder"
            )
        arrays = {name: torch.from_numpy(array) for name, array in tensors.items()}
        torch.set_rng_state(arrays["rng"])
        self.optimiser.flat.values.data.copy_(arrays["values"])
        self.optimiser.load_state(_under("optimiser", arrays))
        self.best = arrays.get("best")
        self.carried = tuple(_under("carried", arrays).values()) or None
        self.feed.load_state(state["feed"])
        self.schedule.load_state(state["schedule"])
        self.progress = Progress(**state["progress"])
        self.clock, self.meter = Clock(**state["clock"]), Meter(**state["meter"])

    def _write(self, line: dict[str, Any]) -> None:
        if self.metrics:
            self.metrics.append(line)


def _under(prefix: str, arrays: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors whose names begin with a prefix and a dot, without it, in the order of their names."""
    names = sorted(name for name in arrays if name.startswith(prefix + "."))
    return {name.removeprefix(prefix + "."): arrays[name] for name in names}


def _refuse_other_config(began: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise ResumeError unless two configurations agree in everything that decides what the weights become."""
    limits = LIMITS - {"max_steps", "max_epochs"} if began["training"]["schedule"] == "cosine" else LIMITS
    for section in ("model", "training"):
        for key, value in began[section].items():
            if now[section][key] != value and key not in limits:
                raise ResumeError(
                    f"{key} was {value!r} when this run began and is {now[section][key]!r} now; "
                    "leave it out to go on as begun, or train anew in another folder"
                )


def _total_steps(config: TrainingConfig, batches_per_epoch: int) -> int:
    """Return where the schedule ends: the nearer of max_steps and max_epochs, 0 if neither is given."""
    by_epochs = config.max_epochs * batches_per_epoch // config.accumulate
    return min(config.max_steps or by_epochs, by_epochs or config.max_steps)


def _starts(corpus: Corpus) -> NDArray[np.float32]:
    """Return the log-probabilities (V,) with which training data starts: of each sequence's first symbol, or of any
    symbol of a stream; what was not found counts a little all the same, so that nothing is impossible."""
    train, V = corpus.train, len(corpus.vocabulary)
    often = counts(train.ids if corpus.stream else train.ids[train.offsets[:-1]], V) + UNSEEN
    starts: NDArray[np.float32] = np.log(often / often.sum()).astype(np.float32)
    return starts
