"""Plots of the gates: heat-maps over the text, and how often each gate is open or shut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from unrolled.notation import LONG_NAMES
from unrolled.views.colours import FAINT, HUES
from unrolled.views.plots import NAMED_TICKS, canvas, heat, plain, symbol_axis
from unrolled.views.saturation import Saturation


def gates(
    rows: Mapping[str, NDArray[Any]],
    symbols: Sequence[str],
    *,
    title: str,
    steps: NDArray[Any] | None = None,
    units: Sequence[int] | None = None,
) -> Figure:
    """Draw every gate and state while a network reads: one panel each, units across time.

    Args:
        rows: name -> values (T, H), one panel each, in this order.
        symbols: the T symbols that were read.
        title: above the plot.
        steps: their positions in the text, (T,); 0, 1, 2 ... if left out.
        units: to draw, by their numbers; all if left out.
    """
    wide = len(symbols) > NAMED_TICKS // 2
    columns = 1 if wide else min(3, len(rows))
    lines = -(-len(rows) // columns)
    figure = canvas(10 if wide else 3.1 * columns, (1.6 if wide else 2.6) * lines + 0.5, title)
    panels = figure.subplots(lines, columns, squeeze=False, sharex=wide).flat
    places = np.arange(len(symbols)) if steps is None else steps
    for k, ((name, values), axes) in enumerate(zip(rows.items(), panels, strict=False)):
        figure.colorbar(heat(axes, name, values, units), ax=axes, shrink=0.9, pad=0.01 if wide else 0.05)
        symbol_axis(axes, symbols, places)
        if wide and k < len(rows) - 1:
            axes.set_xlabel("")
    for axes in panels:
        axes.axis("off")
    return figure


def saturation(found: Mapping[str, Saturation], *, title: str) -> Figure:
    """Draw, for every unit of each gate, how often it is nearly shut (across) and nearly open (up).

    A unit near a corner is a switch: at the lower right always shut, at the upper left always open.

    Args:
        found: gate -> its saturation.
        title: above the plot.
    Raises: ValueError if there is no gate, as in an RNN.
    Source: A. Karpathy et al., "Visualizing and understanding recurrent networks", 2015, figure 3.
    """
    if not found:
        raise ValueError("an RNN has no gates that could saturate; give an LSTM or a GRU")
    figure = canvas(3.3 * len(found), 3.9, title)
    for k, (axes, (gate, each)) in enumerate(
        zip(figure.subplots(1, len(found), squeeze=False).flat, found.items(), strict=True)
    ):
        axes.plot([0, 1], [1, 0], color=FAINT, linewidth=0.8)
        axes.scatter(each.left, each.right, s=22, color=HUES[k], alpha=0.6, linewidth=0, clip_on=False)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel=f"share of steps below {each.low:g}")
        axes.set_ylabel(f"share of steps above {each.high:g}" if k == 0 else "")
        axes.set_title(LONG_NAMES[gate], fontsize=10)
        plain(axes)
    return figure
