"""A text as a notebook shows it: every symbol on the colour of its surprise."""

from __future__ import annotations

import html
from collections.abc import Sequence
from itertools import islice
from typing import Any

from numpy.typing import NDArray

from unrolled.saved.visible import shown
from unrolled.views.colours import ink, surprise
from unrolled.views.symbols import visible
from unrolled.words import rounded

#: Symbols that are shown; a longer text ends in three dots.
MOST = 2_000


def coloured_html(
    symbols: Sequence[str], bits: NDArray[Any], likeliest: Sequence[Sequence[tuple[str, float]]], *, title: str
) -> str:
    """Return a text as HTML; every symbol is escaped, and its tooltip says what was expected after it.

    Args:
        symbols: T symbols.
        bits: what each cost, (T,).
        likeliest: for each, the (name, probability) of the likeliest next symbols.
        title: above the text.

    >>> import numpy as np
    >>> coloured_html("ab", np.array([1.0, 2.0]), [[("b", 0.9)], [("a", 0.5)]], title="two").count("<span title=")
    2
    """
    apart = "" if all(len(symbol) == 1 for symbol in symbols) else " "
    parts: list[str] = []
    for symbol, cost, names in islice(zip(symbols, bits, likeliest, strict=True), MOST):
        background = surprise(float(cost))
        style = f"background:rgb{background};color:{ink(background)}".replace(" ", "")
        expected = ", ".join(f"{visible(name)} {p:.0%}" for name, p in names)
        end = "<br>" if symbol == "\n" else apart
        said = html.escape(f"{rounded(cost, 2)} bits; then expected: {expected}")
        parts.append(f'<span title="{said}" style="{style}">{html.escape(shown(symbol))}</span>{end}')
    dots = " ..." if len(symbols) > MOST else ""
    text = f'<div style="font-family:monospace;white-space:pre-wrap">{"".join(parts)}{dots}</div>'
    return f"<p>{html.escape(title)}</p>{text}"
