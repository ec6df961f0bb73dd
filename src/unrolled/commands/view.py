"""`unrolled view`: one picture of what a model does with a text, in the terminal, as a file, or as a table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeAlias

from cyclopts import App, Parameter

from unrolled.commands import Model, WrongUse, examples, inputs
from unrolled.commands.arguments import refuse_unused
from unrolled.commands.console import write_out
from unrolled.config.checks import Count, Index, Lags, PositiveInt
from unrolled.config.data import ReadingConfig
from unrolled.notation import LONG_NAMES


class Picture(NamedTuple):
    """What `--help` says of a picture, and what the command does with it; pictures.py makes it."""

    shows: str = ""  #: the words for `--help`
    options: str = ""  #: those that it obeys; it refuses the others
    extension: str = ".png"  #: of the file that it is written to; "" if it is printed
    reads: bool = True  #: whether it needs a text
    several: bool = False  #: whether that may be several sequences


PICTURES = {
    "terminal": Picture("printed: coloured text and heat-maps of bars", options="signal layer unit by", extension=""),
    "units": Picture("printed: ranked by --by", options="signal layer by", extension=""),
    "report": Picture("one HTML page", extension=".html"),
    "table": Picture("every value, as CSV", options="signal", extension=".csv"),
    "gates": Picture(options="signal layer unit"),
    "saturation": Picture(options="signal layer"),
    "counter": Picture("lines of some units", options="signal layer unit by"),
    "text": Picture("coloured by one unit", options="signal layer unit by"),
    "gradient": Picture("norm of the Jacobian against the lag", options="layer beside position lags"),
    "reach": Picture("gradients of one loss", options="layer position"),
    "connectivity": Picture("which symbols mattered for each prediction"),
    "states": Picture("clusters of states", options="layer clusters", several=True),
    "automaton": Picture(
        "made of those clusters; each line is a sequence if the model learned sequences",
        options="layer clusters",
        several=True,
    ),
    "learning": Picture("the learning curve; no text needed", reads=False),
}
LISTING = ", ".join(name + (f" ({row.shows})" if row.shows else "") for name, row in PICTURES.items())

if TYPE_CHECKING:
    from unrolled.saved.vocabulary import Text

    PictureName: TypeAlias = str
    SignalName: TypeAlias = str
else:
    PictureName, SignalName = Literal[tuple(PICTURES)], Literal[tuple(LONG_NAMES)]

app = App(
    name="view",
    usage="Usage: unrolled view MODEL (TEXT | - | --file FILE) [OPTIONS]",
    help_epilogue=examples(
        "unrolled view demo/sonnets 'Shall I compare thee'",
        "unrolled view demo/sonnets --file poem.txt --picture text --by line-length",
        "unrolled view demo/anbn-lstm 'a b' --picture gradient --beside demo/anbn-gru",
    ),
)


@app.default
def view(
    model: Model,
    text: str | None = None,
    /,
    *,
    file: Path | None = None,
    picture: Annotated[PictureName, Parameter(help=f"What to show: {LISTING}.", show_choices=False)] = "terminal",
    out: Path | None = None,
    signal: SignalName | None = None,
    layer: Index | None = None,
    unit: list[Count] | None = None,
    by: str | None = None,
    beside: list[Path] | None = None,
    position: Index | None = None,
    clusters: PositiveInt | None = None,
    lags: Lags | None = None,
    reading: inputs.Reading = ReadingConfig(),
) -> None:
    r"""Show what a model does inside while it reads a text.

    Args:
        text: The text to read, or - for standard input; \n is a line end.
        file: Read this file instead.
        out: File to write; the extension .png or .svg sets the format. By default a file named after the picture.
        signal: Gate or state to show; by default all of them, or the cell's memory: c for an LSTM, h for the others.
        layer: Layer to show; 0 is the first and -1 the last, which is the default.
        unit: Unit to show; may be repeated. By default those that follow --by, or change most.
        by: Feature of the text to find units by: position, depth, inside-quotes, line-length, count:a-b.
        beside: Another model, for gradient; may be repeated.
        position: Symbol whose state or loss is differentiated, for gradient and reach; the last by default.
        clusters: Number of clusters, for states and automaton, 6 by default.
        lags: Largest lag, for gradient, 100 by default.
    """
    shown = PICTURES[picture]
    options = {
        "signal": signal, "layer": layer, "unit": unit, "by": by, "beside": beside, "position": position,
        "clusters": clusters, "lags": lags,
    }  # fmt: skip
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    refuse_unused(given, picture, {name: row.options for name, row in PICTURES.items()}, by="picture")
    if out is not None and not shown.extension:
        raise WrongUse(f"--picture {picture} is printed, not written to a file; leave --out out")
    texts: Sequence[Text] = []
    if shown.reads or text is not None or file is not None:
        texts = inputs.read_text(model, text, file, reading)
        if not shown.several:
            inputs.refuse_several(texts, file)
    from unrolled.commands import pictures

    scene = pictures.Scene(model, texts, **given)
    scene.note_unknown()
    made = getattr(pictures, f"make_{picture}")(scene)
    if made is None:
        return
    out = out or Path(picture + shown.extension)
    if isinstance(made, str):
        write_out(out, made)
    else:
        from unrolled.views import plots

        write_out(out, partial(plots.save, made))
