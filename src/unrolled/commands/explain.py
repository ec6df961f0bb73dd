"""`unrolled explain`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from unrolled.commands import Flag, WrongUse, examples, inputs
from unrolled.commands.console import write_out
from unrolled.config.checks import PositiveInt, Seed
from unrolled.config.model import CellName
from unrolled.config.options import option

if TYPE_CHECKING:
    from unrolled.lm.model import SequenceModel

#: The format of a file by its extension.
FORMATS = {".md": "markdown", ".html": "html", ".txt": "text"}

app = App(
    name="explain",
    usage="Usage: unrolled explain (MODEL | --symbols SYMBOLS) TEXT [OPTIONS]",
    help_epilogue=examples(
        "unrolled explain demo/anbn-rnn 'a a b'",
        "unrolled explain demo/anbn-rnn 'a a b' --out paper.html",
        "unrolled explain --symbols 'a b' --cell rnn --hidden-size 3 'a a b' --blank",
    ),
)


@app.default
def explain(
    model: Annotated[str, Parameter(name="MODEL")],
    text: Annotated[str | None, Parameter(name="TEXT")] = None,
    /,
    *,
    symbols: str | None = None,
    cell: CellName | None = None,
    hidden_size: PositiveInt | None = None,
    seed: Seed | None = None,
    blank: Flag = False,
    out: Path | None = None,
    format: Literal["text", "markdown", "html"] | None = None,
    columns: PositiveInt | None = None,
) -> None:
    r"""Work out one forward and one backward pass on paper: every number with its shape and its equation.

    Args:
        model: Folder of a trained model; with --symbols the model is new, so give no folder.
        text: A few symbols to read, where \n is a line end.
        symbols: Symbols of a new, untrained model, separated by spaces.
        cell: Cell of the new model, rnn by default.
        hidden_size: Hidden units H of the new model, 3 by default.
        seed: Seed of its weights, 0 by default.
        blank: Leave every computed number out, as an exercise; the weights stay.
        out: File to write to; its extension .txt, .md or .html sets the format.
        format: Output format; by default that of --out, or text.
        columns: Most columns of a table and rows of a matrix to show; by default all up to 12, or 6 if there are more.
    """
    if out and format is None and out.suffix not in FORMATS:
        raise WrongUse(f"--out {out}: its name must end in {', '.join(FORMATS)}, or give --format")
    from unrolled.views.explain import explain as work_out
    from unrolled.views.paper import WIDTH

    new = {"cell": cell, "hidden_size": hidden_size, "seed": seed}
    if symbols is None:
        if text is None:
            raise WrongUse("give the folder of a model and a text, or --symbols and a text for a new model")
        if unused := [name for name, value in new.items() if value is not None]:
            raise WrongUse(f"{option(unused[0])} belongs to a new model, which needs --symbols; {model} has its own")
        from unrolled.lm.model import SequenceModel

        explained, read = SequenceModel.from_pretrained(Path(model)), text
    elif text is not None:
        raise WrongUse("with --symbols the model is a new one; give the text alone, without a folder")
    else:
        explained, read = untrained(symbols.split(), cell or "rnn", hidden_size or 3, seed or 0), model
    read = inputs.typed_for(explained.vocabulary, read)
    inputs.note_unknown(explained.vocabulary, [read])
    paper = work_out(explained, read)
    chosen = format or (FORMATS[out.suffix] if out else "text")
    width = {"width": WIDTH if out else shutil.get_terminal_size((WIDTH, 24)).columns} if chosen == "text" else {}
    written: str = getattr(paper, chosen)(columns, blank=blank, **width)
    if out is None:
        print(written, end="")
    else:
        write_out(out, written)


def untrained(symbols: list[str], cell: CellName, hidden_size: int, seed: int) -> SequenceModel:
    """Return a new model of these symbols, the same for the same seed."""
    import torch

    from unrolled.config.model import ModelConfig
    from unrolled.lm.memory import check_memory
    from unrolled.lm.model import SequenceModel
    from unrolled.saved.vocabulary import Vocabulary

    config, vocabulary = ModelConfig(cell=cell, hidden_size=hidden_size), Vocabulary(symbols, "symbols")
    check_memory(config, len(vocabulary))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SequenceModel(config, vocabulary)
