"""What an experiment found, as plain values that a sweep keeps on disk.  No torch here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any

#: Sizes from the first to the last, both included.
Range = tuple[int, int]


@dataclass(frozen=True)
class SeedResult:
    """What became of one net.

    Attributes:
        seed: of its first weights and its strings.
        first_failing: the smallest size with a wrong string; None if there is none up to the limit.
        right: in each range, share of the sizes tried at which every string tried is right from end to end.
        nats: cross-entropy on fresh strings of the training distribution, per predicted symbol; None for sigmoids.
        symbols_right: share of symbols of the longest range whose likeliest symbol came; None for sigmoids.  To be read
            last, if at all.
    """

    seed: int
    first_failing: int | None
    right: list[float]
    nats: float | None
    symbols_right: float | None


@dataclass(frozen=True)
class LabResult:
    """What became of an experiment.

    Attributes:
        language: its name.
        config: how the nets were trained.
        limit: the largest size tried.
        ranges: of sizes, for the shares; the first is that of training.
        sizes, seeds_right: the sizes (N,) tried in these ranges, and the share of nets that are right at each.
        optimal_nats: the least cross-entropy that any model can have, per predicted symbol.
        seeds: one result each.
        steps, losses: the learning curve: steps (lines,), mean loss of each net (lines, S).
        train_seconds, judge_seconds: what it took.
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

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LabResult:
        """Build a result from what :meth:`to_dict` returned."""
        seeds = [SeedResult(**seed) for seed in values["seeds"]]
        return cls(**values | {"seeds": seeds, "ranges": [(low, high) for low, high in values["ranges"]]})

    @property
    def first_failing(self) -> list[int]:
        """The first failing size of each net, sorted; one past the limit for a net that got all right."""
        return sorted(self.limit + 1 if s.first_failing is None else s.first_failing for s in self.seeds)

    @property
    def median(self) -> float:
        """The median of :attr:`first_failing`."""
        return float(median(self.first_failing))

    @property
    def generalising(self) -> int:
        """How many nets are right at every size up to the limit."""
        return sum(s.first_failing is None for s in self.seeds)

    @property
    def seconds(self) -> float:
        """What training and measuring took together."""
        return self.train_seconds + self.judge_seconds

    def size(self, n: float) -> str:
        """Return a first failing size as it is shown: the one past the limit means none.

        >>> none = LabResult("anbn", {}, 1000, [], [], [], 0.0, [], [], [], 0.0, 0.0)
        >>> none.size(139.5), none.size(1001)
        ('139.5', '>1000')
        """
        return f">{self.limit}" if n > self.limit else f"{n:g}"


@dataclass(frozen=True)
class TaskResult:
    """What became of an experiment on a task.

    Attributes:
        task: its name.
        longest: the largest size of training.
        sizes: those tried (N,).
        symbols: share of answer symbols right, of each net at each size (S, N).
        exact: share of answers right as a whole, (S, N).
        chance: 1 / K, what blind guessing would get of the symbols.
        losses: mean loss of each net at the end (S,).
        train_seconds, judge_seconds: what it took.
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

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return asdict(self)

    @property
    def scores(self) -> list[float]:
        """Mean share of symbols right over the sizes beyond training, of each net, sorted."""
        beyond = [k for k, n in enumerate(self.sizes) if n > self.longest]
        return sorted(fmean(row[k] for k in beyond) for row in self.symbols)

    @property
    def exact_scores(self) -> list[float]:
        """Mean share of answers right as a whole over the sizes beyond training, of each net, sorted."""
        beyond = [k for k, n in enumerate(self.sizes) if n > self.longest]
        return sorted(fmean(row[k] for k in beyond) for row in self.exact)
