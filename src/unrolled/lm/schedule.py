"""The learning-rate schedule, and how long the validation loss has not improved."""

from __future__ import annotations

import math
from typing import Annotated

import msgspec
from msgspec import Meta

from unrolled.config.training import TrainingConfig

#: A number of steps or symbols so far.
Counted = Annotated[int, Meta(ge=0, le=2**63 - 1)]
#: A number that is finite and stays so when a step is added.
Measured = Annotated[float, Meta(ge=-1e300, le=1e300)]


class Progress(msgspec.Struct, forbid_unknown_fields=True):
    """The lowest validation loss so far and the number of validations since, for early stopping and plateaus.

    >>> progress = Progress.none()
    >>> [progress.update(nats) for nats in (2.0, 1.5, 1.7)], progress.waited
    ([True, True, False], 1)
    """

    best: Measured | None  # nats per symbol; None before the first validation
    waited: Counted

    @classmethod
    def none(cls) -> Progress:
        """Return the progress before the first validation."""
        return cls(best=None, waited=0)

    def update(self, nats: float) -> bool:
        """Record a validation loss; return whether it is the lowest so far."""
        better = self.best is None or nats < self.best
        if better:
            self.best = nats
        self.waited = 0 if better else self.waited + 1
        return better


class ScheduleState(msgspec.Struct, forbid_unknown_fields=True):
    """What a schedule remembers: how far plateaus have cut the rate, and the progress since the last cut."""

    cut: Annotated[float, Meta(ge=0, le=1)]
    progress: Progress


class Schedule:
    """The learning rate of each step: linear warm-up, then constant, cosine decay to zero, or cuts on plateaus.

    The cosine reaches zero where the run ends: after total_steps, or after max_minutes if that comes first.

    Args:
        config: peak rate, warm-up, schedule and max_minutes.
        total_steps: where max_steps or max_epochs ends the run; 0 if neither does.

    >>> schedule = Schedule(TrainingConfig(learning_rate=1.0, schedule="cosine", warmup_steps=2, max_steps=6), 6)
    >>> [round(schedule.rate(step), 3) for step in range(6)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146]
    """

    def __init__(self, config: TrainingConfig, total_steps: int):
        self.config = config
        self.total_steps = total_steps
        self.cut = 1.0
        self.progress = Progress.none()

    def rate(self, step: int, seconds: float = 0.0) -> float:
        """Return the learning rate of a step, counted from 0, that begins this long after the start of the run."""
        peak, warmup = self.config.learning_rate * self.cut, self.config.warmup_steps
        if step < warmup:
            return peak * (step + 1) / warmup
        if self.config.schedule != "cosine":
            return peak
        return peak * (1 + math.cos(math.pi * (self.done(step, seconds, warmup) or 0.0))) / 2

    def done(self, step: int, seconds: float, after: int = 0) -> float | None:
        """Return the share of the run that is done, by its nearest limit; None if it has no limit.

        Args: step, counted from 0; seconds since the start; after: steps that do not count.
        """
        shares = []
        if self.total_steps:
            shares.append((step - after) / max(1, self.total_steps - after))
        if self.config.max_minutes:
            shares.append(seconds / (60 * self.config.max_minutes))
        return min(1.0, max(shares)) if shares else None

    def validated(self, nats: float) -> None:
        """Record a validation loss; cut the rate on a plateau."""
        self.progress.update(nats)
        if self.config.schedule == "plateau" and self.progress.waited >= self.config.plateau_patience:
            self.cut *= self.config.plateau_factor
            self.progress.waited = 0

    def state(self) -> ScheduleState:
        """Return what :meth:`load_state` restores."""
        return ScheduleState(self.cut, self.progress)

    def load_state(self, state: ScheduleState) -> None:
        """Restore a state from :meth:`state`."""
        self.cut, self.progress = state.cut, state.progress
