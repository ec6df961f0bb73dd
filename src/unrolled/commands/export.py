"""`unrolled export`: needs no torch for a format that needs none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from unrolled.commands import Flag, Model, examples
from unrolled.commands.console import printable
from unrolled.formats.registry import FORMATS
from unrolled.words import sized

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
    usage="Usage: unrolled export MODEL --to FORMAT [--out FILE]",
    help_epilogue=f"{_listed()}\n\n{examples(f'unrolled export runs/sonnets --to {next(iter(WRITTEN))}')}",
)


@app.default
def export(
    model: Model,
    /,
    *,
    to: Annotated[To, Parameter(help="The format, one of those below.", show_choices=False)],
    out: Path | None = None,
    overwrite: Flag = False,
) -> None:
    """Write a trained model in the format of another library or program.

    Args:
        out: File to write to, by default beside the model, with its name.
        overwrite: Replace what is already there.
    """
    from unrolled import export as exports
    from unrolled.saved.atomic_files import CheckpointError

    format = FORMATS[to]
    out = out or beside(model, format.suffixes[0])
    if not overwrite and out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise CheckpointError(f"{out}: is already there; name another file with --out, or replace it with --overwrite")
    replaced = {"overwrite": overwrite} if format.is_folder else {}
    getattr(exports, f"to_{to}")(model, out, **replaced)
    print(printable(f"made {out}: {format.title}, {sized(size_of(out))}"))
    print(printable(f"next: {format.then.format(out=out)}"))


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
