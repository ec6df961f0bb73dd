"""`unrolled train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from cyclopts.types import ExistingTomlPath

from unrolled.commands import Flag, WrongUse, command, examples, inputs
from unrolled.commands.arguments import check_numbers
from unrolled.commands.configuration import fill_in
from unrolled.commands.console import PlainConsole
from unrolled.commands.evaluate import held_out, report
from unrolled.config.data import DataConfig
from unrolled.config.model import ModelConfig
from unrolled.config.options import option
from unrolled.config.training import TrainingConfig

if TYPE_CHECKING:
    from unrolled.lm.run import Result

app = App(
    name="train",
    usage="Usage: unrolled train DATA... --out FOLDER [OPTIONS]",
    help_epilogue=examples(
        "unrolled train sonnets --cell gru --out runs/sonnets",
        "unrolled train tunes.txt --lines --out runs/tunes",
        "unrolled train --resume --out runs/tunes",
    ),
    config=(fill_in, check_numbers),
)


@app.default
def train(
    data: list[str] | None = None,
    /,
    *,
    out: Path,
    config: ExistingTomlPath | None = None,
    resume: Flag = False,
    model: Annotated[ModelConfig, Parameter(name="*", group="Model")] = ModelConfig(),
    dataset: Annotated[DataConfig, Parameter(name="*", group="Data")] = DataConfig(),
    training: Annotated[TrainingConfig, Parameter(name="*", group="Training")] = TrainingConfig(),
) -> None:
    """Train a model and write it to a folder.

    Args:
        data: Files, folders, - for standard input, or one of the words sonnets and anbn for data that comes with the
            package; a resumed run reads its own data again.
        out: New folder for the model, its checkpoints and its metrics; with --resume, the folder of the run.
        config: TOML file with tables [model], [data] and [training]; flags override it.
        resume: Resume the run in --out exactly where it stopped.
    """
    from unrolled.saved.checkpoints import new_folder
    from unrolled.saved.lock import only_writer

    console = PlainConsole()
    again = command("train", "--resume", "--out", out)
    sources = inputs.named(data) if data else _recorded_sources(out) if resume else None
    if not sources:
        raise WrongUse(
            "no training data; name files, or one of the words sonnets and anbn for data that comes with the package"
        )
    made = not out.exists()
    try:
        with only_writer(out, create=not resume):  # before anything is spent on the run
            if not resume:
                new_folder(out)
        if resume and inputs.STANDARD_INPUT in sources:
            console.print(f"reading standard input, which this run began with: {again} < DATA", soft_wrap=True)
        corpus = inputs.read(sources, dataset)

        import torch  # here, so that a mistake in the data is reported before two seconds of import

        from unrolled import lm
        from unrolled.lm.callbacks import TensorBoard
        from unrolled.lm.display import Display
        from unrolled.lm.memory import check_memory, largest_batch

        check_memory(model, len(corpus.vocabulary), training, largest_batch(corpus.train, corpus.stream, training))
        torch.manual_seed(training.seed)
        network = lm.SequenceModel(model, corpus.vocabulary, framed=not corpus.stream)
        callbacks = [Display(console), *([TensorBoard()] if training.tensorboard else [])]
        origin = inputs.origin(sources, dataset, corpus)
        result = lm.train(network, corpus, training, out, resume=resume, callbacks=callbacks, origin=origin)
        if result.ended == "signal":
            console.print(f"resume with: {again}", soft_wrap=True)
            return
        report(console, network, corpus, held_out(corpus))
        console.print(f"wrote {out}; try: {command('generate', out)}", soft_wrap=True)
        if further := _further(result, training):
            console.print(f"the validation loss was still falling; go on with: {again} {further}", soft_wrap=True)
    except BaseException:
        if made and out.is_dir() and not any(out.iterdir()):
            out.rmdir()
        raise


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
    if training.schedule == "cosine" and result.ended != "max_minutes":
        return ""  # it ends where its learning rate is zero
    return option(result.ended, 2 * getattr(training, result.ended))
