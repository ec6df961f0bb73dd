"""`unrolled sweep`."""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from cyclopts.types import ExistingTomlPath
from rich.table import Table

from unrolled.commands import WrongUse, command, examples, inputs
from unrolled.commands.configuration import read_toml
from unrolled.commands.console import PlainConsole
from unrolled.config.checks import PositiveInt
from unrolled.config.launch import launched
from unrolled.config.options import named_as_flags
from unrolled.config.sweep import Range, SweepConfig
from unrolled.config.toml import to_toml
from unrolled.words import counted, duration, rounded

if TYPE_CHECKING:
    from unrolled.lm.sweep import Sweep, Trial

#: Trials that the table shows.
SHOWN = 10
#: The file with the best options.
BEST = "best.toml"

app = App(
    name="sweep",
    usage="Usage: unrolled sweep SWEEP.toml [--trials TRIALS] [OPTIONS]",
    help_epilogue=examples(
        "unrolled sweep sweep.toml --trials 50",
        "unrolled sweep sweep.toml --storage postgresql://ann@host/studies",
        "unrolled train mine.txt --config sweeps/sweep/best.toml",
    ),
)


@app.default
def sweep(
    toml: Annotated[ExistingTomlPath, Parameter(name="SWEEP.toml")],
    /,
    *,
    trials: PositiveInt = 50,
    out: Path | None = None,
    storage: str = "",
) -> None:
    """Train many models for a short time each, and find the options that learn best.

    Repeat the command to continue; run it on several machines with one --storage, and they share the work.

    Args:
        toml: What to search: `sources`, the data; tables [data], [model] and [training], the options that all trials
            share; and [search], a list of values or a range for each option to search.
        trials: Trials in all, including those of earlier calls and of other machines; each further process that runs
            at the end may add one.
        out: Folder for the best options and the picture, by default one in sweeps/ named after the TOML file.
        storage: File that keeps the study, or URL of a database; by default study.journal in that folder.
    """
    if launched().size > 1:
        raise WrongUse("a sweep is no run of torchrun; start the command itself several times, with one --storage")
    config = _read(toml)
    corpus = inputs.read(inputs.named(config.sources), config.data)
    with named_as_flags(False):
        inputs.note_unread(config.data, corpus)
        for name, why in config.without_effect(stream=corpus.stream).items():
            warnings.warn(f"{toml}: {name} has no effect: {why}", stacklevel=1)

    from unrolled.lm.sweep import Sweep, shown  # here, so that a mistake in the data is reported before torch is loaded

    out = out or Path("sweeps") / toml.stem
    console, study = PlainConsole(), Sweep(corpus, config, storage or out / "study.journal", toml.stem)
    if before := len(study.trials()):
        console.print(f"{counted(before, 'trial')} there already", soft_wrap=True)
    elif (out / BEST).exists():
        raise ValueError(f"{out / BEST} is of another sweep, which this one would replace; give another --out")
    whole = False
    try:
        whole = study.run(trials, lambda trial: console.print(_line(trial, study), soft_wrap=True))
    finally:  # also what an interrupted sweep has found
        _show(console, study, config, out)
    if not whole:
        options = ["--trials", trials, "--out", out, *(["--storage", shown(storage)] if storage else [])]
        console.print(f"interrupted; go on with: {command('sweep', toml, *options)}", soft_wrap=True)
        raise SystemExit(1)
    if study.best() is None:
        raise ValueError("no trial has run to its end; change what the lines above name, and give another --out")


def _read(toml: Path) -> SweepConfig:
    """Return what a file says is searched; WrongUse naming the file and the key that is wrong."""
    try:
        sections = read_toml(toml)
    except ValueError as error:
        raise WrongUse(str(error)) from None
    try:
        with named_as_flags(False):
            return SweepConfig.from_dict(sections)
    except ValueError as error:
        raise WrongUse(f"{toml}: {error}") from None


def _line(trial: Trial, study: Sweep) -> str:
    """Return what is said of a trial that has ended."""
    bits = "" if trial.bits is None else f", {rounded(trial.bits, 3)} bits/symbol"
    ended = trial.note or ("the best so far" if trial.number == _number(study.best()) else "")
    options = ", ".join(f"{name} {_plainly(value)}" for name, value in trial.options.items())
    return f"trial {trial.number}{bits} in {duration(trial.seconds)}{f', {ended}' if ended else ''}: {options}"


def _number(trial: Trial | None) -> int | None:
    return None if trial is None else trial.number


def _plainly(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _show(console: PlainConsole, study: Sweep, config: SweepConfig, out: Path) -> None:
    """Print the best trials and what mattered; write the best options and the picture."""
    ended, best = study.trials(), study.best_config()
    if best is None:
        return
    whole = sorted((trial for trial in ended if not trial.note), key=lambda trial: trial.bits or 0.0)
    grid = Table(title=f"the best of {counted(len(ended), 'trial')}, {len(ended) - len(whole):,} ended early")
    for name in ("trial", "bits/symbol", *config.search):
        grid.add_column(name.replace("_", " "), justify="right")
    for trial in whole[:SHOWN]:
        values = (_plainly(trial.options[name]) for name in config.search)
        grid.add_row(str(trial.number), rounded(trial.bits or 0.0, 3), *values)
    console.print(grid)
    from unrolled.lm.run import UNTRAINED

    guess = math.log2(len(study.corpus.vocabulary))
    if (bits := whole[0].bits or 0.0) > guess + UNTRAINED / math.log(2):
        said = f"the best predicts worse than a uniform guess: {rounded(bits, 3)} bits/symbol, a guess costs"
        console.print(f"{said} {guess:.3g}; search a lower learning_rate", soft_wrap=True)
    importance = study.importance()
    if importance:
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in importance.items())
        console.print(f"what mattered, by PED-ANOVA: {shares}", soft_wrap=True)
    _write(console, study, config, importance, out)


def _write(console: PlainConsole, study: Sweep, config: SweepConfig, importance: dict[str, float], out: Path) -> None:
    from unrolled.saved.atomic_files import write_file

    best, ended = study.best_config(), study.trials()
    assert best is not None
    write_file(out / BEST, to_toml(asdict(best)).encode())
    made = [out / BEST]
    try:
        from unrolled.views.plots import save
        from unrolled.views.plots_sweep import searched
    except ModuleNotFoundError as error:
        console.print(f"no picture: {error}", soft_wrap=True)
    else:
        options = {name: [trial.options[name] for trial in ended] for name in config.search}
        log = [name for name, space in config.search.items() if isinstance(space, Range) and space.log]
        bits, whole = [trial.bits for trial in ended], [not trial.note for trial in ended]
        save(searched(bits, whole, options, importance, log), out / "sweep.png")
        made.append(out / "sweep.png")
    train = command("train", *config.sources, "--config", out / BEST)
    console.print(f"made {' and '.join(map(str, made))}; train with: {train}", soft_wrap=True)
