"""The command line: parses, calls, prints.  `--help` imports neither torch nor numpy.

Exit codes: 0 done, 1 the run failed, 2 wrong use.  An error is one sentence on standard error.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter
from cyclopts.types import ExistingTomlPath, PositiveInt

from unrolled import __version__
from unrolled.commands import WrongUse
from unrolled.commands.configuration import fill_in
from unrolled.commands.lab_app import app as lab
from unrolled.config.data import DataConfig
from unrolled.config.generation import GenerationConfig
from unrolled.config.model import ModelConfig
from unrolled.config.server import Limits
from unrolled.config.training import TrainingConfig

FAILED, WRONG_USE = 1, 2

#: Modules that come with an extra, and which.
EXTRAS = {"torch": "torch", "matplotlib": "plot", "tensorboard": "track", "starlette": "web", "uvicorn": "web"}

app = App(
    name="unrolled",
    version=__version__,
    help="Learn symbol sequences with an RNN, LSTM or GRU, say how well, and write new ones.",
    help_epilogue="Start with: unrolled demo",
    help_format="plaintext",
    config=fill_in,
)

Model = Annotated[Path, Parameter(help="Folder of a trained model.")]


def _examples(*commands: str) -> str:
    return "\n  ".join(("Examples:", *commands))


@app.command(
    usage="Usage: unrolled train DATA... --out FOLDER [OPTIONS]",
    help_epilogue=_examples(
        "unrolled train sonnets --cell gru --out runs/sonnets",
        "unrolled train tunes.txt --lines --out runs/tunes",
        "unrolled train --resume --out runs/tunes",
    ),
)
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
        out: New folder for the model, its checkpoints and its metrics; with --resume, the folder of the run.
        config: TOML file with tables [model], [data] and [training]; flags go on top.
        resume: Go on with the run in --out, exactly where it stopped.
    """
    from unrolled.commands.train import train as command

    command(data, out, resume, model, dataset, training)


@app.command(
    usage="Usage: unrolled evaluate MODEL [DATA...] [OPTIONS]",
    help_epilogue=_examples(
        "unrolled evaluate runs/sonnets",
        "unrolled evaluate runs/sonnets other.txt",
    ),
)
def evaluate(
    model: Model,
    data: Annotated[list[str] | None, Parameter(negative_iterable="")] = None,
    /,
    *,
    split: Literal["train", "validation", "test"] | None = None,
    baselines: Annotated[bool, Parameter(negative="--no-baselines")] = True,
) -> None:
    """Measure a model beside simple baselines, on the data it was trained on or on other data.

    Args:
        data: Other files or folders to measure on, whole; else a split of the data the model was trained on.
        split: Which split; else test if there is one, else validation, else train.
        baselines: Measure what simple predictors and compressors reach that have seen the same training data.
    """
    from unrolled.commands.evaluate import evaluate as command

    command(model, data, split, baselines)


@app.command(
    usage="Usage: unrolled generate MODEL [PROMPT] [OPTIONS]",
    help_epilogue=_examples(
        "unrolled generate runs/sonnets 'Shall I compare ' --temperature 0.7",
        "unrolled generate runs/tunes --count 5",
    ),
)
def generate(
    model: Model,
    prompt: str = "",
    /,
    *,
    count: PositiveInt = 1,
    options: Annotated[GenerationConfig, Parameter(name="*", group="Generation")] = GenerationConfig(),  # noqa: B008
) -> None:
    r"""Write new text, symbol by symbol.

    Args:
        prompt: Text to go on from; symbols are separated by spaces, and \n is a line end.
        count: Texts to write, each drawn anew.
    """
    from unrolled.commands.generate import generate as command

    command(model, prompt, count, options)


@app.command(
    usage="Usage: unrolled score MODEL (TEXT | - | --file FILE) [--bits]",
    help_epilogue=_examples(
        "unrolled score runs/sonnets 'Shall I compare thee to a summer'",
        "unrolled score runs/sonnets --file letter.txt --bits",
    ),
)
def score(
    model: Model,
    text: str | None = None,
    /,
    *,
    file: Path | None = None,
    bits: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Show what each symbol of a text costs the model, in bits, and colour what surprises it.

    A model that learned sequences scores each line as one, with the EOS that ends it.

    Args:
        text: The text to score, or - for standard input.
        file: Score this file instead.
        bits: Print a line for each symbol, its bits, a tab and the symbol, instead of colours.
    """
    from unrolled.commands.score import score as command

    command(model, text, file, bits)


@app.command(
    usage="Usage: unrolled view MODEL (TEXT | - | --file FILE) [--picture PICTURE] [OPTIONS]",
    help_epilogue=_examples(
        "unrolled view runs/sonnets 'Shall I compare thee'",
        "unrolled view runs/sonnets --file poem.txt --picture text --by line-length",
        "unrolled view runs/lstm 'Shall I' --picture gradient --beside runs/gru --beside runs/rnn",
    ),
)
def view(
    model: Model,
    text: str | None = None,
    /,
    *,
    file: Path | None = None,
    picture: Literal[
        "terminal",
        "gates",
        "saturation",
        "counter",
        "text",
        "units",
        "gradient",
        "reach",
        "connectivity",
        "states",
        "automaton",
        "learning",
        "report",
        "table",
    ] = "terminal",
    out: Path | None = None,
    signal: Literal["i", "f", "g", "o", "r", "z", "n", "c", "h"] | None = None,
    layer: int = -1,
    unit: Annotated[list[int] | None, Parameter(negative_iterable="")] = None,
    by: str | None = None,
    beside: Annotated[list[Path] | None, Parameter(negative_iterable="")] = None,
    position: int = -1,
    clusters: PositiveInt = 6,
    lags: PositiveInt = 100,
) -> None:
    r"""Show what a model does inside while it reads a text.

    In the terminal: terminal (coloured text and heat-maps of bars), units (ranked by --by). As a page: report, one HTML
    file. As numbers: table, a CSV file. As pictures: gates, saturation, counter (lines of some units), text (coloured
    by one unit), gradient (against the lag), reach (of one loss), connectivity (what each prediction looked at), states
    and automaton (clusters of states; each line of the text is a sequence of its own if the model learned sequences),
    learning (the learning curve; no text needed).

    Args:
        text: The text to read, or - for standard input; \n is a line end.
        file: Read this file instead.
        picture: What to show.
        out: Where to write it; the ending .png or .svg says the format. Else a file named after the picture.
        signal: Gate or state to show; else all, or the memory of the cell: c of an LSTM, h of the others.
        layer: Layer to show, 0 is the first and -1 the last.
        unit: Unit to show; may be given again. Else those that follow --by, or change most.
        by: Feature of the text to find units by: position, depth, inside-quotes, line-length, count:a-b.
        beside: Another model, for gradient; may be given again.
        position: Symbol whose state or loss is followed back, for gradient and reach; -1 is the last.
        clusters: Clusters of states, for states and automaton.
        lags: Steps to go back, for gradient.
    """
    from unrolled.commands.view import Options
    from unrolled.commands.view import view as command

    options = Options(signal, layer, unit or [], by, beside or [], position, clusters, lags)
    command(model, text, file, picture, out, options)


@app.command(
    usage="Usage: unrolled explain MODEL TEXT [OPTIONS]",
    help_epilogue=_examples(
        "unrolled explain runs/anbn 'a a b'",
        "unrolled explain runs/anbn 'a a b' --out paper.html",
    ),
)
def explain(
    model: Model,
    text: str,
    /,
    *,
    out: Path | None = None,
    format: Literal["text", "markdown", "html"] | None = None,
    columns: PositiveInt | None = None,
) -> None:
    r"""Work one forward and backward pass out on paper: every number with its shape and its equation.

    Args:
        text: A few symbols; \n is a line end.
        out: Write it to this file; its ending .txt, .md or .html says the format.
        format: Of what is written; else as --out says, or text.
        columns: Columns and lines of a table that are shown; else as many as fit.
    """
    from unrolled.commands.explain import explain as command

    command(model, text, out, format, columns)


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
        quick: A few seconds instead of about two minutes.
    """
    from unrolled.commands.demo import demo as command

    command(out, quick)


app.command(lab)


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
            warnings.showwarning = _note
            command(*bound.args, **bound.kwargs)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        return _complain(f"{error.name} is not installed; pip install 'unrolled[{EXTRAS[error.name]}]'", FAILED)
    except WrongUse as error:
        return _complain(error, WRONG_USE)
    except BrokenPipeError:  # whoever reads the output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
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


def _note(message: Warning | str, *_: Any, **__: Any) -> None:
    """Tell what may surprise, on one line."""
    print("unrolled: note:", *str(message).split(), file=sys.stderr)


def _complain(error: Exception | str, code: int) -> int:
    """Tell what is wrong on one line; return the exit code."""
    text = str(error) or "out of memory; take a smaller model, batch or vocabulary"  # a MemoryError says nothing
    print("unrolled:", *text.split(), file=sys.stderr)
    return code


def _is_plain(error: Exception) -> bool:
    """Return whether an error's message is meant for the user: our own, or one of the values and files given."""
    return isinstance(error, (ValueError, RuntimeError, OSError, MemoryError)) or type(error).__module__.startswith(
        "unrolled."
    )


if __name__ == "__main__":
    main()
