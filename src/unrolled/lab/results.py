"""The results of an experiment as plain values that a sweep caches on disk.  No torch here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import msgspec

from unrolled.config.lab import LabConfig

#: Sizes from the first to the last, both included.
Range = tuple[int, int]


@dataclass(frozen=True)
class SeedResult:
    """The result of one model.

    Attributes:
        seed: of its initial weights and its strings.
        first_failing: the smallest size with a wrong string; None if there is none up to the limit.
        right: for each range, the share of the sizes tried at which every string tried is right.
        nats: cross-entropy on new strings of the training distribution, per symbol; None for sigmoids.
        symbols_right: per-symbol accuracy on the last range, which is misleading; None for sigmoids.
    """

    seed: int
    first_failing: int | None
    right: list[float]
    nats: float | None
    symbols_right: float | None


@dataclass(frozen=True)
class LabResult:
    """The result of an experiment.

    Attributes:
        language: name of the language.
        config: of the training.
        limit: the largest size tried.
        ranges: of sizes, for the shares; the first is that of training.
        sizes, seeds_right: the sizes (N,) tried in these ranges, and the share of models that are right at each.
        optimal_nats: the least cross-entropy any model can have, per symbol.
        seeds: one result each.
        steps, losses: the learning curve: steps (lines,), mean loss of each model (lines, S).
        train_seconds, judge_seconds: time for training and for measuring.
    """

    language: str
    config: dict[str, Any]
    limit: int
    ranges: list[Range]
    sizes: list[int]
    seeds_right: list[float]
    optimal_nats: float
    seeds: list[SeedResult]
    steps: list[int]
    losses: list[list[float]]
    train_seconds: float
    judge_seconds: float

    def __post_init__(self) -> None:
        """Raise ValueError unless the lists have matching lengths."""
        LabConfig(**self.config)
        _check_lengths([self.sizes], len(self.seeds_right))
        _check_lengths([seed.right for seed in self.seeds], len(self.ranges))
        _check_lengths([self.losses], len(self.steps))
        _check_lengths(self.losses, len(self.seeds))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LabResult:
        """Build a result from what :meth:`to_dict` returned; msgspec.ValidationError for other values."""
        return msgspec.convert(values, cls)

    @property
    def kind(self) -> str:
        """The kind of cell, as notation.py names it."""
        return LabConfig(**self.config).model().kind

    @property
    def first_failing(self) -> list[int]:
        """The first failing size of each model, sorted; limit + 1 for a model that never fails."""
        return sorted(self.limit + 1 if s.first_failing is None else s.first_failing for s in self.seeds)

    @property
    def median(self) -> str:
        """The median of :attr:`first_failing` as text."""
        low, high = self.median_ends
        return self.size(low) if low == high else f"{low:g} to >{self.limit}"

    @property
    def median_ends(self) -> tuple[float, float]:
        """Between which sizes the median lies: equal, unless one of two middle values is known and the other is not."""
        ordered = self.first_failing
        low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
        return (low, high) if low <= self.limit < high else ((low + high) / 2,) * 2

    @property
    def generalising(self) -> int:
        """How many models are right at every size up to the limit."""
        return sum(s.first_failing is None for s in self.seeds)

    @property
    def seconds(self) -> float:
        """The time for training and measuring."""
        return self.train_seconds + self.judge_seconds

    def tried(self, sizes: Range) -> int | None:
        """Return how many sizes of a range were tried; None if it was every one."""
        low, high = sizes
        count = sum(low <= n <= high for n in self.sizes)
        return None if count == high - low + 1 else count

    def size(self, n: float) -> str:
        """Return a first failing size as text; limit + 1 means none.

        >>> result = LabResult("anbn", {}, 1000, [], [], [], 0.0, [], [], [], 0.0, 0.0)
        >>> result.size(139.5), result.size(1001)
        ('139.5', '>1000')
        """
        return f">{self.limit}" if n > self.limit else f"{n:g}"


@dataclass(frozen=True)
class TaskResult:
    """The result of an experiment on a task.

    Attributes:
        task: name of the task.
        longest: the largest size in training.
        sizes: those tried (N,).
        symbols: share of answer symbols right, for each model and size (S, N).
        exact: share of whole answers right, (S, N).
        chance: 1 / K, the share of symbols right by guessing.
        losses: final loss of each model (S,).
        train_seconds, judge_seconds: time for training and for measuring.
    """

    task: str
    longest: int
    sizes: list[int]
    symbols: list[list[float]]
    exact: list[list[float]]
    chance: float
    losses: list[float]
    train_seconds: float
    judge_seconds: float

    def __post_init__(self) -> None:
        """Raise ValueError unless the lists have matching lengths."""
        _check_lengths([self.symbols, self.exact], len(self.losses))
        _check_lengths([*self.symbols, *self.exact], len(self.sizes))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TaskResult:
        """Build a result from what :meth:`to_dict` returned; msgspec.ValidationError for other values."""
        return msgspec.convert(values, cls)

    @property
    def scores(self) -> list[float]:
        """Mean share of symbols right over the sizes beyond training, for each model, sorted."""
        return self._beyond_training(self.symbols)

    @property
    def exact_scores(self) -> list[float]:
        """Mean share of whole answers right over the sizes beyond training, for each model, sorted."""
        return self._beyond_training(self.exact)

    def _beyond_training(self, shares: list[list[float]]) -> list[float]:
        beyond = [k for k, n in enumerate(self.sizes) if n > self.longest]
        return sorted(fmean(row[k] for k in beyond) for row in shares)


def _check_lengths(lists: Iterable[Sequence[Any]], length: int) -> None:
    if any(len(each) != length for each in lists):
        raise ValueError("the lists of a result do not have matching lengths")
