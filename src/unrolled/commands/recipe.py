"""How `unrolled train` comes to the options that its user leaves out, and how it shows them."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table

from unrolled.commands.arguments import note_unused
from unrolled.commands.configuration import given_options
from unrolled.commands.console import PlainConsole
from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.words import counted, sized

if TYPE_CHECKING:
    from unrolled.corpus.corpus import Corpus
    from unrolled.lm.recipe import Recipe
    from unrolled.lm.run import Result

#: How many times slower than planned a run must be for a note.
SLOW = 2.0


def chosen(
    corpus: Corpus,
    model: ModelConfig,
    training: TrainingConfig,
    minutes: float | None,
    memory: str | None,
    begun: bool,
) -> Recipe:
    """Return the recipe for a corpus, in which the options keep their values that the user gave."""
    from unrolled.lm.calibration import recipe_for

    if not corpus.stream:
        note_unused(training, {"bptt": "sequences are backpropagated through time in full"})
    values = asdict(model) | asdict(training)
    given: dict[str, Any] = {name: values[name] for name in given_options() if name in values}
    if minutes is not None:
        given["max_minutes"] = minutes
    return recipe_for(corpus, begun=begun, memory=memory, **given)


def note_pace(recipe: Recipe, result: Result) -> None:
    """Warn if a run ended by its time after far fewer steps than it was planned with."""
    if result.ended == "max_minutes" and result.steps * SLOW < recipe.steps:
        warnings.warn(
            f"the machine was slower than when it was measured: {counted(result.steps, 'step')} of about "
            f"{recipe.steps:,} in the same time; a run on a quieter machine will do better",
            stacklevel=2,
        )


def show(console: PlainConsole, corpus: Corpus, recipe: Recipe, processes: int = 1) -> None:
    """Print what was chosen, and why, if anything was, and the memory that it takes in each of several processes."""
    from unrolled.core.free_memory import resident
    from unrolled.lm.memory import Largest, Needs

    grid = Table(title="chosen for this data and time; a flag overrides each", title_justify="left")
    for name in ("option", "value", "because"):
        grid.add_column(name)
    for name, value, reason in recipe.choices:
        grid.add_row(name.replace("_", " "), f"{value}", reason)
    if recipe.choices:
        console.print(grid)
    largest = Largest.of(corpus.train, corpus.stream, recipe.training).shared(processes)
    needs = Needs.of(recipe.model, len(corpus.vocabulary), recipe.training, largest)
    console.print(f"memory: about {sized(resident() + needs.total)}, {sized(needs.batch)} of it for the largest batch")
