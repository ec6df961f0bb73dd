"""How `unrolled train` comes to the options that its user leaves out, and how it shows them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table

from unrolled.commands.configuration import given_options
from unrolled.commands.console import PlainConsole
from unrolled.config.model import ModelConfig
from unrolled.config.training import ENDS, TrainingConfig

if TYPE_CHECKING:
    from unrolled.corpus.corpus import Corpus
    from unrolled.lm.recipe import Recipe


def chosen(corpus: Corpus, model: ModelConfig, training: TrainingConfig, minutes: float | None) -> Recipe:
    """Return the recipe for a corpus; the options that were given keep their values.

    A run of given steps or epochs is planned without a look at the clock, so that the same command plans the same run.
    """
    from unrolled.lm.calibration import measured_speed, nominal_speed
    from unrolled.lm.recipe import Facts, choose

    values = asdict(model) | asdict(training)
    given: dict[str, Any] = {name: values[name] for name in given_options() if name in values}
    if minutes is not None:
        given["max_minutes"] = minutes
    timed = given.get("max_minutes") or not any(given.get(end) for end in ENDS)
    return choose(Facts.of(corpus), measured_speed(corpus) if timed else nominal_speed(), given)


def show(console: PlainConsole, recipe: Recipe) -> None:
    """Print what was chosen, and why."""
    grid = Table(title="chosen for this data and time; a flag overrides each", title_justify="left")
    for name in ("option", "value", "because"):
        grid.add_column(name)
    for name, value, reason in recipe.choices:
        grid.add_row(name.replace("_", " "), f"{value}", reason)
    console.print(grid)
