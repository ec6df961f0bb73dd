"""Diagrams of the cells: one step, from x and the state before to the state after.  A new cell adds one entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

from unrolled.config.checks import PositiveInt, check_value
from unrolled.views.colours import FAINT, HUES, INK, PAPER, SCALE, SHADE, TINTS
from unrolled.views.plots import canvas
from unrolled.words import counted

Place = tuple[float, float]

#: Fill and edge of a layer with a sigmoid, with a tanh, of one without, and of an element-wise operation.
SIGMOID, TANH, LINEAR, POINTWISE = zip((*TINTS, SHADE, PAPER), (*HUES[:2], SCALE, INK), strict=True)
BOX, HIGH, RADIUS = 0.86, 0.52, 0.24
#: The most steps of a chain, and the distance of two.
MOST_STEPS, APART = 8, 2.3


@dataclass
class Sketch:
    """A drawing of boxes, circles and wires, in the units of its axes."""

    axes: Axes

    def box(self, x: float, y: float, text: str, look: tuple[str, str], width: float = BOX, high: float = HIGH) -> None:
        """Draw a layer: weights and the activation of their product."""
        face, edge = look
        corner, style = (x - width / 2, y - high / 2), "round,pad=0,rounding_size=0.09"
        self.axes.add_patch(FancyBboxPatch(corner, width, high, boxstyle=style, fc=face, ec=edge, lw=1.4, zorder=3))
        self.axes.text(x, y, text, ha="center", va="center", fontsize=12, zorder=4)

    def operation(self, x: float, y: float, sign: str) -> None:
        """Draw an element-wise operation."""
        face, edge = POINTWISE
        self.axes.add_patch(Circle((x, y), RADIUS, fc=face, ec=edge, lw=1.2, zorder=3))
        self.axes.text(x, y, sign, ha="center", va="center_baseline", fontsize=13, zorder=4)

    def wire(self, *places: Place, arrow: bool = True) -> None:
        """Draw a wire along these corners, with an arrow at its end."""
        *bends, last = places
        xs, ys = zip(*bends, *([] if arrow else [last]), strict=True)
        self.axes.plot(xs, ys, color=INK, lw=1.3, zorder=1, solid_joinstyle="round")
        if arrow:
            style: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 11, "shrinkA": 0, "shrinkB": 0}
            self.axes.add_patch(FancyArrowPatch(bends[-1], last, color=INK, lw=1.3, zorder=2, **style))

    def branch(self, x: float, y: float) -> None:
        """Mark where a wire forks; wires that cross without a mark are not connected."""
        self.axes.add_patch(Circle((x, y), 0.06, fc=INK, ec=INK, zorder=2))

    def name(self, x: float, y: float, text: str, size: int = 13) -> None:
        """Write the name of a quantity beside its wire."""
        self.axes.text(x, y, text, ha="center", va="center", fontsize=size, zorder=4)

    def frame(self, left: float, low: float, right: float, high: float) -> None:
        """Draw the border of the cell."""
        style = "round,pad=0,rounding_size=0.25"
        shape = FancyBboxPatch((left, low), right - left, high - low, boxstyle=style, fc=PAPER, ec=FAINT, zorder=0)
        self.axes.add_patch(shape)


def cell(name: str) -> Figure:
    """Draw one step of a cell: "RNN", "LSTM" or "GRU".

    Source: the equations of docs/notation.md, (1), (4) to (9), (10) to (13).
    Raises: ValueError for another name.
    """
    check_value("name", name, str)
    if name not in DIAGRAMS:
        raise ValueError(f"there is no diagram of {name!r}; there are {', '.join(DIAGRAMS)}")
    draw, width, height, lines = DIAGRAMS[name]
    figure = canvas(0.82 * width, 0.82 * (height + 0.5 * len(lines)) + 0.4, f"One step of the {name}")
    axes = figure.subplots()
    draw(Sketch(axes))
    for k, line in enumerate(lines):
        axes.text(width / 2, -0.55 - 0.5 * k, line, ha="center", va="center", fontsize=11)
    axes.set(xlim=(-0.2, width + 0.2), ylim=(-0.4 - 0.5 * len(lines), height), aspect="equal")
    axes.axis("off")
    return figure


def chain(name: str, steps: int) -> Figure:
    """Draw a network unrolled through time: the same weights at every step, and a loss at each.

    Args:
        name: "RNN", "LSTM" or "GRU".
        steps: copies of the cell.
    Raises: ValueError for another name, or more steps than fit.
    """
    check_value("name", name, str)
    if name not in DIAGRAMS:
        raise ValueError(f"there is no diagram of {name!r}; there are {', '.join(DIAGRAMS)}")
    check_value("steps", steps, PositiveInt)
    if steps > MOST_STEPS:
        raise ValueError(f"steps is {steps}; a chain has 1 to {MOST_STEPS}")
    width = APART * steps + 1.2
    figure = canvas(
        0.82 * width, 4.6, f"The {name} unrolled through time: one set of weights, {counted(steps, 'step')}"
    )
    axes = figure.subplots()
    s = Sketch(axes)
    states = [("h", 2.0)] + ([("c", 2.28)] if name == "LSTM" else [])
    beside = {"h": -0.2, "c": 0.28} if len(states) == 2 else {"h": 0.0}
    for letter, y in states:
        s.name(0.1, y + beside[letter], f"${letter}_0$")
    for t in range(1, steps + 1):
        x = APART * t - 0.3
        s.box(x, 2.1, name, TANH, width=1.3, high=0.86)
        s.box(x, 3.5, "$W_{hy}$", LINEAR)
        s.wire((x, 0.75), (x, 2.1 - 0.43))
        s.wire((x, 2.1 + 0.43), (x, 3.5 - HIGH / 2))
        s.wire((x, 3.5 + HIGH / 2), (x, 4.35))
        s.name(x, 0.5, f"$x_{{{t}}}$")
        s.name(x, 4.6, f"$y_{{{t}}}$, loss", 12)
        for letter, y in states:
            left = 0.35 if t == 1 else x - APART + 0.65
            s.wire((left, y), (x - 0.65, y))
            if t > 1:
                s.name(x - APART / 2, y + (beside[letter] or 0.24), f"${letter}_{{{t - 1}}}$", 11)
    for letter, y in states:
        s.wire((APART * steps + 0.35, y), (width - 0.25, y))
        s.name(width + 0.02, y + beside[letter], f"${letter}_{{{steps}}}$")
    axes.set(xlim=(-0.2, width + 0.35), ylim=(0.1, 4.95), aspect="equal")
    axes.axis("off")
    return figure


def _rnn(s: Sketch) -> None:
    s.frame(1, 0.7, 7.6, 3.7)
    s.name(0.2, 2.9, "$h'$")
    s.box(2.2, 2.9, "$W_{hh}$", LINEAR)
    s.operation(4.0, 2.9, "+")
    s.box(5.6, 2.9, "tanh", TANH)
    s.box(4.0, 1.5, "$W_{ih}$", LINEAR)
    s.name(4.0, 0.1, "$x$")
    s.name(8.4, 2.9, "$h$")
    s.wire((0.45, 2.9), (2.2 - BOX / 2, 2.9))
    s.wire((2.2 + BOX / 2, 2.9), (4.0 - RADIUS, 2.9))
    s.wire((4.0 + RADIUS, 2.9), (5.6 - BOX / 2, 2.9))
    s.wire((5.6 + BOX / 2, 2.9), (8.15, 2.9))
    s.wire((4.0, 0.3), (4.0, 1.5 - HIGH / 2))
    s.wire((4.0, 1.5 + HIGH / 2), (4.0, 2.9 - RADIUS))


def _lstm(s: Sketch) -> None:
    s.frame(1, 0.7, 9.2, 5.7)
    top, bus, gates, middle = 5.0, 1.3, 2.3, 3.6
    s.name(0.2, top, "$c'$")
    s.name(0.2, bus, "$h'$")
    s.name(1.7, 0.1, "$x$")
    s.name(10.0, top, "$c$")
    s.name(10.0, bus, "$h$")
    s.wire((1.7, 0.3), (1.7, bus), arrow=False)
    s.branch(1.7, bus)
    s.wire((0.45, bus), (6.4, bus), (6.4, gates - HIGH / 2))
    for x in (2.6, 3.9, 5.1):
        s.branch(x, bus)
        s.wire((x, bus), (x, gates - HIGH / 2))
    for x, text, look in ((2.6, "σ", SIGMOID), (3.9, "σ", SIGMOID), (5.1, "tanh", TANH), (6.4, "σ", SIGMOID)):
        s.box(x, gates, text, look)
    s.wire((0.45, top), (2.6 - RADIUS, top))
    s.operation(2.6, top, "×")
    s.wire((2.6 + RADIUS, top), (5.1 - RADIUS, top))
    s.operation(5.1, top, "+")
    s.wire((5.1 + RADIUS, top), (9.75, top))
    s.wire((2.6, gates + HIGH / 2), (2.6, top - RADIUS))
    s.wire((3.9, gates + HIGH / 2), (3.9, middle), (5.1 - RADIUS, middle))
    s.operation(5.1, middle, "×")
    s.wire((5.1, gates + HIGH / 2), (5.1, middle - RADIUS))
    s.wire((5.1, middle + RADIUS), (5.1, top - RADIUS))
    s.branch(8.0, top)
    s.box(8.0, 4.1, "tanh", POINTWISE)
    s.wire((8.0, top), (8.0, 4.1 + HIGH / 2))
    s.operation(8.0, 3.1, "×")
    s.wire((8.0, 4.1 - HIGH / 2), (8.0, 3.1 + RADIUS))
    s.wire((6.4, gates + HIGH / 2), (6.4, 3.1), (8.0 - RADIUS, 3.1))
    s.wire((8.0, 3.1 - RADIUS), (8.0, bus), (9.75, bus))
    for x, text in ((2.38, "$f$"), (3.68, "$i$"), (5.32, "$g$"), (6.18, "$o$")):
        s.name(x, gates + HIGH / 2 + 0.28, text, 12)


def _gru(s: Sketch) -> None:
    s.frame(1, 0.7, 9.6, 6.5)
    top, h_bus, x_bus, gates, middle, upper = 6.0, 1.75, 1.2, 2.65, 3.6, 5.1
    s.name(0.2, top, "$h'$")
    s.name(2.0, 0.1, "$x$")
    s.name(10.4, top, "$h$")
    s.branch(1.4, top)
    s.wire((1.4, top), (1.4, h_bus), (6.0, h_bus), (6.0, gates - HIGH / 2))
    s.wire((2.0, 0.3), (2.0, x_bus), (7.6, x_bus), (7.6, gates - HIGH / 2))
    for x in (2.6, 4.3):
        s.branch(x - 0.18, h_bus)
        s.wire((x - 0.18, h_bus), (x - 0.18, gates - HIGH / 2))
        s.branch(x + 0.18, x_bus)
        s.wire((x + 0.18, x_bus), (x + 0.18, gates - HIGH / 2))
        s.box(x, gates, "σ", SIGMOID)
    s.box(6.0, gates, "$W_{hn}$", LINEAR)
    s.box(7.6, gates, "$W_{in}$", LINEAR)
    s.wire((2.6, gates + HIGH / 2), (2.6, middle), (6.0 - RADIUS, middle))
    s.operation(6.0, middle, "×")
    s.wire((6.0, gates + HIGH / 2), (6.0, middle - RADIUS))
    s.wire((6.0 + RADIUS, middle), (7.6 - RADIUS, middle))
    s.operation(7.6, middle, "+")
    s.wire((7.6, gates + HIGH / 2), (7.6, middle - RADIUS))
    s.box(7.6, 4.4, "tanh", TANH)
    s.wire((7.6, middle + RADIUS), (7.6, 4.4 - HIGH / 2))
    s.wire((7.6 + BOX / 2, 4.4), (8.8, 4.4), (8.8, upper - RADIUS))
    s.operation(8.8, upper, "×")
    s.wire((4.3, gates + HIGH / 2), (4.3, top - RADIUS))
    s.branch(4.3, upper)
    s.box(6.0, upper, "1 −", POINTWISE)
    s.wire((4.3, upper), (6.0 - BOX / 2, upper))
    s.wire((6.0 + BOX / 2, upper), (8.8 - RADIUS, upper))
    s.wire((8.8, upper + RADIUS), (8.8, top - RADIUS))
    s.wire((0.45, top), (4.3 - RADIUS, top))
    s.operation(4.3, top, "×")
    s.wire((4.3 + RADIUS, top), (8.8 - RADIUS, top))
    s.operation(8.8, top, "+")
    s.wire((8.8 + RADIUS, top), (10.15, top))
    for x, y, text in ((2.38, 3.25, "$r$"), (4.08, 3.25, "$z$"), (8.4, 4.62, "$n$")):
        s.name(x, y, text, 12)


class Diagram(NamedTuple):
    """How one cell is drawn: the drawing, its width and height, and the equations written below it."""

    draw: Callable[[Sketch], None]
    width: float
    height: float
    equations: tuple[str, ...]


DIAGRAMS = {
    "RNN": Diagram(_rnn, 8.6, 3.9, (r"$h = \tanh(W_{ih}x + b_{ih} + W_{hh}h' + b_{hh})$",)),
    "LSTM": Diagram(
        _lstm,
        10.2,
        5.9,
        (
            r"$i,\,f,\,o = \sigma(W_i x + b_i + W_h h' + b_h)$, each with its own $W$, $b$;   "
            r"$g = \tanh(\ldots)$ likewise",
            r"$c = f * c' + i * g$        $h = o * \tanh(c)$",
        ),
    ),
    "GRU": Diagram(
        _gru,
        10.6,
        6.7,
        (
            r"$r,\,z = \sigma(W_i x + b_i + W_h h' + b_h)$, each with its own $W$ and $b$",
            r"$n = \tanh(W_{in}x + b_{in} + r * (W_{hn}h' + b_{hn}))$        $h = (1 - z) * n + z * h'$",
        ),
    ),
}
