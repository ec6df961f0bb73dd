"""Pictures, drawn from arrays: the one module that imports matplotlib.

Colours keep apart for every kind of colour vision: viridis from 0 to 1, PuOr for signed values, and for lines two hues
of the Okabe-Ito set that differ in brightness too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

#: Okabe-Ito: blue, vermilion, and a grey for what only gives scale.
TRAINING, VALIDATION, SCALE = "#0072B2", "#D55E00", "#777777"

#: What a row of `gates` shows: whether its values lie in (0, 1), rather than around 0.
UNSIGNED = frozenset("ifozr")

#: Titles of the panels.
LONG_NAMES = {
    "i": "input gate i",
    "f": "forget gate f",
    "g": "candidate g",
    "o": "output gate o",
    "c": "cell state c",
    "h": "hidden state h",
    "r": "reset gate r",
    "z": "update gate z",
    "n": "candidate n",
}


def learning_curve(
    metrics: Sequence[Mapping[str, Any]], path: Path, *, title: str, yardsticks: Mapping[str, float] | None = None
) -> None:
    """Draw training and validation loss over symbols read, beside what simple predictors reach.

    Args:
        metrics: lines of metrics.jsonl.
        path: of the picture; its ending says the format.
        title: above the picture.
        yardsticks: bits per symbol of predictors to compare with, by name.
    """
    trained = [(line["symbols"], line["bits"]) for line in metrics if "bits" in line]
    checked = [(line["symbols"], line["validation_bits"]) for line in metrics if "validation_bits" in line]
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(*np.array(trained).T, color=TRAINING, linewidth=1.2, label="training")
    if checked:
        axes.plot(*np.array(checked).T, color=VALIDATION, linewidth=2, marker="o", markersize=4, label="validation")
    reach = max(axes.get_ylim()[1], *(yardsticks or {}).values(), 0.0)
    for name, bits in _grouped(yardsticks or {}, 0.03 * reach).items():
        axes.axhline(bits, color=SCALE, linewidth=0.8, linestyle=":")
        axes.annotate(
            name,
            (1, bits),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            color=SCALE,
            fontsize=8,
            va="center",
        )
    millions = trained[-1][0] >= 1e6
    unit = "millions of symbols" if millions else "thousands of symbols"
    axes.set(title=title, xlabel=f"read in training, {unit}", ylabel="bits per symbol", xlim=(0, None))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x / (1e6 if millions else 1e3):g}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def _grouped(values: Mapping[str, float], near: float) -> dict[str, float]:
    """Return the values with the names of those closer together than `near` joined, so that labels stay apart.

    >>> _grouped({"uniform": 6.0, "bz2": 2.51, "5-gram": 2.49}, near=0.1)
    {'uniform': 6.0, 'bz2, 5-gram': 2.5}
    """
    groups: list[dict[str, float]] = []
    for name, value in sorted(values.items(), key=lambda item: -item[1]):
        if groups and min(groups[-1].values()) - value < near:
            groups[-1][name] = value
        else:
            groups.append({name: value})
    return {", ".join(group): round(sum(group.values()) / len(group), 12) for group in groups}


def gates(rows: Mapping[str, NDArray[Any]], symbols: Sequence[str], path: Path, *, title: str) -> None:
    """Draw every gate and state while a network reads: one panel each, units across time.

    Args:
        rows: name -> values (T, H), one panel each, in this order; a name in `UNSIGNED` is drawn from 0 to 1.
        symbols: the T symbols that were read.
        path: of the picture; its ending says the format.
        title: above the picture.
    """
    columns = min(3, len(rows))
    lines = -(-len(rows) // columns)
    figure = Figure(figsize=(3.1 * columns, 2.6 * lines + 0.5), layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(lines, columns, squeeze=False).flat
    for axes, (name, values) in zip(panels, rows.items(), strict=False):
        if name in UNSIGNED:
            image = axes.imshow(values.T, cmap="viridis", vmin=0, vmax=1, aspect="auto")
        else:
            reach = max(1.0, float(np.abs(values).max()))
            image = axes.imshow(values.T, cmap="PuOr", vmin=-reach, vmax=reach, aspect="auto")
        axes.set_title(LONG_NAMES.get(name, name), fontsize=10)
        axes.set_xticks(range(len(symbols)), symbols)
        axes.set_yticks([0, values.shape[1] - 1], ["1", str(values.shape[1])])
        axes.set(xlabel="symbol read", ylabel="unit")
        figure.colorbar(image, ax=axes, shrink=0.9)
    for axes in panels:
        axes.axis("off")
    figure.savefig(path, dpi=150)
