"""`unrolled score`: needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from unrolled import runtime
from unrolled.commands import WrongUse
from unrolled.commands.inputs import STANDARD_INPUT
from unrolled.corpus.reading import Source, byte_blocks, text_blocks
from unrolled.runtime.model import RuntimeModel
from unrolled.runtime.scoring import Score
from unrolled.saved.vocabulary import Vocabulary, shown

#: Backgrounds from expected to surprising, and the bits from which each is used; dark to light, so that brightness
#: alone tells them apart.
SHADES = ((0.0, "default"), (1.0, "#1d3557"), (3.0, "#457b9d"), (6.0, "#a8dadc"), (10.0, "#ffd166"))


def score(folder: Path, text: str | None, file: Path | None, bits: bool) -> None:
    """Load a model and print a text with each symbol shaded by its bits, or a line for each symbol."""
    if (text is None) == (file is None):
        raise WrongUse("give one text to score: the text itself, - for standard input, or --file")
    model = runtime.load(folder)
    given = text if text is not None and text != STANDARD_INPUT else _read(Source(file), model.vocabulary)
    scored = [model.score(each) for each in _sequences(model, given)]
    if not scored:
        raise ValueError("the text to score is empty; give at least one symbol")
    show = _list if bits else _shade
    show(scored)


def _read(source: Source, vocabulary: Vocabulary) -> str | bytes:
    """Return what a source holds: bytes for a model of bytes, else text."""
    if vocabulary.tokenizer.reads_bytes:
        return b"".join(byte_blocks(source))
    return "".join(text_blocks(source))


def _sequences(model: RuntimeModel, text: str | bytes) -> Sequence[str | bytes]:
    """Return the lines of a text for a model of sequences, which ends each with EOS; else the text itself."""
    if not model.framed:
        return [text]
    return [line for line in (text.split("\n") if isinstance(text, str) else text.split(b"\n")) if line]


def _list(scored: Iterable[Score]) -> None:
    """Print the bits of each symbol, a tab and the symbol, one line each; a blank line between sequences."""
    for number, each in enumerate(scored):
        if number:
            print()
        for piece, bits in zip(each.pieces, each.bits, strict=True):
            print(f"{bits:.4f}\t{shown(piece)}")


def _shade(scored: list[Score]) -> None:
    console = Console()
    for each in scored:
        shaded = Text()
        for piece, bits in zip(each.pieces, each.bits, strict=True):
            shaded.append(piece, _style(float(bits)))
        console.print(shaded, soft_wrap=True)
    legend = Text("bits per symbol: ")
    for low, _ in SHADES:
        legend.append(f" {low:g}+ ", _style(low))
    console.print(legend)
    count, total, unknown = (sum(n) for n in zip(*((len(s.bits), s.total, s.unknown) for s in scored), strict=True))
    note = f", {unknown:,} read as UNK" if unknown else ""
    console.print(f"{count:,} symbols, {total:,.1f} bits, {total / count:.3f} bits/symbol{note}", highlight=False)


def _style(bits: float) -> str:
    shade = next(shade for low, shade in reversed(SHADES) if bits >= low)
    if shade == "default":
        return "default"
    return f"{'black' if shade in ('#a8dadc', '#ffd166') else 'white'} on {shade}"
