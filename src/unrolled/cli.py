"""The command line: parses, calls, prints.  `--help` imports neither torch nor numpy.

Exit codes: 0 done, 1 the run failed, 2 wrong use.  An error is one sentence on standard error.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter
from cyclopts.types import ExistingTomlPath

from unrolled import __version__
from unrolled.commands.configuration import fill_in
from unrolled.lm.config import DataConfig, GenerationConfig, ModelConfig, TrainingConfig
from unrolled.views.page.limits import Limits

FAILED, WRONG_USE = 1, 2

#: Modules that come with an extra, and which.
EXTRAS = {"torch": "torch", "matplotlib": "plot", "tensorboard": "track", "starlette": "web", "uvicorn": "web"}

app = App(
    name="unrolled",
    version=__version__,
    help="Learn symbol sequences with an RNN, LSTM or GRU, say how well, and write new ones.",
    help_epilogue="Start with: unrolled demo",
    config=fill_in,
)

Model = Annotated[Path, Parameter(help="Folder of a trained model.")]


@app.command
def train(
    data: Annotated[list[str] | None, Parameter(negative_iterable="")] = None,
    /,
    *,
    out: Path,
    config: ExistingTomlPath | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    model: Annotated[ModelConfig, Parameter(name="*", group="Model")] = ModelConfig(),  # noqa: B008
    dataset: Annotated[DataConfig, Parameter(name="*", group="Data")] = DataConfig(),  # noqa: B008
    training: Annotated[TrainingConfig, Parameter(name="*", group="Training")] = TrainingConfig(),  # noqa: B008
) -> None:
    """Train a model and write it to a folder.

    Args:
        data: Files, folders, - for standard input, or the word sonnets for the text that comes with the package;
            a resumed run reads again what it began with.
        out: New folder for the model, its checkpoints and its metrics.
        config: TOML file with tables [model], [data] and [training]; flags go on top.
        resume: Go on with the run in --out, exactly where it stopped.
    """
    from unrolled.commands.train import train as command

    command(data, out, resume, model, dataset, training)


@app.command
def evaluate(
    model: Model,
    data: Annotated[list[str] | None, Parameter(negative_iterable="")] = None,
    /,
    *,
    split: str = "test",
    baselines: Annotated[bool, Parameter(negative="--no-baselines")] = True,
) -> None:
    """Measure a model beside simple baselines, on the data it was trained on or on other data.

    Args:
        data: Other files to measure on, whole; else the split of the data the model was trained on.
        split: train, validation or test.
        baselines: Measure what simple predictors and compressors reach, too.
    """
    from unrolled.commands.evaluate import evaluate as command

    command(model, data, split, baselines)


@app.command
def generate(
    model: Model,
    prompt: str = "",
    /,
    *,
    count: int = 1,
    options: Annotated[GenerationConfig, Parameter(name="*", group="Generation")] = GenerationConfig(),  # noqa: B008
) -> None:
    r"""Write new text, symbol by symbol.

    Args:
        prompt: Text to go on from; symbols are separated by spaces, and \n is a line end.
        count: Texts to write.
    """
    from unrolled.commands.generate import generate as command

    command(model, prompt, count, options)


@app.command
def score(model: Model, text: str = "", /, *, file: Path | None = None) -> None:
    """Show what each symbol of a text costs the model, in bits, and colour what surprises it.

    Args:
        text: The text to score, or - for standard input.
        file: Score this file instead.
    """
    from unrolled.commands.score import score as command

    command(model, text, file)


@app.command
def serve(
    models: Annotated[list[Path], Parameter(help="Folders of trained models.", negative_iterable="")],
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    name: Annotated[list[str] | None, Parameter(negative_iterable="")] = None,
    limits: Annotated[Limits, Parameter(name="*", group="Limits")] = Limits(),  # noqa: B008
) -> None:
    """Show models in the browser while you type: gates, units, gradients, and text as it is written.

    Args:
        host: Address to listen on; the default is reached from this machine only.
        port: To listen on; 0 is any free one.
        name: A name that browsers may call this server by, beside its address; may be given again.
    """
    from unrolled.commands.serve import serve as command

    command(models, host, port, name or [], limits)


@app.command
def info() -> None:
    """Show the version, the instruction set, threads, torch, and which extras are there."""
    from unrolled.commands.info import info as command

    command()


@app.command
def demo(*, out: Path = Path("demo"), quick: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Learn a^n b^n with all three cells, then Shakespeare's Sonnets; write a sonnet and draw two pictures.

    Args:
        out: Folder for everything the demo makes; what an earlier demo left there is replaced.
        quick: A few seconds instead of about three minutes.
    """
    from unrolled.commands.demo import demo as command

    command(out, quick)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; the entry point of `unrolled`."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code.

    >>> run(["--version"])
    0.1.0
    0
    """
    try:
        command, bound, _ = app.parse_args(_standard_input_last(arguments), exit_on_error=False, print_error=False)
    except (CycloptsError, ValueError) as error:
        return _complain(error, WRONG_USE)
    try:
        with warnings.catch_warnings():
            warnings.formatwarning = lambda message, *_, **__: f"unrolled: note: {message}\n"
            command(*bound.args, **bound.kwargs)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        return _complain(f"{error.name} is not installed; pip install 'unrolled[{EXTRAS[error.name]}]'", FAILED)
    except KeyboardInterrupt:
        return _complain("interrupted", FAILED)
    except Exception as error:
        if not _is_plain(error):
            raise
        return _complain(error, FAILED)
    return 0


def _standard_input_last(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with a lone - after a --, for the parser takes it for an option elsewhere.

    >>> _standard_input_last(["train", "-", "--out", "runs/x"])
    ['train', '--out', 'runs/x', '--', '-']
    """
    if "-" not in arguments or "--" in arguments:
        return list(arguments)
    return [each for each in arguments if each != "-"] + ["--", "-"]


def _complain(error: Exception | str, code: int) -> int:
    """Tell what is wrong in one sentence; return the exit code."""
    print(f"unrolled: {error}", file=sys.stderr)
    return code


def _is_plain(error: Exception) -> bool:
    """Return whether an error's message is meant for the user: our own, or one of the values and files given."""
    return isinstance(error, (ValueError, RuntimeError, OSError, MemoryError)) or type(error).__module__.startswith(
        "unrolled."
    )


if __name__ == "__main__":
    main()
