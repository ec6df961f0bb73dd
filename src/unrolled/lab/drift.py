"""Drift: how models with exact weights leave that solution when they are trained further."""

from __future__ import annotations

from dataclasses import dataclass, replace

from unrolled.config.lab import LabConfig
from unrolled.lab.examples import language_examples
from unrolled.lab.golden import golden
from unrolled.lab.predictors import first_failing_sizes, margins
from unrolled.lab.training import Callback, at_points, train
from unrolled.languages.lengths import Lengths
from unrolled.languages.registry import get


@dataclass(frozen=True)
class Drift:
    """Measurements during training.

    Attributes:
        steps: after which they were taken (lines,).
        right_to: the largest size up to which each model is right (lines, S).
        margins: the least margin of each model at size `probe`, in logits (lines, S).
        probe: a size.
    """

    steps: list[int]
    right_to: list[list[int]]
    margins: list[list[float]]
    probe: int


def drift(name: str, config: LabConfig, limit: int, callback: Callback | None = None) -> Drift:
    """Train golden models, one for each seed, and measure them during training.

    Args:
        name: of the language.
        config: of the training; its units are ignored for those of the golden model, and cell "rnn" with nonlinearity
            "relu" is a ReLU RNN.
        limit: the largest size to try.
        callback: as for :func:`unrolled.lab.training.train`.

    Raises: ValueError if there is no golden model for this language and cell.
    Source: Lan et al. 2024, who show that an exact LSTM is not an optimum of the cross-entropy.

    >>> found = drift("anbn", LabConfig(seeds=2, steps=50, lengths="uniform:1-5"), limit=20)
    >>> found.steps, found.right_to[0]
    ([0, 50], [20, 20])
    """
    language, lengths = get(name), Lengths(config.lengths)
    cell = "relu" if config.model().kind == "RNN_RELU" else config.cell
    models = [golden(name, cell) for _ in range(config.seeds)]
    config = replace(config, units=models[0].config.hidden_size)
    seeds = [config.first_seed + s for s in range(config.seeds)]
    language.check(lengths)
    found = Drift([], [], [], min(limit, lengths.longest))

    def measure(step: int) -> None:
        failing = first_failing_sizes(models, language, limit, "sets")
        found.steps.append(step)
        found.right_to.append([limit if n is None else n - 1 for n in failing])
        found.margins.append(margins(models, language, [found.probe], "sets")[:, 0].tolist())

    measure(0)
    examples = language_examples(language, lengths, config.samples, "softmax", seeds)
    train(models, examples, config, callback=at_points(measure, config.steps, callback))
    return found
