"""Plots of single units: lines over the text, and the text coloured by one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from unrolled.notation import LONG_NAMES
from unrolled.saved.visible import shown
from unrolled.views.colours import FAINT, HUES, VIRIDIS, colour, ink, signal_scale
from unrolled.views.plots import canvas, plain, symbol_axis
from unrolled.words import counted

#: The most lines of one panel: as many as there are hues.
MOST_LINES = len(HUES)
#: The most steps at which lines share a panel; beyond, each has its own.
TOGETHER = 300
#: The most symbols of a line of coloured text, and of the whole.
LINE, MOST_SYMBOLS = 64, 2_000


def unit_lines(
    lines: Mapping[str, NDArray[Any]],
    symbols: Sequence[str],
    *,
    title: str,
    unit: str = "activation",
    steps: NDArray[Any] | None = None,
    background: Mapping[str, NDArray[Any]] | None = None,
) -> Figure:
    """Draw chosen units over the text; a counter shows as a slope up and a slope down.

    Args:
        lines: name of a unit -> its values (T,).
        symbols: the T symbols that were read.
        title: above the plot.
        unit: what the vertical axis measures.
        steps: positions of the symbols in the text, (T,); 0, 1, 2 ... if left out.
        background: name -> values (T,) to compare with, such as the true count, drawn below on its own axis.
    Raises: ValueError if there are more lines than hues.
    """
    if not 0 < len(lines) <= MOST_LINES:
        raise ValueError(f"{counted(len(lines), 'unit')}; a picture of lines shows 1 to {MOST_LINES}")
    apart = len(symbols) > TOGETHER  # dense lines hide each other
    groups = [{name: values} for name, values in lines.items()] if apart else [dict(lines)]
    heights = [1.5 if apart else 3.0] * len(groups) + [1.3] * bool(background)
    figure = canvas(9, sum(heights) + 0.5, title)
    panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    t, hues = np.arange(len(symbols)), iter(HUES * 2)
    for axes, group in zip(panels, [*groups, dict(background or {})], strict=False):
        for name, values in group.items():
            marker = "o" if len(t) <= 60 else ""
            axes.plot(
                t, values, color=next(hues), linewidth=0.9 if apart else 1.5, marker=marker, markersize=3, label=name
            )
        axes.axhline(0, color=FAINT, linewidth=0.7, zorder=0)
        axes.set_ylabel(unit)
        axes.margins(x=0.01)
        axes.tick_params(axis="x", length=0)
        plain(axes)
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    if background:
        panels[-1].set_ylabel("in the text")
    symbol_axis(panels[-1], symbols, t if steps is None else steps)
    return figure


def coloured_text(symbols: Sequence[str], values: NDArray[Any], *, title: str, signal: str = "h") -> Figure:
    """Draw a text with every symbol on the colour of one unit's value after reading it.

    Args:
        symbols: the T symbols that were read; a longer text is cut, and the title says so.
        values: of the unit, (T,).
        title: above the plot.
        signal: the gate or state of the unit, which decides range and colours.
    """
    if len(symbols) > MOST_SYMBOLS:
        title += f" (the first {MOST_SYMBOLS:,} of {counted(len(symbols), 'symbol')})"
        symbols, values = symbols[:MOST_SYMBOLS], values[:MOST_SYMBOLS]
    written = [shown(symbol) for symbol in symbols]
    width = max(1, min(4, max(map(len, written))))
    placed, lines = _wrapped(symbols, max(1, LINE // width))
    across = 1 + max(column for column, _ in placed)
    low, high, scale = signal_scale(signal, float(np.abs(values).max()))
    name = "viridis" if scale is VIRIDIS else "PuOr"
    colours = ScalarMappable(Normalize(low, high), name)
    grid = np.full((lines, across), np.nan)
    for (column, line), value in zip(placed, values, strict=True):
        grid[line, column] = value
    figure = canvas(max(4.5, 0.16 * width * across + 1.2), 0.27 * lines + 1.3, title)
    axes = figure.subplots()
    axes.imshow(grid, cmap=name, vmin=low, vmax=high, aspect="auto")
    for (column, line), text, value in zip(placed, written, values, strict=True):
        written_in = ink(colour((float(value) - low) / (high - low), scale))
        size = 9 if len(text) <= width else 9 * width / len(text)
        axes.text(
            column, line, text, ha="center", va="center", fontsize=size, family="monospace",
            color=written_in, parse_math=False,
        )  # fmt: skip
    axes.axis("off")
    bar = figure.colorbar(colours, ax=axes, orientation="horizontal", fraction=0.08, pad=0.03, shrink=0.4, aspect=30)
    bar.set_label(LONG_NAMES[signal], fontsize=9)
    return figure


def _wrapped(symbols: Sequence[str], most: int) -> tuple[list[tuple[int, int]], int]:
    """Return the (column, line) of each symbol, broken at line ends and after so many symbols, and how many lines.

    >>> _wrapped(["a", chr(10), "b", "c", "d"], 2)
    ([(0, 0), (1, 0), (0, 1), (1, 1), (0, 2)], 3)
    """
    placed, column, line = [], 0, 0
    for symbol in symbols:
        if column == most:
            column, line = 0, line + 1
        placed.append((column, line))
        column, line = (0, line + 1) if symbol == "\n" else (column + 1, line)
    return placed, placed[-1][1] + 1
