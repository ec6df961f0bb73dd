"""Pictures of the laboratory, drawn from arrays: how far nets are right, and how they leave a solution.

Lines are told apart by colour, by brightness and by dashes; the colours are the Okabe-Ito set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")
#: The training range.
SHADE = "#DDDDDD"

#: Sizes and, at each, the share of nets that are right.
Line = tuple[Sequence[int], Sequence[float]]


def right_over_sizes(
    lines: Mapping[str, Line], trained: tuple[int, int], path: Path, *, title: str, what: str = "share of nets right"
) -> None:
    """Draw the share of nets that get every string of a size right, over sizes, with the training range marked.

    Args:
        lines: name -> sizes (N,) and shares (N,) in [0, 1].
        trained: the smallest and the largest size of training.
        path: of the picture; its ending says the format.
        title: above the picture.
        what: the shares are of.
    """
    figure = Figure(figsize=(7.2, 3.6 + 0.16 * len(lines)), layout="constrained")
    axes = figure.subplots()
    _mark(axes, trained)
    for k, (name, (sizes, shares)) in enumerate(lines.items()):
        offset = 0.006 * (k - (len(lines) - 1) / 2)  # so that lines which agree are both seen
        axes.plot(
            sizes, np.asarray(shares) + offset, label=name, linewidth=1.6, color=COLOURS[k % len(COLOURS)],
            linestyle=DASHES[k // len(COLOURS) % len(DASHES)],
        )  # fmt: skip
    axes.set(title=title, xlabel="size n", ylabel=what, ylim=(-0.04, 1.04), xscale="log")
    _plain_log(axes, max(max(sizes) for sizes, _ in lines.values()))
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=2 if len(lines) > 3 else len(lines) + 1)
    figure.savefig(path, dpi=150)


def first_failing(
    found: Mapping[str, Sequence[int]], limit: int, trained: tuple[int, int], path: Path, *, title: str
) -> None:
    """Draw each net as a dot at its first failing size, one row for each experiment, its median as a bar.

    Args:
        found: name -> first failing size of each net; one past the limit says that none failed.
        limit: the largest size tried.
        trained: the smallest and the largest size of training.
        path: of the picture; its ending says the format.
        title: above the picture.
    """
    figure = Figure(figsize=(7.2, 1.3 + 0.42 * len(found)), layout="constrained")
    axes = figure.subplots()
    _mark(axes, trained)
    for row, (colour, values) in enumerate(zip(cycle(COLOURS), found.values(), strict=False)):
        ordered = np.sort(np.asarray(values))
        spread = np.linspace(-0.22, 0.22, len(ordered)) if len(ordered) > 1 else np.zeros(1)
        axes.plot(ordered, row + spread, "o", color=colour, markersize=4, alpha=0.8, linestyle="none")
        axes.plot([np.median(ordered)] * 2, [row - 0.34, row + 0.34], color=colour, linewidth=2)
    axes.axvline(limit + 1, color="#777777", linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(found)), list(found))
    axes.set(title=title, xlabel=f"first failing n; on the dotted line: none up to {limit}", xscale="log")
    axes.set_ylim(len(found) - 0.5, -0.5)
    _plain_log(axes, limit + 1)
    axes.legend(frameon=False, fontsize=8, loc="best")
    figure.savefig(path, dpi=150)


def drift(
    steps: Sequence[int], margins: Mapping[str, Any], right_to: Any, limit: int, path: Path, *, title: str
) -> None:
    """Draw how nets that begin exact leave that solution while they are trained.

    Args:
        steps: (lines,) at which they were measured.
        margins: name -> (lines, S) least margin of each net at one size, in logits.
        right_to: (lines, S) largest size up to which each net is right.
        limit: the largest size tried.
        path: of the picture; its ending says the format.
        title: above both panels.
    """
    figure = Figure(figsize=(7.2, 5.4), layout="constrained")
    figure.suptitle(title)
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot(steps, np.asarray(right_to), color=COLOURS[0], alpha=0.6, linewidth=1.2)
    above.axhline(limit, color="#777777", linewidth=0.8, linestyle=":")
    above.set(ylabel="right up to n", yscale="symlog", ylim=(0, 1.3 * limit))
    for k, (name, values) in enumerate(margins.items()):
        lines = below.plot(steps, np.asarray(values), color=COLOURS[k % len(COLOURS)], alpha=0.6, linewidth=1.2)
        lines[0].set_label(name)
    below.axhline(0, color="#777777", linewidth=0.8, linestyle=":")
    below.set(xlabel="steps of training", ylabel="least margin, logits")
    below.legend(frameon=False, fontsize=8)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def _mark(axes: Axes, trained: tuple[int, int]) -> None:
    axes.axvspan(*trained, color=SHADE, linewidth=0, label=f"trained on {trained[0]} to {trained[1]}")
    axes.spines[["top", "right"]].set_visible(False)


def _plain_log(axes: Axes, high: float) -> None:
    """Label a logarithmic axis with whole numbers."""
    ticks = [n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 100_000) if n <= 1.05 * high]
    axes.set_xticks(ticks, [f"{n:,}" for n in ticks])
    axes.minorticks_off()
    axes.set_xlim(0.9, 1.12 * high)
