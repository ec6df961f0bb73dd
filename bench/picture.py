"""Draw bench/results/layers.json: how many times faster than torch, by shape, one panel a cell.

python bench/picture.py [bench/results/layers.json] [docs/speed.svg]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib
from harness import RESULTS, ROOT

matplotlib.use("agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import NullLocator

HUES = {1: "#0072B2", 8: "#56B4E9", 32: "#009E73", 64: "#E69F00", 256: "#D55E00"}
MARKS = {20: "o", 100: "s", 500: "^"}
GREY = "#555555"
LEVELS = (0.5, 1, 2, 4, 8, 16, 32, 64, 128)
TITLES = {"inference": "inference", "training": "forward and backward"}


def draw(found: dict[str, Any]) -> Any:
    """Return the figure: cells side by side, inference above training."""
    rows = [row for row in found["rows"] if row["set"] == "cover"]
    cells = list(dict.fromkeys(row["cell"] for row in rows))
    figure, grid = plt.subplots(
        len(TITLES), len(cells), figsize=(9.6, 5.8), sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    for panels, (phase, title) in zip(grid, TITLES.items(), strict=True):
        panels[0].set_ylabel(f"{title}\ntimes faster than torch")
        for axes, cell in zip(panels, cells, strict=True):
            panel(axes, [row for row in rows if row["cell"] == cell], phase)
    ratios = [row[phase]["ratio"] for row in rows for phase in TITLES]
    grid[0][0].set_ylim(min(0.8, 0.85 * min(ratios)), 1.2 * max(ratios))  # shared by all
    for axes, cell in zip(grid[0], cells, strict=True):
        axes.set_title(cell)
    for axes in grid[-1]:
        axes.set_xlabel("hidden size H")
    handles = [plt.Line2D([], [], color=hue, marker="o", linestyle="", label=f"B {B}") for B, hue in HUES.items()]
    handles += [plt.Line2D([], [], color=GREY, marker=m, linestyle="", label=f"T {T}") for T, m in MARKS.items()]
    handles.append(plt.Line2D([], [], color=GREY, marker="D", linestyle="", fillstyle="none", label="hollow: I = 32"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, handletextpad=0.1)
    return figure


def panel(axes: Any, rows: list[dict[str, Any]], phase: str) -> None:
    """Draw the ratios of one cell against H; the points of one H are spread by B, so that none hides another."""
    batches = list(HUES)
    axes.axhspan(0.01, 1, color="#f2f2f2", zorder=0)
    axes.axhline(1, color="#888888", linewidth=0.8, zorder=1)
    for row in rows:
        spread = 1.07 ** (batches.index(row["B"]) - len(batches) // 2)
        narrow = row["I"] != row["H"]
        axes.plot(
            row["H"] * spread, row[phase]["ratio"], MARKS[row["T"]], color=HUES[row["B"]], markersize=6,
            fillstyle="none" if narrow else "full", markeredgewidth=1.3, alpha=0.9,
        )  # fmt: skip
    sizes = sorted({row["H"] for row in rows})
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks([H for H in sizes if H != 100], [str(H) for H in sizes if H != 100])
    axes.set_yticks(LEVELS, [f"{level:g}" for level in LEVELS])
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)


def main() -> None:
    """Read the JSON, write the picture."""
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS / "layers.json"
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "docs" / "speed.svg"
    plt.rcParams["svg.hashsalt"] = "unrolled"  # the same numbers, the same file
    draw(json.loads(source.read_text())).savefig(
        target, dpi=160, metadata={"Date": None} if target.suffix == ".svg" else None
    )


if __name__ == "__main__":
    main()
