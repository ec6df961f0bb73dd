"""`unrolled export`: needs no torch for a format that needs none."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from unrolled.commands import Flag, Model, WrongUse, examples
from unrolled.commands.console import printable
from unrolled.config.checks import StoredWeights
from unrolled.formats.registry import FORMATS, Format
from unrolled.words import sized

#: The file of a model's folder that holds its weights.
WEIGHTS = "model.safetensors"
WRITTEN = {name: each for name, each in FORMATS.items() if each.writes}
if TYPE_CHECKING:
    from typing import TypeAlias

    To: TypeAlias = str
else:
    To = Literal[tuple(WRITTEN)]


def _listed() -> str:
    """Return the formats for `--help`: of each its name, what it can hold and the extra that it needs."""
    width = max(map(len, WRITTEN))
    extras = {name: f" (pip install 'unrolled[{each.extra}]')" if each.extra else "" for name, each in WRITTEN.items()}
    return "\n  ".join(
        ["Formats:", *(f"{name:{width}}  {each.title}: {each.holds}{extras[name]}" for name, each in WRITTEN.items())]
    )


app = App(
    name="export",
    usage="Usage: unrolled export MODEL [--to FORMAT] [--weights TYPE] [--out FILE]",
    help_epilogue=f"{_listed()}\n\n"
    + examples(
        f"unrolled export runs/sonnets --to {next(iter(WRITTEN))}",
        "unrolled export runs/sonnets --weights int8 --check",
    ),
)


@app.default
def export(
    model: Model,
    /,
    *,
    to: Annotated[To | None, Parameter(help="The format, one of those listed below.", show_choices=False)] = None,
    weights: StoredWeights | None = None,
    out: Path | None = None,
    check: Flag = False,
    overwrite: Flag = False,
) -> None:
    """Write a trained model in the format of another library or program, or with smaller weights.

    Args:
        weights: Type in which matrices are stored; without --to, a model folder with such weights is written.
        out: File or folder to write to, by default next to the model, with its name.
        check: Compare the written folder with the model: size, bits per symbol, time of a step.
        overwrite: Replace what is already there.
    """
    if to is None and weights is None:
        raise WrongUse("export needs --to FORMAT, or --weights float32, bfloat16 or int8 for a folder")
    if check and to is not None:
        raise WrongUse("--check compares folders of models; leave out --to")
    if to is not None and weights not in (None, *(kept := FORMATS[to].weights)):
        raise WrongUse(
            f"--weights is {weights}, but {FORMATS[to].title} "
            + (f"has {' and '.join(kept)}" if kept else "has no choice of weights")
        )
    out = out or beside(model, f"-{weights}" if to is None else FORMATS[to].suffixes[0])
    _refuse_to_replace(out, overwrite)
    if to is not None:
        _write(model, FORMATS[to], out, {} if weights is None else {"weights": weights}, overwrite)
    elif weights is not None:
        _narrow(model, weights, out, check, overwrite)


def _refuse_to_replace(out: Path, overwrite: bool) -> None:
    from unrolled.saved.atomic_files import CheckpointError
    from unrolled.saved.checkpoints import refuse_part

    refuse_part(out)
    if not overwrite and out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise CheckpointError(f"{out}: is already there; name another file with --out, or replace it with --overwrite")


def _write(model: Path, format: Format, out: Path, options: dict[str, Any], overwrite: bool) -> None:
    """Write the file of a format."""
    from unrolled import export as exports

    replaced = {"overwrite": overwrite} if format.is_folder else {}
    getattr(exports, f"to_{format.name}")(model, out, **options, **replaced)
    print(printable(f"made {out}: {format.title}, {sized(size_of(out))}"))
    print(printable(f"next: {format.then.format(out=out, quoted=repr(str(out)), word=shlex.quote(str(out)))}"))


def _narrow(model: Path, weights: StoredWeights, out: Path, check: bool, overwrite: bool) -> None:
    """Write the folder of a model with other weights, and maybe compare the two."""
    from unrolled.saved.narrow import narrowed
    from unrolled.saved.network_folder import load_network, save_network

    before = load_network(model)
    after = narrowed(before, weights)
    were = size_of(model / WEIGHTS)
    save_network(out, after, overwrite=overwrite)
    print(printable(f"made {out}: a model with weights in {weights}, {sized(size_of(out))}"))
    if check:
        from unrolled.commands.comparison import compared

        compared(model, (before, after), (were, size_of(out / WEIGHTS)))
    print(printable(f"next: in Python: unrolled.runtime.load({str(out)!r})"))


def beside(model: Path, suffix: str) -> Path:
    """Return where a model is exported to by default.

    >>> str(beside(Path("runs/sonnets"), ".onnx"))
    'runs/sonnets.onnx'
    """
    name = model.name or model.resolve().name
    return model.parent / (name + suffix)


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
