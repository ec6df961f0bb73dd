"""What all plots share: canvas, axes, heat-maps, saving; and the learning curve.  Only plots*.py import matplotlib.

Every plot is a function of plain arrays that returns a Figure; `save` writes it.  Colours come from colours.py.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Figure
from matplotlib.font_manager import fontManager, get_font
from matplotlib.image import AxesImage
from matplotlib.text import Text
from numpy.typing import NDArray

from unrolled.notation import LONG_NAMES
from unrolled.saved.atomic_files import write_whole
from unrolled.saved.visible import drawn
from unrolled.views.colours import HUES, SCALE, VIRIDIS, signal_scale
from unrolled.views.symbols import visible

#: Symbols of which each can still have its own tick.
NAMED_TICKS = 48


def save(figure: Figure, path: Path | str) -> None:
    """Write a figure; the extension of the path sets the format.

    Letters that the font lacks are taken from others of this machine; what none of them has is drawn as a box.

    Raises: ValueError if it has none, or one that stands for no format; CheckpointError if it cannot be written.
    """
    ending = Path(path).suffix.removeprefix(".")
    if not ending:
        raise ValueError(f"{path}: no extension, which sets the format; end the name in .png or .svg")
    if ending not in figure.canvas.get_supported_filetypes():
        raise ValueError(f"{path}: a picture cannot be written as .{ending}; end the name in .png or .svg")
    picture, lacking = _drawn(figure, ending)
    if others := fonts_with(lacking):
        for text in figure.findobj(Text):
            assert isinstance(text, Text)
            text.set_fontfamily([*rcParams["font.family"], *others])
        picture, _ = _drawn(figure, ending)
    write_whole(path, picture)


def _drawn(figure: Figure, format: str) -> tuple[bytes, set[int]]:
    """Return a picture, and the code points that its font lacks."""
    file = BytesIO()
    with warnings.catch_warnings(record=True) as said:
        warnings.filterwarnings("always", "Glyph .* missing", UserWarning)
        figure.savefig(file, format=format, dpi=150)
    lacking = {int(found[1]) for each in said if (found := re.match(r"Glyph (\d+)", str(each.message)))}
    return file.getvalue(), lacking


def fonts_with(code_points: Collection[int]) -> list[str]:
    """Return names of fonts on this machine that together have as many of these code points as can be found."""
    names, wanted = [], {*code_points}
    for font in fontManager.ttflist if wanted else ():
        if font.name.startswith("Last Resort"):  # which has a box for everything
            continue
        found = wanted & get_font(font.fname).get_charmap().keys()
        if found:
            names.append(font.name)
            wanted -= found
    return names


def canvas(width: float, height: float, title: str) -> Figure:
    """Return an empty figure of this size in inches; the title is plain text, not mathematics."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(verbatim(title), fontsize=12, wrap=True)
    return figure


def verbatim(text: str) -> str:
    r"""Return a text that matplotlib draws as it is, but for control characters, which no SVG can hold.

    What stands between two $ it takes for mathematics, also where it is told not to, as in titles that it breaks.

    >>> verbatim("runs/$x$" + chr(27))
    'runs/\\$x\\$␛'
    """
    return drawn(text).replace("$", r"\$")


def plain(axes: Axes) -> None:
    """Leave out the frame's upper and right side."""
    axes.spines[["top", "right"]].set_visible(False)


def symbol_axis(axes: Axes, symbols: Sequence[str], steps: NDArray[Any]) -> None:
    """Label the horizontal axis of T steps: with the symbols read if they are few, else with positions in the text."""
    if len(symbols) <= NAMED_TICKS:
        labels = [visible(symbol) for symbol in symbols]
        crowded = max(map(len, labels)) > 2
        axes.set_xticks(range(len(symbols)), labels, parse_math=False, rotation=90 if crowded else 0, fontsize=9)
        axes.tick_params(axis="x", length=0)
        axes.set_xlabel("symbol read")
    else:
        axes.xaxis.set_major_formatter(lambda at, _: f"{place(at, steps):,}")
        axes.set_xlabel("symbols read before")


def place(at: float, steps: NDArray[Any]) -> int:
    """Return the position in the text of row `at` of a trace, also beyond its ends; steps (T,) are evenly spaced.

    >>> place(2, np.array([0, 5, 10, 15]))
    10
    """
    return round(float(steps[0]) + at * (float(steps[1] - steps[0]) if len(steps) > 1 else 1.0))


def heat(axes: Axes, name: str, values: NDArray[Any], units: Sequence[int] | None = None) -> AxesImage:
    """Draw one gate or state (T, H), some units or all across time, in the range and colours that its name decides."""
    low, high, scale = signal_scale(name, float(np.abs(values).max()))
    colours = "viridis" if scale is VIRIDIS else "PuOr"
    shown = values if units is None else values[:, list(units)]
    image = axes.imshow(shown.T, cmap=colours, vmin=low, vmax=high, aspect="auto")
    H = shown.shape[1]
    rows = [*dict.fromkeys([0, H - 1])] if units is None else range(H)
    axes.set_yticks(rows, [str(row if units is None else units[row]) for row in rows])
    axes.set_ylabel("unit")
    axes.set_title(LONG_NAMES.get(name, name), fontsize=10)
    return image


def learning_curve(
    metrics: Sequence[Mapping[str, Any]], *, title: str, baselines: Mapping[str, float] | None = None
) -> Figure:
    """Draw training and validation loss over symbols read, beside the loss of simple predictors.

    Args:
        metrics: lines of metrics.jsonl.
        title: above the plot.
        baselines: bits per symbol of predictors to compare with, by name.

    Raises: ValueError if no line holds a training loss.
    """
    trained = [(line["symbols"], line["bits"]) for line in metrics if "bits" in line]
    checked = [(line["symbols"], line["validation_bits"]) for line in metrics if "validation_bits" in line]
    if not trained:
        raise ValueError("the metrics hold no line with a training loss; was the run ended before its first line?")
    figure = canvas(7, 4.2, title)
    axes = figure.subplots()
    axes.plot(*np.array(trained).T, color=HUES[0], linewidth=1.2, label="training")
    if checked:
        axes.plot(*np.array(checked).T, color=HUES[1], linewidth=2, marker="o", markersize=4, label="validation")
    reach = max(axes.get_ylim()[1], *(baselines or {}).values(), 0.0)
    for name, bits in _grouped(baselines or {}, 0.03 * reach).items():
        axes.axhline(bits, color=SCALE, linewidth=0.8, linestyle=":")
        axes.text(1.01, bits, name, transform=axes.get_yaxis_transform(), color=SCALE, fontsize=8, va="center")
    millions = trained[-1][0] >= 1e6
    unit = "millions of symbols" if millions else "thousands of symbols"
    axes.set(xlabel=f"read in training, {unit}", ylabel="bits per symbol", xlim=(0, None))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x / (1e6 if millions else 1e3):g}")
    plain(axes)
    axes.legend(frameon=False)
    return figure


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
