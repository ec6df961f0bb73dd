"""One experiment of the laboratory: S nets trained on a language, each measured by the strings it gets right."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

import numpy as np
import torch

from unrolled.languages.examples import language_examples
from unrolled.languages.judging import ModelPredictor
from unrolled.languages.language import Language
from unrolled.languages.lengths import Lengths
from unrolled.languages.measuring import first_failing, margins
from unrolled.languages.memory import refuse_too_much
from unrolled.languages.metrics import evaluate
from unrolled.languages.nets import HeadedNet, Nets
from unrolled.languages.settings import LabConfig
from unrolled.languages.training import train
from unrolled.lm.model import SequenceModel
from unrolled.notation import gate_slice

#: Sizes that a share of right strings is taken over, at most, spread evenly over its range.
SHARE_SIZES = 40
#: Fresh strings of the training distribution that the cross-entropy is measured on.
FRESH = 1000

Range = tuple[int, int]
Watch = Callable[[int, "np.typing.NDArray[Any]"], None]


@dataclass(frozen=True)
class SeedResult:
    """What became of one net.

    Attributes:
        seed: of its first weights and its strings.
        first_failing: the smallest size with a wrong string; None if there is none up to the limit.
        right: in each range, share of the sizes tried at which every string tried is right from end to end.
        nats: cross-entropy on fresh strings of the training distribution, per predicted symbol.
        symbols_right: share of symbols of the longest range whose likeliest symbol came; to be read last, if at all.
    """

    seed: int
    first_failing: int | None
    right: list[float]
    nats: float
    symbols_right: float


@dataclass(frozen=True)
class LabResult:
    """What became of an experiment; :meth:`to_dict` is what a sweep keeps on disk.

    Attributes:
        language: its name.
        config: how the nets were trained.
        limit: the largest size tried.
        ranges: of sizes, for the shares; the first is that of training.
        optimal_nats: the least cross-entropy that any model can have.
        seeds: one result each.
        steps, losses: the learning curve: steps (lines,), nats (lines, S).
        train_seconds, judge_seconds: what it took.
    """

    language: str
    config: dict[str, Any]
    limit: int
    ranges: list[Range]
    optimal_nats: float
    seeds: list[SeedResult]
    steps: list[int]
    losses: list[list[float]]
    train_seconds: float
    judge_seconds: float
    models: list[SequenceModel] = field(default_factory=list, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the models as JSON values."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "models"}
        return values | {"seeds": [asdict(seed) for seed in self.seeds]}

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
    def generalising(self) -> float:
        """Share of nets that are right up to the limit."""
        return sum(s.first_failing is None for s in self.seeds) / len(self.seeds)

    @property
    def median(self) -> float:
        """Median first failing size."""
        return float(median(self.first_failing))


def experiment(
    language: Language,
    config: LabConfig,
    limit: int = 1000,
    *,
    watch: Watch | None = None,
) -> LabResult:
    """Train `config.seeds` nets side by side and measure each.

    Args:
        language: what to learn.
        config: how.
        limit: the largest size to try.
        watch: called now and then with the steps done and the losses (S,).

    Raises: ValueError if the language has no string of a training size, or the empty one; MemoryError if so many nets
        do not fit.

    >>> from unrolled.languages.registry import get
    >>> result = experiment(get("anbn"), LabConfig(seeds=2, steps=3, lengths="uniform:1-5"), limit=10)
    >>> len(result.seeds), result.ranges
    (2, [(1, 5), (6, 10)])
    """
    lengths = Lengths(config.lengths)
    seeds = [config.first_seed + s for s in range(config.seeds)]
    check_lengths(language, lengths)
    K, longest = len(language.vocabulary), language.length(lengths.longest)
    refuse_too_much(Nets.bytes(config.model().kind, config.seeds, config.rows, longest, config.units, K), config.seeds)
    begun = time.perf_counter()
    examples = language_examples(language, lengths, config.samples, config.loss, seeds)
    models = [new_model(language, config, seed) for seed in seeds]
    curve = train(models, examples, config, watch=watch)
    trained = time.perf_counter()
    ranges = ranges_up_to(limit, lengths)
    results = _measured(models, language, config, ranges, config.first_seed)
    return LabResult(
        language.name, asdict(config), limit, ranges, language.optimal_nats(lengths), results,
        curve.steps.tolist(), curve.losses.tolist(), trained - begun, time.perf_counter() - trained, models,
    )  # fmt: skip


def check_lengths(language: Language, lengths: Lengths) -> None:
    """Refuse training sizes that the language does not have, and the empty string, from which no net can begin.

    Raises: ValueError naming the size.
    """
    language.check(lengths)
    for n, _ in lengths:
        if not language.length(n):
            raise ValueError(
                f"{language.name}: the string of size {n} is empty, and a net predicts the symbol after one"
            )


def new_model(language: Language, config: LabConfig, seed: int) -> SequenceModel:
    """Return a net as its seed begins it; torch's own random stream is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SequenceModel(config.model(), language.vocabulary)
    set_first_weights(model, config)
    first = np.zeros(len(language.vocabulary))
    for n, p in Lengths(config.lengths):
        for symbol, share in language.first(n).items():
            first[language.vocabulary.names.index(symbol)] += p * share
    with np.errstate(divide="ignore"):
        model.start.copy_(torch.from_numpy(np.maximum(np.log(first), -1e4)))
    return model


@torch.no_grad()
def set_first_weights(net: HeadedNet, config: LabConfig) -> None:
    """Scale the first weights, and open LSTM's forget gates, as the configuration says."""
    weights: list[torch.Tensor] = [*net.rnn.parameters(), *net.head.parameters()]
    for weight in weights:
        weight.mul_(config.initial_scale)
    if net.rnn.kind == "LSTM":
        net.rnn.get_parameter("bias_ih_l0")[gate_slice("LSTM", "f", config.units)] = config.forget_bias


def _measured(
    models: Sequence[SequenceModel], language: Language, config: LabConfig, ranges: Sequence[Range], first_seed: int
) -> list[SeedResult]:
    """Measure the nets: every size up to the first failing one, then samples of each range."""
    reading = "sets" if config.loss == "softmax" else "khot"
    failing = first_failing(models, language, ranges[-1][1], reading)
    right = np.full((len(models), len(ranges)), np.nan)
    for k, (low, high) in enumerate(ranges):
        spread = np.unique(np.linspace(low, high, min(SHARE_SIZES, high - low + 1)).round().astype(int)).tolist()
        sizes = [n for n in spread if language.has(n) and language.length(n)]
        if sizes:
            right[:, k] = (margins(models, language, sizes, reading) > 0).mean(1)
    results = []
    for s, model in enumerate(models):
        known = evaluate(ModelPredictor(model), language, Lengths(config.lengths), strings=FRESH)
        far = evaluate(ModelPredictor(model), language, far_lengths(language, ranges), strings=SHARE_SIZES)
        results.append(SeedResult(first_seed + s, failing[s], right[s].tolist(), known.nats, far.accuracy))
    return results


def far_lengths(language: Language, ranges: Sequence[Range]) -> Lengths:
    """Return the sizes of the last range that the language has, at most `SHARE_SIZES` of them."""
    low, high = ranges[-1]
    sizes = [n for n in range(low, high + 1) if language.has(n)] or [n for n in range(1, high + 1) if language.has(n)][
        -1:
    ]
    return Lengths("list:" + ",".join(map(str, sizes[:: -(-len(sizes) // SHARE_SIZES)])))


def ranges_up_to(limit: int, lengths: Lengths) -> list[Range]:
    """Return the range of training and, doubling, those beyond it up to the limit.

    >>> ranges_up_to(1000, Lengths("uniform:1-50"))
    [(1, 50), (51, 100), (101, 200), (201, 400), (401, 800), (801, 1000)]
    """
    low = max(1, int(lengths.sizes.min()))
    ends = [lengths.longest]
    while ends[-1] < limit:
        ends.append(min(limit, 2 * ends[-1]))
    return list(zip([low, *(end + 1 for end in ends[:-1])], ends, strict=True))
