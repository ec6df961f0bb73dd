"""The picture of a sweep: what each option that was searched did to the bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from unrolled.views.colours import FAINT, HUES
from unrolled.views.plots import canvas, plain

#: Plots beside each other, and their size in inches.
COLUMNS, WIDTH, HEIGHT = 3, 3.2, 2.6


def searched(
    bits: Sequence[float | None],
    whole: Sequence[bool],
    options: Mapping[str, Sequence[Any]],
    importance: Mapping[str, float],
    log: Sequence[str] = (),
) -> Figure:
    """Draw the bits of each trial over the values of each option, the one that mattered most first.

    Args:
        bits: (n,) lowest validation loss of each trial, in bits per symbol; None where there is none.
        whole: (n,) whether each ran to its end.
        options: name -> (n,) its value in each trial.
        importance: name -> share of what all of them did; may be empty.
        log: names whose values are drawn on a logarithmic axis.
    """
    names = [*importance, *(name for name in options if name not in importance)]
    columns = min(COLUMNS, len(names))
    rows = -(-len(names) // columns)
    figure = canvas(0.4 + WIDTH * columns, 0.6 + HEIGHT * rows, "what mattered")
    grid: list[Axes] = list(np.ravel(figure.subplots(rows, columns, sharey=True, squeeze=False)))
    there = [k for k, each in enumerate(bits) if each is not None]
    y = np.array([bits[k] for k in there], float)
    ended = np.array([whole[k] for k in there], bool)
    for axes, name in zip(grid, names, strict=False):
        values = [options[name][k] for k in there]
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        words = sorted({str(value) for value in values})
        x = np.array(values if numbers else [words.index(str(value)) for value in values], float)
        axes.scatter(x[~ended], y[~ended], s=14, color=FAINT, label="ended early")
        axes.scatter(x[ended], y[ended], s=18, color=HUES[0], label="ran to its end")
        if numbers and name in log:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.xaxis.set_minor_locator(NullLocator())
        elif not numbers:
            axes.set_xticks(range(len(words)), words, parse_math=False)
            axes.set_xlim(-0.5, len(words) - 0.5)
        share = f": {100 * importance[name]:.0f} %" if name in importance else ""
        axes.set_title(f"{name}{share}", fontsize=10, parse_math=False)
        plain(axes)
    for axes in grid[::columns]:
        axes.set_ylabel("bits/symbol")
    if len(y) and ended.any():  # what was never near is cut off above
        best, worst = y[ended].min(), np.quantile(y[ended], 0.9)
        grid[0].set_ylim(top=min(y.max(), worst + (worst - best) + 0.1) + 0.02)
    for axes in grid[len(names) :]:
        axes.set_visible(False)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=8, loc="outside lower center", ncols=2)
    return figure
