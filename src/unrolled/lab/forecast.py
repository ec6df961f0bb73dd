"""How long an experiment will take, from a few steps of training and one size of measuring."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from unrolled.config.lab import LabConfig
from unrolled.lab.examples import language_examples
from unrolled.lab.experiment import criterion_of, new_model, ranges_up_to, sizes_in
from unrolled.lab.predictors import margins
from unrolled.lab.training import train
from unrolled.languages.language import Language
from unrolled.languages.lengths import Lengths
from unrolled.lm.model import SequenceModel

#: Steps that are timed, and strings that are drawn for them.
STEPS, SAMPLES = 20, 20
#: Seconds from which no more steps and no larger size are timed.
LONG = 0.5


class Forecast(NamedTuple):
    """Seconds.

    Attributes:
        training: About.
        measuring: At most: if every model is right at every size.
    """

    training: float
    measuring: float


def forecast(language: Language, config: LabConfig, limit: int) -> Forecast:
    """Return how long an experiment will take.

    Args: as :func:`unrolled.lab.experiment.experiment`.

    >>> from unrolled.languages import get
    >>> expected = forecast(get("anbn"), LabConfig(seeds=2, steps=100, lengths="uniform:1-5"), limit=20)
    >>> expected.training > 0, expected.measuring > 0
    (True, True)
    """
    lengths, seeds = Lengths(config.lengths), list(range(config.seeds))
    brief = replace(config, steps=min(STEPS, config.steps), samples=min(SAMPLES, config.samples), choose_up_to=0)
    models = [new_model(language, brief, seed) for seed in seeds]
    examples = language_examples(language, lengths, brief.samples, brief.loss, seeds)
    for steps in (1, brief.steps):
        begun = time.perf_counter()
        train(models, examples, replace(brief, steps=steps))
        training = (time.perf_counter() - begun) * config.steps / steps
        if training * STEPS > LONG * config.steps:
            break
    scanned = [n for n in range(1, limit + 1) if language.has(n) and language.length(n)]
    shared = [n for each in ranges_up_to(limit, lengths) for n in sizes_in(language, each)]
    return Forecast(training, _measuring(models, language, scanned + shared, config))


def _measuring(models: Sequence[SequenceModel], language: Language, sizes: Sequence[int], config: LabConfig) -> float:
    """Return the seconds that these sizes take: a few are timed, and the others follow by the power of n in between."""
    criterion = criterion_of(config)
    ordered = sorted({*sizes})
    last, seconds, power = 0, 0.0, 1.0
    for n in dict.fromkeys(ordered[(len(ordered) - 1) >> shift] for shift in range(5, -1, -1)):
        begun = time.perf_counter()
        margins(models, language, [n], criterion)
        took = time.perf_counter() - begun
        power = max(1.0, math.log(took / seconds) / math.log(n / last)) if last else 1.0
        last, seconds = n, took
        if took > LONG:
            break
    return float(sum(seconds * (n / last) ** power for n in sizes))
