"""`unrolled score`: needs no torch."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App
from rich.text import Text

from unrolled.commands import Flag, Model, examples, inputs
from unrolled.commands.console import PlainConsole, as_json, printable
from unrolled.config.data import ReadingConfig
from unrolled.views.colours import on, surprise
from unrolled.words import counted, rounded

if TYPE_CHECKING:
    from unrolled.runtime.scoring import Score

#: Symbols that are shaded and printed at a time: each takes a kilobyte until then.
AT_A_TIME = 4096
#: Bits whose colours the key shows.
KEY = (0, 1, 2, 4, 6, 8, 10)

app = App(
    name="score",
    usage="Usage: unrolled score MODEL (TEXT | - | --file FILE) [OPTIONS]",
    help_epilogue=examples(
        "unrolled score runs/sonnets 'Shall I compare thee to a summer'",
        "unrolled score runs/sonnets --file letter.txt --bits",
        "unrolled score runs/names --file names.txt --lines --json",
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
    json: Flag = False,
    reading: inputs.Reading = ReadingConfig(),
) -> None:
    r"""Show what each symbol of a text costs the model, in bits, and colour what surprises it.

    A model that learned sequences scores each line as a sequence, including its final EOS.

    Args:
        text: The text to score, or - for standard input; \n is a line end.
        file: Score this file instead.
        bits: Print a line for each symbol, its bits, a tab and the symbol, instead of colours.
        json: Print a line of JSON for each sequence, such as a line of a file; with --bits, also those of each symbol.
    """
    from unrolled.runtime.text import TextModel

    texts = inputs.read_text(model, text, file, reading)
    loaded = TextModel.load(model)
    empty = [not len(ids) for ids in loaded.vocabulary.encode_each(texts)]
    if all(empty):
        raise ValueError("the text to score is empty; give at least one symbol")
    if any(empty):
        texts = [text for text, none in zip(texts, empty, strict=True) if not none]
        warnings.warn(f"{counted(sum(empty), 'record')} without a symbol skipped", stacklevel=2)
    scored = loaded.score_each(texts)
    inputs.note_unknown(loaded.vocabulary, texts)
    if json:
        for number, each in enumerate(scored):
            print(printable(as_json(_values(number, each, bits))))
        return
    show = _list if bits else _shade
    show(scored)


def _values(number: int, score: Score, each: bool) -> dict[str, Any]:
    """Return what JSON says of one sequence; `each` for the bits of each symbol too."""
    values = {"number": number, "text": "".join(score.pieces).removesuffix(" EOS"), "symbols": len(score.bits)}
    values |= {"bits": score.total, "bits_per_symbol": score.mean, "unknown": score.unknown}
    return values | ({"pieces": score.pieces, "bits_of_each": score.bits.tolist()} if each else {})


def _list(scored: Iterable[Score]) -> None:
    """Print the bits of each symbol, a tab and the symbol, one line each; a blank line between sequences."""
    from unrolled.saved.visible import coded

    for number, each in enumerate(scored):
        if number:
            print()
        for piece, bits in zip(each.pieces, each.bits, strict=True):
            print(f"{rounded(bits, 4).replace(',', '')}\t{coded(piece)}")


def _shade(scored: list[Score]) -> None:
    """Print the symbols on a background that says their bits, then the key to it and the sums."""
    console = PlainConsole()
    for each in scored:
        for start in range(0, len(each.bits), AT_A_TIME):
            some, shaded = slice(start, start + AT_A_TIME), Text()
            for piece, bits in zip(each.pieces[some], each.bits[some], strict=True):
                shaded.append(printable(piece), on(surprise(float(bits))))
            console.print(shaded, soft_wrap=True, end="")
        console.print()
    legend = Text("bits per symbol: ")
    for step in KEY:
        legend.append(f" {step}{'+' if step == KEY[-1] else ''} ", on(surprise(step)))
    console.print(legend)
    count, total, unknown = (sum(n) for n in zip(*((len(s.bits), s.total, s.unknown) for s in scored), strict=True))
    note = f", {unknown:,} read as UNK" if unknown else ""
    bits = f"{rounded(total, 1)} bits, {rounded(total / count, 3)} bits/symbol"
    console.print(f"{counted(count, 'symbol')}, {bits}{note}")
