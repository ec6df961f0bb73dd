"""Pictures for a terminal: coloured text, and bars in the terminal's own colour, which can be read on any ground."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from unrolled.notation import LONG_NAMES
from unrolled.saved.visible import shown
from unrolled.views.colours import colour, on, signal_scale
from unrolled.words import counted

#: Bars from low to high, in eighths of a line, and what stands for them where the output has no such characters.
BARS, ASCII_BARS = "▁▂▃▄▅▆▇█", "_.:-=+*#"
#: The most units of one heat-map, the width of their names, and that of one symbol.
UNITS, LEFT, SYMBOL = 12, 8, 9
#: The most blocks of lines in which every symbol has its place; steps of a longer text are averaged.
BLOCKS = 4
#: Cells of the colours of a range.
SWATCH = 9


def coloured(symbols: Sequence[str], values: NDArray[Any], name: str) -> Text:
    """Return a text with every symbol on the colour of its value.

    Args: symbols, T of them; values (T,); name of the gate or state, which decides range and colours.

    >>> coloured("ab", np.array([-1.0, 1.0]), "h").plain
    'ab'
    """
    low, high, scale = signal_scale(name, float(np.abs(values).max(initial=0.0)))
    apart = "" if all(len(symbol) == 1 for symbol in symbols) else " "
    text = Text()
    for symbol, value in zip(symbols, values, strict=True):
        text.append(shown(symbol) + apart, on(colour((float(value) - low) / (high - low), scale)))
        if symbol == "\n":
            text.append("\n")
    return text


def key(name: str, values: NDArray[Any]) -> Text:
    """Return the range of a gate or state and the colours that :func:`coloured` gives it.

    >>> key("f", np.array([0.5])).plain
    '0           1'
    """
    low, high, scale = signal_scale(name, float(np.abs(values).max(initial=0.0)))
    text = Text(f"{low:.3g} ")
    for k in range(SWATCH):
        text.append(" ", on(colour(k / (SWATCH - 1), scale)))
    return text.append(f" {high:.3g}")


def sparkline(values: NDArray[Any], low: float, high: float) -> str:
    """Return values (N,) as bars between low and high.

    >>> sparkline(np.array([0.0, 0.5, 1.0]), 0, 1)
    '▁▅█'
    """
    span, bars = (high - low) or 1.0, _bars()
    return "".join(bars[int(np.clip(8 * (value - low) / span, 0, 7))] for value in values)


def _bars() -> str:
    """Return the bars that standard output can show."""
    try:
        BARS.encode(sys.stdout.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return ASCII_BARS
    return BARS


def heat_map(
    name: str, values: NDArray[Any], symbols: Sequence[str], *, width: int, units: Sequence[int] | None = None
) -> Text:
    """Return one gate or state (T, H) as a line of bars for each unit, every bar below its symbol; first their range.

    Args:
        name: of the gate or state; it decides the range, (0, 1) or symmetric about 0.
        values: (T, H); if T symbols do not fit into a few lines, neighbouring steps are averaged.
        symbols: the T symbols read.
        width: of a line, in characters.
        units: to show; those that change most if left out.
    """
    low, high, _ = signal_scale(name, float(np.abs(values).max(initial=0.0)))
    chosen = sorted(changing_most(values)[:UNITS]) if units is None else units
    text = Text(f"{LONG_NAMES[name]}, {low:.3g} {_bars()} {high:.3g}\n")
    written = [shown(symbol) for symbol in symbols]
    widest = min(SYMBOL, max(map(cell_len, written), default=1))
    bar, cell = widest, widest + (widest > 1)
    together = max(1, (width - LEFT) // cell)
    if len(symbols) > BLOCKS * together:
        values, together = pool(values, width - LEFT), width - LEFT
        bar = cell = 1
        written = list(f"{'0':<{len(values) - len(str(len(symbols)))}}{len(symbols)}")
    for first in range(0, len(values), together):
        steps = slice(first, first + together)
        text.append(
            " " * LEFT
            + "".join(set_cell_size(set_cell_size(each, bar), cell) for each in written[steps]).rstrip()
            + "\n"
        )
        for unit in chosen:
            text.append(f"{name}[{unit}]".ljust(LEFT))
            for k, value in enumerate(values[steps, unit]):
                text.append(" " * (cell - bar) if k else "")
                text.append(sparkline(np.array([value]), low, high) * bar)
            text.append("\n")
    left_out = values.shape[1] - len(chosen)
    if units is None and left_out:
        text.append(" " * LEFT + f"({counted(left_out, 'more unit')} change{'s' * (left_out == 1)} less)\n")
    return text


def changing_most(values: NDArray[Any]) -> list[int]:
    """Return all units of values (T, H), those that change most first.

    >>> changing_most(np.array([[0.0, 0.0], [1.0, 5.0]]))
    [1, 0]
    """
    order: list[int] = np.argsort(-values.std(0), kind="stable").tolist()
    return order


def pool(values: NDArray[Any], most: int) -> NDArray[Any]:
    """Return values (T, H) averaged over neighbouring rows, as few as leave at most `most` rows.

    >>> pool(np.arange(6.0)[:, None], 3).ravel().tolist()
    [0.5, 2.5, 4.5]
    """
    together = max(1, -(-len(values) // max(1, most)))
    starts = np.arange(0, len(values), together)
    sums = np.add.reduceat(values, starts, axis=0)
    counts = np.diff(np.append(starts, len(values)))
    pooled: NDArray[Any] = sums / counts[:, None]
    return pooled


def overview(
    signals: Mapping[str, NDArray[Any]], symbols: Sequence[str], *, width: int, units: Sequence[int] | None = None
) -> Text:
    """Return a heat-map of every gate and state of a layer, one below the other; `units` as for :func:`heat_map`."""
    maps = [heat_map(name, values, symbols, width=width, units=units) for name, values in signals.items()]
    return Text("\n").join(maps)
