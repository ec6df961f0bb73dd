"""Plots of the lab: up to which size models are right, and how they leave an exact solution in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unrolled.views.colours import CELL_HUES, HUES, SCALE, SHADE
from unrolled.views.plots import canvas, plain, verbatim

#: The outline of a median: a bar at each end of what it may be, and a line between.
MEDIAN = np.array([-0.42, 0.42, 0, 0, -0.42, 0.42])
DASHES = ("-", "--", "-.", ":")

#: The smallest and the largest size in training.
Trained = tuple[int, int]


class Series(NamedTuple):
    """Shares of models that are right.

    Attributes:
        sizes: Those tried.
        shares: At each of them.
        trained: The training range.
        kind: Of cell.
    """

    sizes: Sequence[int]
    shares: Sequence[float]
    trained: Trained
    kind: str


class Row(NamedTuple):
    """First failing sizes of some models.

    Attributes:
        failing: Of each model, limit + 1 if none failed.
        median: Both ends of what it may be.
        limit: The largest size tried.
        trained: The training range.
        kind: Of cell.
    """

    failing: Sequence[int]
    median: tuple[float, float]
    limit: int
    trained: Trained
    kind: str


def right_over_sizes(lines: Mapping[str, Series], *, title: str, what: str = "share of models right") -> Figure:
    """Draw the share of models that get every string of a size right, over sizes, with the training range marked.

    Args:
        lines: name -> line.
        title: above the plot.
        what: label of the vertical axis.
    """
    figure = canvas(7.2, 3.6 + 0.16 * len(lines), title)
    axes = figure.subplots()
    ranges = {each.trained for each in lines.values()}
    kinds = [each.kind for each in lines.values()]
    by_cell = len({*kinds}) == len(kinds)  # else the lines need colours of their own
    for low, high in ranges:
        where = f" {low} to {high}" if len(ranges) == 1 else ", each"
        axes.axvspan(low, high, color=SHADE, alpha=1 / len(ranges), linewidth=0, label=f"trained on{where}")
    for k, (name, each) in enumerate(lines.items()):
        offset = (
            0.006 * (k - (len(lines) - 1) / 2) if len(lines) < 12 else 0
        )  # so that equal lines do not hide each other
        axes.plot(
            each.sizes, np.asarray(each.shares) + offset, label=verbatim(name), linewidth=1.6,
            color=CELL_HUES[each.kind] if by_cell else HUES[k % len(HUES)],
            linestyle=DASHES[k // len(HUES) % len(DASHES)],
        )  # fmt: skip
    axes.set(xlabel="size n", ylabel=what, ylim=(-0.06, 1.06), xscale="log")
    _plain_log(axes, max(max(each.sizes) for each in lines.values()))
    handles, names = axes.get_legend_handles_labels()
    shown = {name: handle for handle, name in zip(handles, names, strict=True)}  # each once
    columns = 2 if len(shown) > 3 else len(shown)
    figure.legend([*shown.values()], [*shown], frameon=False, fontsize=8, loc="outside lower center", ncols=columns)
    return figure


def first_failing(rows: Mapping[str, Row], *, title: str) -> Figure:
    """Draw each model as a dot at its first failing size, an open one if it never failed, and the median as a bar.

    Args:
        rows: name -> row, from top to bottom.
        title: above the plot.
    """
    figure = canvas(7.2, 1.4 + 0.36 * len(rows), title)
    axes = figure.subplots()
    for k, (failing, median, limit, (low, high), kind) in enumerate(rows.values()):
        colour = CELL_HUES[kind]
        axes.barh(k, high - low, left=low, height=0.9, color=SHADE, label="trained" if k == 0 else None)
        ordered = np.sort(np.asarray(failing))
        heights = k + (np.linspace(-0.3, 0.3, len(ordered)) if len(ordered) > 1 else np.zeros(1))
        failed = ordered <= limit
        axes.plot(ordered[failed], heights[failed], "o", color=colour, markersize=4)
        axes.plot(ordered[~failed], heights[~failed], "o", color=colour, markersize=4, markerfacecolor="none")
        axes.plot(np.repeat(median, 3), k + MEDIAN, color=colour, linewidth=2)
    axes.plot([], [], "o", color=SCALE, markersize=4, label="first wrong string")
    axes.plot([], [], "o", color=SCALE, markersize=4, markerfacecolor="none", label="none up to here")
    axes.plot([], [], color=SCALE, linewidth=2, label="median")
    axes.set_yticks(range(len(rows)), [*map(verbatim, rows)])
    axes.set(xlabel="size n", xscale="log", ylim=(len(rows) - 0.5, -0.5))
    _plain_log(axes, max(row.limit for row in rows.values()) + 1)
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=4)
    return figure


def drift(steps: Sequence[int], margins: Mapping[str, Any], right_to: Any, limit: int, *, title: str) -> Figure:
    """Draw how models that start from exact weights leave that solution in training.

    Args:
        steps: training steps at which they were measured, (N,).
        margins: name -> least margin of each of S models at one size, in logits, (N, S).
        right_to: the largest size up to which each model is right, (N, S).
        limit: the largest size tried.
        title: above the plot.
    """
    figure = canvas(7.2, 5.4, title)
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot(steps, np.asarray(right_to), color=HUES[0], alpha=0.6, linewidth=1.2)
    above.axhline(limit, color=SCALE, linewidth=0.8, linestyle=":")
    above.set(ylabel="right up to n", yscale="symlog", ylim=(0, 1.3 * limit))
    for k, (name, values) in enumerate(margins.items()):
        lines = below.plot(steps, np.asarray(values), color=HUES[k % len(HUES)], alpha=0.6, linewidth=1.2)
        lines[0].set_label(name)
    below.axhline(0, color=SCALE, linewidth=0.8, linestyle=":")
    below.set(xlabel="training step", ylabel="least margin, logits")
    below.legend(frameon=False, fontsize=8)
    for axes in (above, below):
        plain(axes)
    return figure


def _plain_log(axes: Axes, high: float) -> None:
    """Label a logarithmic axis with whole numbers."""
    ticks = [n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 100_000) if n <= 1.05 * high]
    axes.set_xticks(ticks, [f"{n:,}" for n in ticks])
    axes.minorticks_off()
    axes.set_xlim(0.9, 1.12 * high)
    plain(axes)
