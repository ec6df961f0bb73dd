"""How nets whose weights are exact leave that solution while they are trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from unrolled.config.lab import LabConfig
from unrolled.lab.examples import language_examples
from unrolled.lab.golden import golden
from unrolled.lab.measuring import first_failing, margins
from unrolled.lab.training import Watch, is_point, train
from unrolled.languages.lengths import Lengths
from unrolled.languages.registry import get


@dataclass(frozen=True)
class Drift:
    """What was measured: steps (lines,); right_to (lines, S), the largest size up to which each net is right; margins
    (lines, S), its least margin in logits at size `probe`.
    """

    steps: list[int]
    right_to: list[list[int]]
    margins: list[list[float]]
    probe: int


def drift(name: str, config: LabConfig, limit: int, watch: Watch | None = None) -> Drift:
    """Train exact nets, one for each seed, and measure them as they go.

    Args:
        name: of the language.
        config: how; the nets have as many units as their construction needs, whatever it says, and a relu Elman net
            is asked for by cell "rnn" with nonlinearity "relu".
        limit: the largest size to try.
        watch: called now and then with the steps done and the losses (S,).

    Raises: ValueError if there is no exact net for this language and cell.
    Source: Lan et al. 2024, who show that an exact LSTM is no optimum of the cross-entropy.

    >>> found = drift("anbn", LabConfig(seeds=2, steps=50, lengths="uniform:1-5"), limit=20)
    >>> found.steps, found.right_to[0]
    ([0, 50], [20, 20])
    """
    language, lengths = get(name), Lengths(config.lengths)
    cell = config.nonlinearity if config.cell == "rnn" and config.nonlinearity == "relu" else config.cell
    models = [golden(name, cell) for _ in range(config.seeds)]
    config = replace(config, units=models[0].config.hidden_size)
    seeds = [config.first_seed + s for s in range(config.seeds)]
    language.check(lengths)
    found = Drift([], [], [], min(limit, lengths.longest))

    def measure(step: int) -> None:
        failing = first_failing(models, language, limit, "sets")
        found.steps.append(step)
        found.right_to.append([limit if n is None else n - 1 for n in failing])
        found.margins.append(margins(models, language, [found.probe], "sets")[:, 0].tolist())

    def seen(step: int, losses: NDArray[Any]) -> None:
        if watch:
            watch(step, losses)
        if is_point(step, config.steps):
            measure(step)

    measure(0)
    train(models, language_examples(language, lengths, config.samples, "softmax", seeds), config, watch=seen)
    return found
