"""How `unrolled train` comes to the options that its user leaves out, and how it shows them."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table

from unrolled.commands.configuration import given_options
from unrolled.commands.console import PlainConsole
from unrolled.config.model import ModelConfig
from unrolled.config.options import option
from unrolled.config.training import TrainingConfig
from unrolled.words import counted, duration, sized

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

    values = asdict(model) | asdict(training)
    given: dict[str, Any] = {name: values[name] for name in given_options() if name in values}
    if minutes is not None:
        given["max_minutes"] = minutes
    return recipe_for(corpus, begun=begun, memory=memory, **given)


def check_room(corpus: Corpus, model: ModelConfig, training: TrainingConfig, processes: int, limit: int | None) -> None:
    """Check that a run fits into memory, in each of several processes.

    Args: limit: bytes that a process may take in all; None for those that are free.
    Raises: MemoryError saying what takes it, and what to do.
    """
    from unrolled.lm.memory import Largest, check_memory

    largest = Largest.of(corpus.train, corpus.stream, training).shared(processes)
    check_memory(model, len(corpus.vocabulary), training, largest, limit)


def note_pace(recipe: Recipe, result: Result) -> None:
    """Warn if a run ended by its time after far fewer steps than it was planned with, and say what took the time."""
    if result.ended != "max_minutes" or result.steps * SLOW >= recipe.steps:
        return
    done = f"{counted(result.steps, 'step')} of about {recipe.steps:,}"
    left = 1 - result.aside / max(result.seconds, result.aside, 1e-9)  # the share of the time in which steps were done
    if result.steps * SLOW < recipe.steps * left:
        said = f"the machine was slower than when it was measured: {done} in the same time; a run on a quieter machine"
        warnings.warn(f"{said} will do better", stacklevel=2)
    else:
        said = f"validations and saves took {duration(result.aside)} of {duration(result.seconds)}, so {done} were done"
        warnings.warn(f"{said}; raise {option('validate_every')} or {option('checkpoint_every')}", stacklevel=2)


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
