"""A trace as a notebook shows it: the text on the colours of its surprise."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from unrolled.saved.vocabulary import shown
from unrolled.views.symbols import visible
from unrolled.views.terminal import VIRIDIS, colour, ink

if TYPE_CHECKING:
    from unrolled.views.traces import Trace

#: Symbols that are shown; a longer trace ends in three dots.
MOST = 2_000


def trace_html(read: Trace) -> str:
    """Return a trace as HTML; every symbol of the text is escaped, and tells what was expected after it.

    >>> from unrolled.lm import ModelConfig, SequenceModel, Vocabulary
    >>> from unrolled.views.traces import trace
    >>> trace_html(trace(SequenceModel(ModelConfig(hidden_size=3), Vocabulary("ab")), ["a", "b"])).count("<span title")
    2
    """
    most = float(read.bits.max())
    apart = "" if all(len(symbol) == 1 for symbol in read.symbols) else " "
    parts: list[str] = []
    for symbol, bits, likeliest in zip(read.symbols, read.bits, read.likeliest(3), strict=True):
        if len(parts) == MOST:
            break
        background = colour(float(bits) / (most or 1.0), VIRIDIS)
        style = f"background:rgb{background};color:{ink(background)}".replace(" ", "")
        expected = ", ".join(f"{visible(name)} {p:.0%}" for name, p in likeliest)
        end = "<br>" if symbol == "\n" else apart
        said = html.escape(f"{bits:.2f} bits; then expected: {expected}")
        parts.append(f'<span title="{said}" style="{style}">{html.escape(shown(symbol))}</span>{end}')
    layers = ", ".join(f"layer {k}: {' '.join(layer.signals)}" for k, layer in enumerate(read.layers))
    head = f"{read.length:,} symbols, {read.bits.mean():.3f} bits per symbol, yellow {most:.1f}; {html.escape(layers)}"
    dots = " ..." if read.T > MOST else ""
    text = f'<div style="font-family:monospace;white-space:pre-wrap">{"".join(parts)}{dots}</div>'
    return f"<p>{head}</p>{text}"
