"""`unrolled train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.types import ExistingTomlPath

from unrolled.commands import Flag, WrongUse, command, examples, inputs
from unrolled.commands.arguments import check_numbers
from unrolled.commands.configuration import fill_in
from unrolled.commands.console import PlainConsole
from unrolled.commands.evaluate import held_out, report
from unrolled.config.data import DataConfig
from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig

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
    from unrolled.saved.atomic_files import new_folder
    from unrolled.saved.model import load_model

    sources = data or (load_model(out)[0].get("sources") if resume else None)
    if not sources:
        raise WrongUse(
            "no training data; name files, or one of the words sonnets and anbn for data that comes with the package"
        )
    made = not out.exists()
    if not resume:
        new_folder(out)  # before anything is spent on the run
    try:
        corpus = inputs.read(sources, dataset)

        import torch  # here, so that a mistake in the data is reported before two seconds of import

        from unrolled import lm
        from unrolled.lm.callbacks import TensorBoard
        from unrolled.lm.display import Display

        console = PlainConsole()
        torch.manual_seed(training.seed)
        network = lm.SequenceModel(model, corpus.vocabulary, framed=not corpus.stream)
        callbacks = [Display(console), *([TensorBoard()] if training.tensorboard else [])]
        origin = inputs.origin(sources, dataset, corpus)
        result = lm.train(network, corpus, training, out, resume=resume, callbacks=callbacks, origin=origin)
        if result.ended == "signal":
            console.print(f"resume with: {command('train', '--resume', '--out', out)}", soft_wrap=True)
            return
        report(console, network, corpus, held_out(corpus))
        console.print(f"wrote {out}; try: {command('generate', out)}", soft_wrap=True)
    except BaseException:
        if made and out.is_dir() and not any(out.iterdir()):
            out.rmdir()
        raise
