"""`unrolled explain`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from cyclopts import App

from unrolled.commands import Model, examples, inputs
from unrolled.config.checks import PositiveInt

#: The format of a file by its extension.
FORMATS = {".md": "markdown", ".html": "html", ".txt": "text"}
#: Width in characters of a number, and of a table's names and shapes.
NUMBER, LEFT = 9, 18

app = App(
    name="explain",
    usage="Usage: unrolled explain MODEL TEXT [OPTIONS]",
    help_epilogue=examples(
        "unrolled explain runs/anbn 'a a b'",
        "unrolled explain runs/anbn 'a a b' --out paper.html",
    ),
)


@app.default
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
        out: Write it to this file; its extension .txt, .md or .html sets the format.
        format: Output format; by default that of --out, or text.
        columns: Columns and lines to show of each table; by default as many as fit.
    """
    from unrolled.lm.model import SequenceModel
    from unrolled.views.explain import explain as work_out

    loaded, read = SequenceModel.from_pretrained(model), inputs.typed(text)
    inputs.note_unknown(loaded.vocabulary, [read])
    paper = work_out(loaded, read)
    chosen = format or (FORMATS.get(out.suffix, "text") if out else "text")
    fitting = 12 if out else max(4, (shutil.get_terminal_size((120, 24)).columns - LEFT) // NUMBER)
    written: str = getattr(paper, chosen)(columns or fitting)
    if out is None:
        print(written, end="")
    else:
        out.write_text(written, "utf-8")
        print(f"made {out}")
