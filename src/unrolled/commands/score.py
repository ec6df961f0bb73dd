"""`unrolled score`: needs no torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App
from rich.text import Text

from unrolled.commands import Flag, Model, examples, inputs
from unrolled.commands.console import PlainConsole, printable
from unrolled.config.data import ReadingConfig

if TYPE_CHECKING:
    from unrolled.runtime.scoring import Score

#: Backgrounds from expected to surprising, and the bits from which each is used; dark to light, so that brightness
#: alone tells them apart.
SHADES = ((0.0, "default"), (1.0, "#1d3557"), (3.0, "#457b9d"), (6.0, "#a8dadc"), (10.0, "#ffd166"))

app = App(
    name="score",
    usage="Usage: unrolled score MODEL (TEXT | - | --file FILE) [--bits]",
    help_epilogue=examples(
        "unrolled score runs/sonnets 'Shall I compare thee to a summer'",
        "unrolled score runs/sonnets --file letter.txt --bits",
    ),
)


@app.default
def score(
    model: Model,
    text: str | None = None,
    /,
    *,
    file: Path | None = None,
    bits: Flag = False,
    reading: inputs.Reading = ReadingConfig(),
) -> None:
    r"""Show what each symbol of a text costs the model, in bits, and colour what surprises it.

    A model that learned sequences scores each line as one, with the EOS that ends it.

    Args:
        text: The text to score, or - for standard input; \n is a line end.
        file: Score this file instead.
        bits: Print a line for each symbol, its bits, a tab and the symbol, instead of colours.
    """
    from unrolled import runtime

    texts = inputs.read_text(model, text, file, reading)
    loaded = runtime.load(model)
    scored = [loaded.score(each) for each in texts]
    if not scored:
        raise ValueError("the text to score is empty; give at least one symbol")
    inputs.note_unknown(loaded.vocabulary, texts)
    show = _list if bits else _shade
    show(scored)


def _list(scored: Iterable[Score]) -> None:
    """Print the bits of each symbol, a tab and the symbol, one line each; a blank line between sequences."""
    from unrolled.saved.visible import shown

    for number, each in enumerate(scored):
        if number:
            print()
        for piece, bits in zip(each.pieces, each.bits, strict=True):
            print(f"{bits:.4f}\t{shown(piece)}")


def _shade(scored: list[Score]) -> None:
    """Print the symbols on a background that says their bits, then the key to it and the sums."""
    console = PlainConsole()
    for each in scored:
        shaded = Text()
        for piece, bits in zip(each.pieces, each.bits, strict=True):
            shaded.append(printable(piece), _style(float(bits)))
        console.print(shaded, soft_wrap=True)
    legend = Text("bits per symbol: ")
    for low, _ in SHADES:
        legend.append(f" {low:g}+ ", _style(low))
    console.print(legend)
    count, total, unknown = (sum(n) for n in zip(*((len(s.bits), s.total, s.unknown) for s in scored), strict=True))
    note = f", {unknown:,} read as UNK" if unknown else ""
    console.print(f"{count:,} symbols, {total:,.1f} bits, {total / count:.3f} bits/symbol{note}")


def _style(bits: float) -> str:
    shade = next(shade for low, shade in reversed(SHADES) if bits >= low)
    if shade == "default":
        return "default"
    return f"{'black' if shade in ('#a8dadc', '#ffd166') else 'white'} on {shade}"
