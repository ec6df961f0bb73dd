"""Pictures for a terminal: coloured text, and heat-maps of bars that can be read without colour too."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from unrolled.saved.visible import shown
from unrolled.views.colours import PUOR, colour, ink, signal_scale

#: Bars from low to high, in eighths of a line, and what stands for them where the output has no such characters.
BARS, ASCII_BARS = "▁▂▃▄▅▆▇█", "_.:-=+*#"
#: The most units of one heat-map.
UNITS = 12


def coloured(symbols: Sequence[str], values: NDArray[Any]) -> Text:
    """Return a text with every symbol on the colour of its value, from orange below 0 to purple above.

    Args: symbols, T of them; values (T,), of any range.

    >>> coloured("ab", np.array([-1.0, 1.0])).plain
    'ab'
    """
    reach = float(np.abs(values).max(initial=0.0)) or 1.0
    apart = "" if all(len(symbol) == 1 for symbol in symbols) else " "
    text = Text()
    for symbol, value in zip(symbols, values, strict=True):
        background = colour(0.5 + 0.5 * float(value) / reach, PUOR)
        style = f"{ink(background)} on rgb({','.join(map(str, background))})"
        text.append(shown(symbol) + apart, style)
        if symbol == "\n":
            text.append("\n")
    return text


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


def heat_map(name: str, values: NDArray[Any], *, width: int, units: Sequence[int] | None = None) -> Text:
    """Return one gate or state (T, H) as a line of bars for each unit.

    Args:
        name: of the gate or state; it decides the range, (0, 1) or symmetric about 0.
        values: (T, H); more steps than fit are averaged.
        width: of a line, in characters.
        units: to show; those that change most if left out.
    """
    pooled, changing = pool(values, width - 8), changing_most(values)
    low, high, scale = signal_scale(name, float(np.abs(values).max(initial=0.0)))
    chosen = sorted(changing[:UNITS]) if units is None else units
    text = Text()
    for unit in chosen:
        text.append(f"{name}[{unit}]".ljust(7) + " ")
        for value in pooled[:, unit]:
            red, green, blue = colour((float(value) - low) / (high - low), scale)
            text.append(sparkline(np.array([value]), low, high), f"rgb({red},{green},{blue})")
        text.append("\n")
    left_out = values.shape[1] - len(chosen)
    if units is None and left_out:
        text.append(f"        ({left_out} more units change less)\n", "dim")
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


def overview(signals: Mapping[str, NDArray[Any]], *, width: int) -> Text:
    """Return a heat-map of every gate and state of a layer, one below the other."""
    return Text("\n").join(heat_map(name, values, width=width) for name, values in signals.items())
