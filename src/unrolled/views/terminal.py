"""Pictures for a terminal: coloured text, and heat-maps of sparklines that can be read without colour too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from unrolled.saved.vocabulary import shown
from unrolled.views.saturation import SIGMOIDS

#: From low to high, an eighth of a line each.
BARS = "▁▂▃▄▅▆▇█"
#: Units of one heat-map that are shown.
UNITS = 12

#: The corners of the colour scales, dark at one end and light at the other, so that brightness alone tells.
VIRIDIS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
PUOR = ((179, 88, 6), (241, 163, 64), (247, 247, 247), (153, 142, 195), (84, 39, 136))


def colour(share: float, scale: Sequence[tuple[int, int, int]]) -> tuple[int, int, int]:
    """Return the colour at a share in [0, 1] of a scale, red, green and blue from 0 to 255.

    >>> colour(0.0, VIRIDIS), colour(0.125, VIRIDIS), colour(2.0, VIRIDIS)
    ((68, 1, 84), (64, 42, 112), (253, 231, 37))
    """
    place = min(max(share, 0.0), 1.0) * (len(scale) - 1)
    low = min(int(place), len(scale) - 2)
    red, green, blue = (round(a + (place - low) * (b - a)) for a, b in zip(scale[low], scale[low + 1], strict=True))
    return red, green, blue


def ink(background: tuple[int, int, int]) -> str:
    """Return black or white, whichever is easier to read on a colour.

    >>> ink((253, 231, 37)), ink((68, 1, 84))
    ('black', 'white')
    """
    red, green, blue = background
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"


def coloured(symbols: Sequence[str], values: NDArray[Any]) -> Text:
    """Return a text whose every symbol stands on the colour of a value, from orange below 0 to purple above.

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
    span = (high - low) or 1.0
    return "".join(BARS[int(np.clip(8 * (value - low) / span, 0, 7))] for value in values)


def heat_map(name: str, values: NDArray[Any], *, width: int, units: Sequence[int] | None = None) -> Text:
    """Return one gate or state (T, H) as a line of bars for each unit.

    Args:
        name: of the gate or state; it decides the range, (0, 1) or around 0.
        values: (T, H); more steps than fit are averaged.
        width: characters of a line.
        units: which to show; those that change most if left out.
    """
    pooled, changing = pool(values, width - 8), changing_most(values)
    reach = max(1.0, float(np.abs(values).max(initial=0.0)))
    low, high, scale = (0.0, 1.0, VIRIDIS) if name in SIGMOIDS else (-reach, reach, PUOR)
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
    """Return all units of values (T, H) by how much they change, most first.

    >>> changing_most(np.array([[0.0, 0.0], [1.0, 5.0]]))
    [1, 0]
    """
    order: list[int] = np.argsort(-values.std(0), kind="stable").tolist()
    return order


def pool(values: NDArray[Any], most: int) -> NDArray[Any]:
    """Return values (T, H) averaged over as few neighbours as bring them to at most so many rows.

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
