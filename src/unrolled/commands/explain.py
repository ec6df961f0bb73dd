"""`unrolled explain`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from unrolled.lm.model import SequenceModel
from unrolled.views.explain import explain as work_out

#: What the ending of a file asks for.
FORMATS = {".md": "markdown", ".html": "html", ".txt": "text"}
#: Characters that a number takes, and that a table's name and shape take.
NUMBER, LEFT = 9, 18


def explain(
    folder: Path, text: str, out: Path | None, format: Literal["text", "markdown", "html"] | None, columns: int | None
) -> None:
    """Load a model, work its pass over a text out on paper, and print or write that."""
    model = SequenceModel.from_pretrained(folder)
    paper = work_out(model, text.replace("\\n", "\n"))
    chosen = format or (FORMATS.get(out.suffix, "text") if out else "text")
    wide = max(4, (shutil.get_terminal_size((120, 24)).columns - LEFT) // NUMBER) if not out else 12
    written: str = getattr(paper, chosen)(columns or wide)
    if out is None:
        print(written, end="")
    else:
        out.write_text(written, "utf-8")
        print(f"made {out}")
