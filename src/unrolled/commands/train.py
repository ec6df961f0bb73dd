"""`unrolled train`."""

from __future__ import annotations

import itertools
import math
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from cyclopts.types import ExistingTomlPath

from unrolled.commands import Flag, WrongUse, command, examples, inputs, recipe, starting_point
from unrolled.commands.arguments import WrappedHelp, check_numbers
from unrolled.commands.configuration import fill_in
from unrolled.commands.console import PlainConsole
from unrolled.commands.evaluate import held_out, report
from unrolled.commands.outcome import show_interrupted, show_outcome
from unrolled.commands.together import together
from unrolled.config.checks import Positive, bytes_of
from unrolled.config.data import DataConfig
from unrolled.config.launch import RANK_TIMEOUT
from unrolled.config.model import ModelConfig
from unrolled.config.options import note_idle, option
from unrolled.config.training import CHOSEN, TrainingConfig
from unrolled.words import counted

if TYPE_CHECKING:
    from unrolled.corpus.sharing import Alone
    from unrolled.lm.run import Result

app = App(
    name="train",
    usage="Usage: unrolled train DATA... [--minutes MINUTES] [OPTIONS]",
    help_epilogue=examples(
        "unrolled train mine.txt --minutes 5",
        "unrolled train sonnets --cell gru --out runs/sonnets",
        "unrolled train tunes.txt --lines --out runs/tunes",
        "unrolled train --resume --out runs/tunes",
        "unrolled train more.txt --from runs/tunes --out runs/more",
    ),
    config=(fill_in, check_numbers),
    help_formatter=WrappedHelp(CHOSEN),
)


@app.default
def train(
    data: list[str] | None = None,
    /,
    *,
    minutes: Positive | None = None,
    memory: str | None = None,
    out: Path | None = None,
    dry_run: Flag = False,
    config: ExistingTomlPath | None = None,
    resume: Flag = False,
    start: Annotated[Path | None, Parameter(name="--from")] = None,
    rank_timeout: Positive = RANK_TIMEOUT,
    model: Annotated[ModelConfig, Parameter(name="*", group="Model")] = ModelConfig(),
    dataset: Annotated[DataConfig, Parameter(name="*", group="Data")] = DataConfig(),
    training: Annotated[TrainingConfig, Parameter(name="*", group="Training")] = TrainingConfig(),
) -> None:
    """Train a model and write it to a folder; options you leave out are chosen to suit the data and the time.

    Args:
        data: Files, folders, - for standard input, or sonnets or anbn for data that comes with the package; a resumed
            run reads its own data again.
        minutes: Minutes to train; 5 if no other end is given.
        memory: Most memory that the process may use, such as 2GB; by default what is free. If that is too little, gates
            are recomputed instead of saved.
        out: New folder for the model, its checkpoints and its metrics, by default one in runs/ named after the data;
            with --resume, the folder of the run.
        dry_run: Show what would be chosen, then stop.
        config: TOML file with tables [model], [data] and [training]; flags override it.
        resume: Resume the run in --out exactly where it stopped.
        start: Folder of a trained model to start from, with its weights, options and symbols; new symbols in the data
            are added, and the data is read as the model's own was.
        rank_timeout: Under torchrun, seconds to wait for a process that is missing or gives no sign of life.
    """
    own = {"minutes": minutes, "memory": memory, "resume": resume, "dry_run": dry_run}
    with together(rank_timeout, lambda: own | asdict(model) | asdict(dataset) | asdict(training)) as ranks:
        _train(ranks, data, minutes, memory, out, dry_run, resume, start, model, dataset, training)


def _train(
    ranks: Alone,
    data: list[str] | None,
    minutes: float | None,
    memory: str | None,
    out: Path | None,
    dry_run: bool,
    resume: bool,
    start: Path | None,
    model: ModelConfig,
    dataset: DataConfig,
    training: TrainingConfig,
) -> None:
    """Train in one process, or in one of several that share the run."""
    from unrolled.saved.checkpoints import new_folder
    from unrolled.saved.lock import only_writer
    from unrolled.saved.measured import save_measured

    if minutes is not None and (resume or training.max_minutes):
        other = "a run that is resumed ends as it was begun" if resume else f"{option('max_minutes')} is given too"
        raise WrongUse(f"{option('minutes', minutes)}: {other}; leave one out")
    if resume and (out is None or dry_run):
        raise WrongUse("--resume needs --out, the folder of the run, and has no --dry-run: it continues as it began")
    sources = inputs.named(data) if data else _recorded_sources(out) if out and resume else None
    if not sources:
        raise WrongUse(
            "no training data; name files, or one of the words sonnets and anbn for data that comes with the package"
        )
    if ranks.size > 1 and inputs.STANDARD_INPUT in sources:
        raise WrongUse("standard input cannot be read by several processes; write the data to a file, or prepare it")
    limit = bytes_of("memory", memory) if memory is not None else None
    console = PlainConsole(quiet=not ranks.first)
    begun = starting_point.load(start, model, dataset) if start else None
    vocabulary = begun.vocabulary if begun else None
    if dry_run:
        corpus = inputs.read(sources, dataset, vocabulary, extend=begun is not None)
        if not begun:
            inputs.note_unread(dataset, corpus)
        shown = recipe.chosen(corpus, model, training, minutes, memory, begun is not None)
        recipe.show(console, corpus, shown, ranks.size)
        note_idle(
            shown.training, shown.training.without_effect(stream=corpus.stream, validated=bool(corpus.validation))
        )
        recipe.check_room(corpus, shown.model, shown.training, ranks.size, limit)
        return
    out = Path(ranks.told(str(out or _new_name(sources))))
    again = command("train", "--resume", "--out", out)
    made = ranks.first and not out.exists()
    try:
        if ranks.first:
            with only_writer(out, create=not resume):  # before anything is spent on the run
                if not resume:
                    new_folder(out)
        if resume and inputs.STANDARD_INPUT in sources:
            console.print(f"reading standard input, which this run began with: {again} < DATA", soft_wrap=True)
        if resume:
            vocabulary = starting_point.vocabulary_of(out)
        corpus = inputs.read(sources, dataset, vocabulary, extend=begun is not None)
        if not (resume or begun):  # these read the data as it was read before
            inputs.note_unread(dataset, corpus)

        import torch  # here, so that a mistake in the data is reported before two seconds of import

        from unrolled import lm
        from unrolled.lm.display import Display

        origin = inputs.origin(sources, dataset, corpus)
        plan = None if resume else recipe.chosen(corpus, model, training, minutes, memory, begun is not None)
        if plan:
            recipe.show(console, corpus, plan, ranks.size)
            model, training, origin = plan.model, plan.training, origin | plan.saved_reasons()
        recipe.check_room(corpus, model, training, ranks.size, limit)
        torch.manual_seed(training.seed)
        if begun:
            network, origin = begun.network(console, corpus, sources), origin | begun.origin(corpus)
        else:
            network = lm.SequenceModel(model, corpus.vocabulary, framed=not corpus.stream)
        callbacks = [Display(console)]
        if ranks.size > 1:
            threads = counted(torch.get_num_threads(), "thread")
            console.print(f"{counted(ranks.size, 'process')} share each batch, with {threads} each", soft_wrap=True)
        result = lm.train(
            network, corpus, training, out, resume=resume, callbacks=callbacks, origin=origin, ranks=ranks
        )
        if not ranks.first:
            return
        if result.ended == "signal":
            show_interrupted(console, result, out)
            console.print(f"resume with: {again}", soft_wrap=True)
            if ranks.size == 1:  # torchrun would report the failure of a process
                raise SystemExit(1)
            return
        if plan:
            recipe.note_pace(plan, result)
        save_measured(out, report(console, network, corpus, held_out(corpus)).values())
        show_outcome(console, network, corpus, out)
        if further := _further(result, training):
            console.print(f"the validation loss was still falling; go on with: {again} {further}", soft_wrap=True)
    except BaseException:
        if made and out.is_dir() and not any(out.iterdir()):
            out.rmdir()
        raise


#: Characters of a pattern, which a folder is not named after.
_UNNAMED = re.compile(r"[*?\[\]]+")


def _new_name(sources: list[str]) -> Path:
    """Return a folder in runs/ that does not exist, named after the data."""
    path = Path(os.path.abspath(sources[0]))  # ".." too has a name, and a link keeps its own
    stems = (_UNNAMED.sub("", part) for part in (path.stem, *(parent.name for parent in path.parents)))
    name = "stdin" if sources[0] == inputs.STANDARD_INPUT else next(filter(None, stems), "data")
    names = (f"runs/{name}{f'-{k}' if k > 1 else ''}" for k in itertools.count(1))
    return next(path for path in map(Path, names) if not path.exists())


def _recorded_sources(out: Path) -> list[str]:
    """Return the data that the run in a folder was begun with."""
    from unrolled.saved.checkpoints import load_state

    sources: list[str] | None = load_state(out)["config"].get("sources")
    if not sources:
        again = command("train", "DATA...", "--resume", "--out", out)
        raise WrongUse(
            f"{out}: this run began in Python and does not know the name of its data; name the same data and how it is "
            f"read, {again}, or resume it in Python, train(..., resume=True)"
        )
    return sources


def _further(result: Result, training: TrainingConfig) -> str:
    """Return the option that lets a run go on that its limit ended too early; an empty text for others."""
    if not result.improving or result.ended not in ("max_steps", "max_epochs", "max_minutes"):
        return ""
    if training.schedule == "cosine":
        return ""  # it ends where its learning rate is zero
    given = getattr(training, result.ended)
    done = {"max_steps": result.steps, "max_epochs": result.epochs}.get(result.ended, math.ceil(result.seconds / 60))
    return option(result.ended, 2 * max(given, done if done > given else 0))
