"""`unrolled score`: needs no torch."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from unrolled import runtime

#: Backgrounds from expected to surprising, and the bits from which each is used; dark to light, so that brightness
#: alone tells them apart.
SHADES = ((0.0, "default"), (1.0, "#1d3557"), (3.0, "#457b9d"), (6.0, "#a8dadc"), (10.0, "#ffd166"))


def score(folder: Path, text: str, file: Path | None) -> None:
    """Load a model and print a text with each symbol shaded by its bits."""
    if file is not None:
        text = file.read_text("utf-8")
    elif text == "-":
        text = sys.stdin.read()
    scored = runtime.load(folder).score(text)
    console = Console()
    shaded = Text()
    for piece, bits in zip(scored.pieces, scored.bits, strict=True):
        shaded.append(piece, _style(float(bits)))
    console.print(shaded, soft_wrap=True)
    legend = Text("bits per symbol: ")
    for low, _ in SHADES:
        legend.append(f" {low:g}+ ", _style(low))
    console.print(legend)
    unknown = f", {scored.unknown:,} read as UNK" if scored.unknown else ""
    bits = f"{scored.total:,.1f} bits, {scored.mean:.3f} bits/symbol"
    console.print(f"{len(scored.bits):,} symbols, {bits}{unknown}", highlight=False)


def _style(bits: float) -> str:
    shade = next(shade for low, shade in reversed(SHADES) if bits >= low)
    if shade == "default":
        return "default"
    return f"{'black' if shade in ('#a8dadc', '#ffd166') else 'white'} on {shade}"
