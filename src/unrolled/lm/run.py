"""A training run: everything that its loop carries from step to step."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from unrolled.config.options import note_idle, option
from unrolled.config.training import TrainingConfig
from unrolled.core import has_bfloat16_units
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.sharing import ALONE, Alone
from unrolled.lm.counters import Clock, Meter
from unrolled.lm.evaluation import affordable, evaluate
from unrolled.lm.loader import BatchLoader
from unrolled.lm.metrics_log import MetricsLog
from unrolled.lm.model import SequenceModel, State
from unrolled.lm.optimisers import Optimiser
from unrolled.lm.sampled_softmax import SampledSoftmax
from unrolled.lm.schedule import Progress, Schedule
from unrolled.saved.starts import starts
from unrolled.words import counted, rounded

#: A validation reads about this many symbols at most.
VALIDATION_SYMBOLS = 500_000
#: The share of max_minutes that a validation may take at most.
VALIDATION_SHARE = 0.05
#: Nats per symbol above a uniform guess that an untrained model stays below.
UNTRAINED = 0.1


#: Seconds over max_minutes from which a step is said to be too long for it.
OVER = 1.0


class TrainingDiverged(RuntimeError):
    """The loss or the gradient is no longer finite."""


@dataclass(frozen=True)
class Result:
    """The outcome of a run; steps and seconds include those before it was resumed.

    Attributes:
        steps: Optimiser steps.
        epochs: Epochs begun.
        nats: Training loss in the last line of metrics, in nats per symbol; None before the first.
        validation: Best validation loss in nats per symbol; None without validation data.
        seconds: Time spent training.
        improving: Whether the last of several validations was the best.
        ended: What ended it: max_steps, max_epochs, max_minutes, patience (early stopping) or signal.
        folder: The folder of the run; None if nothing was written.
        aside: Seconds of those since it was begun or resumed that validations and saves took.
    """

    steps: int
    epochs: int
    nats: float | None
    validation: float | None
    seconds: float
    improving: bool
    ended: str
    folder: Path | None
    aside: float = 0.0


class Place(NamedTuple):
    """Where a run is between two steps: in the data, in the stream and in its random numbers."""

    position: dict[str, int]
    carried: State | None
    random: torch.Tensor | None  # None where no step is undone


class Run:
    """One training run, before its first step; :mod:`unrolled.lm.run_state` saves and resumes it.

    Args: as :func:`unrolled.lm.training.train`.
    Raises: ValueError if the corpus is not encoded with the model's vocabulary, or not framed as the model, if its
        weights are of a half type, all frozen or made in torch.inference_mode, or if precision is bfloat16 and they are
        not float32.
    """

    def __init__(
        self,
        model: SequenceModel,
        corpus: Corpus,
        config: TrainingConfig,
        out: str | Path | None = None,
        origin: dict[str, Any] | None = None,
        ranks: Alone = ALONE,
    ):
        if corpus.vocabulary != model.vocabulary:
            raise ValueError(f"the corpus is read as {corpus.vocabulary}, the model knows {model.vocabulary}")
        dtype = model.head.weight.dtype
        if dtype not in (torch.float32, torch.float64):
            precision = option("precision", "bfloat16")
            raise ValueError(f"the weights are {dtype}, expected float32 or float64; {precision} trains float32 faster")
        if any(p.is_inference() for p in model.parameters()):
            raise ValueError(
                "the model was made in torch.inference_mode, so nothing can be written to it; give copy.deepcopy(model)"
            )
        if not any(p.requires_grad for p in model.parameters()):
            raise ValueError("every weight of the model is frozen, so there is nothing to train; give one a gradient")
        narrow = option("precision", config.precision) if config.precision == "bfloat16" else None
        if narrow and dtype != torch.float32:
            raise ValueError(f"{narrow} needs weights in float32; those of the model are {dtype}")
        if config.batch_size < ranks.size:
            few = option("batch_size", config.batch_size)
            raise ValueError(f"{few} is less than a row for each of {ranks.size} processes; give {ranks.size} or more")
        model.frame(not corpus.stream)
        self.model, self.corpus, self.config, self.origin = model, corpus, config, origin or {}
        self.ranks = ranks
        out = ranks.told(None if out is None else str(Path(out)))
        self.folder = None if out is None else Path(out).absolute()  # the program may go to another folder meanwhile
        self.loader = BatchLoader(corpus.train, corpus.stream, config.batch_size, config.bptt, config.seed, ranks.share)
        self.total_steps = _total_steps(config, self.loader.batches_per_epoch)
        self.optimiser = Optimiser(model, config)
        samples = config.softmax_samples
        self.sampled = SampledSoftmax.of(corpus.train, len(model.vocabulary), samples) if samples else None
        self.schedule = Schedule(config, self.total_steps)
        self.progress = Progress.none()
        self.best: torch.Tensor | None = None  # flat weights with the lowest validation loss
        self.clock, self.meter = Clock.zero(), Meter.zero()
        self.began = self._read = time.monotonic()  # less the seconds before the run was resumed; the clock, last
        self.lasted = {"step": 0.0, "validation": 60 * config.max_minutes * VALIDATION_SHARE, "save": 0.0}  # seconds
        self.aside = 0.0
        self.carried: State | None = None  # hidden state after the last chunk of a stream
        self.metrics: MetricsLog | None = None
        model.start.copy_(torch.from_numpy(starts(corpus.first_counts)))
        if narrow and not has_bfloat16_units():
            warnings.warn(
                f"{narrow} brings no speed here: without units for it, bfloat16 is multiplied as float32", stacklevel=3
            )
        validated = len(corpus.validation) > 0
        note_idle(config, config.without_effect(stream=corpus.stream, validated=validated))

    @property
    def frozen(self) -> dict[str, torch.nn.Parameter]:
        """The weights that are not trained, by name."""
        return {name: w for name, w in self.model.named_parameters() if not w.requires_grad}

    @property
    def writes(self) -> bool:
        """Whether this process writes the files of the run."""
        return self.folder is not None and self.ranks.first

    def ended(self, stop: bool) -> str | None:
        """Return what ends the run now, a limit or a signal; None to continue."""
        config, clock = self.config, self.clock
        if stop:
            return "signal"
        if config.max_steps and clock.step >= config.max_steps:
            return "max_steps"
        if config.max_epochs and self.loader.epochs_done >= config.max_epochs:
            return "max_epochs"
        if config.max_minutes and clock.step and clock.seconds + self._to_come() >= 60 * config.max_minutes:
            return "max_minutes"
        return "patience" if config.patience and self.progress.waited >= config.patience else None

    def start(self) -> None:
        """Start the clock, at the seconds that a resumed run has already taken."""
        self._read = time.monotonic()
        self.began = self._read - self.clock.seconds

    def step_over(self) -> None:
        """Remember how long a step took, from when the clock was last read, and read it."""
        self._over("step", self._read)

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Remember how long a validation or a save takes, and read the clock after it."""
        before = time.monotonic()
        yield
        self._over(part, before)

    def _over(self, part: str, since: float) -> None:
        self._read = time.monotonic()
        self.lasted[part] = self._read - since
        self.aside += self.lasted[part] if part != "step" else 0.0
        self.clock.seconds = self._read - self.began

    def _to_come(self) -> float:
        """Return the seconds that one more step takes, and what follows the last."""
        return self.lasted["step"] + self._after(self.clock.step)

    def _after(self, step: int) -> float:
        """Return the seconds that follow a step, if it is the last."""
        validates = len(self.corpus.validation) and self.clock.validated < step
        return (self.lasted["validation"] if validates else 0.0) + self.lasted["save"]

    def takes_another(self, batches: int, stop: bool) -> bool:
        """Return whether a step takes another batch: one always, no more once a signal asks to stop or time is over.

        Args: batches that it has; stop: whether a signal asks.
        """
        if not batches or batches == self.config.accumulate:
            return not batches
        limit, now = 60 * self.config.max_minutes or math.inf, time.monotonic() - self.began
        a_batch = (now - self.clock.seconds) / batches
        return self.ranks.told(not stop and now + a_batch + self._after(self.clock.step + 1) < limit)

    def place(self) -> Place:
        """Return where the run is between two steps."""
        may_go_back = self.config.accumulate > 1
        return Place(self.loader.state(), self.carried, torch.get_rng_state() if may_go_back else None)

    def go_back(self, place: Place) -> None:
        """Undo what a step under way has read, drawn and summed since it began at a place."""
        self.loader.load_state(place.position)
        self.carried = place.carried
        assert place.random is not None
        torch.set_rng_state(place.random)
        self.optimiser.flat.gradients.zero_()

    def mean_over(self, N: int, batches: int) -> float:
        """Return the number of symbols that the gradient of a step is divided by.

        Args: symbols that the batches of the step predict; their number.
        """
        if self.config.weigh == "batches":
            return N
        return self.corpus.train.predicted * batches / self.loader.batches_per_epoch

    def count(self, nats: float, N: int, norm: float) -> None:
        """Count one step: its loss, summed over N symbols in nats, and the norm of its gradient."""
        self.clock.step += 1
        self.clock.symbols += N
        self.meter.nats += nats
        self.meter.symbols += N
        self.meter.norm += norm
        self.meter.steps += 1

    def log(self, learning_rate: float) -> dict[str, Any]:
        """Write and return one line of metrics: means over the steps since the last line."""
        clock, meter = self.clock, self.meter
        clock.nats = meter.nats / meter.symbols
        lasted = max(clock.seconds - clock.logged_seconds, 1e-9)
        line = {
            "step": clock.step,
            "epoch": self.loader.epoch,
            "symbols": clock.symbols,
            "nats": clock.nats,
            "bits": clock.nats / math.log(2),
            "gradient_norm": meter.norm / meter.steps,
            "learning_rate": learning_rate,
            "seconds": clock.seconds,
            "symbols_per_second": (clock.symbols - clock.logged_symbols) / lasted,
        }
        clock.logged_symbols, clock.logged_seconds = clock.symbols, clock.seconds
        self.meter = Meter.zero()
        self._write(line)
        return line

    def validate(self) -> dict[str, Any] | None:
        """Measure the validation loss, and remember the weights if it is the lowest; None without validation data.

        Of a large split it reads VALIDATION_SYMBOLS, fewer where V is large, or what the first validation managed in
        its share of max_minutes.
        """
        clock, whole = self.clock, self.corpus.validation.predicted
        clock.validated = clock.step
        if not whole:
            return None
        seconds = None if clock.validation_symbols else 60 * self.config.max_minutes * VALIDATION_SHARE or None
        most = clock.validation_symbols or affordable(self.model, VALIDATION_SYMBOLS)
        with self.timed("validation"):
            measured = evaluate(
                self.model, self.corpus, "validation", max_symbols=most, max_seconds=seconds, ranks=self.ranks
            )
        if not math.isfinite(measured.nats):
            raise self.divergence(clock.step, f"validation loss {measured.nats:g} nats per symbol")
        nats, stopped = measured.nats, self.ranks.told(seconds is not None and self.lasted["validation"] >= seconds)
        clock.validation_symbols = measured.symbols if stopped else most
        if self.progress.update(nats):
            self.best = self.optimiser.flat.values.detach().clone()
        self.schedule.validated(nats)
        line = {
            "step": clock.step,
            "symbols": clock.symbols,
            "validation_nats": nats,
            "validation_bits": nats / math.log(2),
            "seconds": clock.seconds,
        }
        if measured.symbols < whole:
            line["validation_symbols"] = measured.symbols
        self._write(line)
        return line

    def result(self, ended: str) -> Result:
        """Return the outcome of the run."""
        clock, best = self.clock, self.progress.best
        nats, uniform = clock.nats if best is None else best, math.log(len(self.model.vocabulary))
        if nats is not None and nats > uniform + UNTRAINED:
            warnings.warn(
                f"the model predicts worse than a uniform guess: {rounded(nats, 4)} nats per symbol, a guess costs "
                f"{uniform:.3g}; lower {option('learning_rate')} (now {self.config.learning_rate:g})",
                stacklevel=3,
            )
        if ended == "max_minutes" and clock.step == 1 and self.lasted["step"] > 60 * self.config.max_minutes + OVER:
            sizes = " or ".join(map(option, ("batch_size", "bptt") if self.corpus.stream else ("batch_size",)))
            warnings.warn(
                f"the only step took {self.lasted['step']:.3g} s, longer than "
                f"{option('max_minutes', self.config.max_minutes)}; lower {sizes}",
                stacklevel=3,
            )
        improving = best is not None and self.progress.waited == 0 and clock.step > self.config.validate_every
        return Result(
            clock.step, self.loader.epoch, clock.nats, best, clock.seconds, improving, ended, self.folder, self.aside
        )

    def note_short_step(self, batches: int) -> None:
        """Warn that the first step, without which there is no result, sums fewer batches than it should."""
        given = option("max_minutes", self.config.max_minutes)
        warnings.warn(
            f"the first step sums {counted(batches, 'batch')}, not {self.config.accumulate:,}: no more fit into "
            f"{given}; lower {option('accumulate')}",
            stacklevel=3,
        )

    def divergence(self, step: int, found: str) -> TrainingDiverged:
        """Return the error for a step that came upon numbers which are not finite."""
        saved = f"the last good checkpoint is in {self.folder}" if self.folder else "nothing was saved"
        clip = self.config.clip_norm
        norms = option("clip_norm")
        clipping = f"{norms} (now {clip:g})" if clip else f"clip gradients with {norms} (now 0, which is off)"
        return TrainingDiverged(
            f"training diverged at step {step}, batch {self.loader.index} of epoch {self.loader.epoch}: {found}; "
            f"{saved}. Lower {option('learning_rate')} (now {self.config.learning_rate:g}) or {clipping}"
        )

    def saved_config(self) -> dict[str, Any]:
        """Return what config.json says of the model and of its training."""
        return self.model.saved_config() | {"training": asdict(self.config)} | self.origin

    @contextmanager
    def best_weights(self) -> Iterator[None]:
        """Put the best weights into the model inside the block, and the last ones back after it."""
        values = self.optimiser.flat.values.data
        last = values.clone()
        self.load_best()
        try:
            yield
        finally:
            values.copy_(last)

    def load_best(self) -> None:
        """Put the weights with the lowest validation loss into the model, if there is validation data."""
        if self.best is not None:
            self.optimiser.flat.values.data.copy_(self.best)

    def _write(self, line: dict[str, Any]) -> None:
        if self.metrics:
            self.metrics.append(line)


def _total_steps(config: TrainingConfig, batches_per_epoch: int) -> int:
    """Return where the schedule ends: the nearer of max_steps and max_epochs, 0 if neither is given."""
    by_epochs = -(-config.max_epochs * batches_per_epoch // config.accumulate)  # the last step begins in the last epoch
    return min(config.max_steps or by_epochs, by_epochs or config.max_steps)
