"""Plots of the state space: states along their principal axes, and the automaton of their clusters."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch
from numpy.typing import NDArray
from rich.cells import cell_len

from unrolled.views.colours import FAINT, HUES, INK, SCALE
from unrolled.views.plots import canvas, plain
from unrolled.views.states import Automaton, Principal
from unrolled.views.symbols import visible

#: The most states that get their symbol written beside them.
NAMED = 60
#: The most symbols named on one arrow.
ON_AN_ARROW = 4
#: Radius of a state's circle, and bend of the arrows between two.
RADIUS, BEND = 0.16, 0.18
#: Height of a letter on an arrow, in inches, and the shares of its way at which its label may stand, the best first.
LETTER, PLACES = 10 / 72, (0.5, 0.4, 0.6, 0.3, 0.7, 0.22, 0.78)


def state_space(
    states: NDArray[Any], labels: NDArray[Any], symbols: Sequence[str], axes_of: Principal, *, title: str
) -> Figure:
    """Draw states along their first two principal axes, coloured and shaped by cluster.

    Args:
        states: (N, H); if they are few, a thin line joins consecutive ones.
        labels: cluster of each, (N,).
        symbols: the symbol read before each, N of them.
        axes_of: the principal axes.
        title: above the plot.
    """
    places = axes_of(states)
    if places.shape[1] == 1:  # a network of one unit
        places = np.column_stack([places, np.zeros(len(places))])
    share = [*axes_of.share, 0.0][:2]
    figure = canvas(6.4, 5.2, title)
    axes = figure.subplots()
    if len(places) <= NAMED:
        axes.plot(*places.T, color=FAINT, linewidth=0.7, zorder=1)
    for k in range(int(labels.max()) + 1):
        x, y = places[labels == k].T
        look: dict[str, Any] = {"color": HUES[k % len(HUES)], "marker": "osD^vP*X"[k // len(HUES) % 8]}
        axes.scatter(x, y, s=34, alpha=0.75, zorder=2, linewidth=0, label=f"cluster {k + 1}", **look)
    if len(places) <= NAMED:
        for place, symbol in zip(places, symbols, strict=True):
            axes.annotate(
                visible(symbol), place, xytext=(4, 4), textcoords="offset points", fontsize=8, parse_math=False
            )
    axes.set(xlabel=f"first principal axis ({share[0]:.0%} of the variance)")
    axes.set(ylabel=f"second principal axis ({share[1]:.0%})")
    plain(axes)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
    return figure


def automaton(found: Automaton, *, title: str) -> Figure:
    """Draw clusters as the states of an automaton, with an arrow for every symbol that leads from one to another.

    Only the most frequent step of each cluster and symbol is drawn, and frequent arrows are thicker; a state to which
    none of them leads gets its most frequent one, dashed.

    Args:
        found: the automaton; clusters are drawn in a circle, in the order of their first visit.
        title: above the plot, with the share of steps that follow the arrows.
    """
    K = len(found.centres)
    order = _by_first_visit(found)
    reach = 0.0 if K == 1 else max(0.55, 0.2 * K)
    room = reach + 4.2 * RADIUS
    side = min(12.0, 2.6 + 2.6 * reach)
    figure = canvas(side, side + 0.4, f"{title}\n{100 * found.agreement:.1f} % of all steps follow the solid arrows")
    axes = figure.subplots()
    axes.set(xlim=(-room, room), ylim=(-room, room), aspect="equal")
    axes.axis("off")
    turn = {k: math.pi / 2 - 2 * math.pi * place / K for place, k in enumerate(order)}
    at = {k: np.array([reach * math.cos(angle), reach * math.sin(angle)]) for k, angle in turn.items()}
    arrows, rare = _arrows(found)
    most = max(each.total() for each in arrows.values())
    labels = _Labels(axes, inch=2 * room / (side - 0.3), taken=[*at.values()])
    for ends, symbols in (arrows | rare).items():
        before, after = ends
        look: dict[str, Any] = {"width": 0.8 + 2.2 * math.sqrt(symbols.total() / most), "dashed": ends in rare}
        path = _loop(at[before], turn[before]) if before == after else _arc(at[before], at[after])
        path.draw(axes, **look)
        labels.wanted.append((path, _named([symbol for symbol, _ in symbols.most_common()])))
    angle = turn[found.start] + (math.pi / 2 if (found.start, found.start) in arrows else 0)  # a loop takes the outside
    start = at[found.start] + 2.6 * RADIUS * np.array([math.cos(angle), math.sin(angle)])
    _Path(start, np.array(_edge(at[found.start], angle)), 0).draw(axes, width=1, colour=SCALE)
    axes.text(start[0], start[1], "start", ha="center", va="center", fontsize=9, color=INK, backgroundcolor="white")
    labels.taken.append(start)
    labels.place()
    for place, k in enumerate(order):
        axes.add_patch(
            Circle(tuple(at[k]), RADIUS, facecolor="white", edgecolor=HUES[k % len(HUES)], linewidth=2.2, zorder=3)
        )
        axes.text(at[k][0], at[k][1], str(k + 1), ha="center", va="center", fontsize=11, zorder=4, gid=f"state {place}")
    return figure


def _arrows(found: Automaton) -> tuple[dict[tuple[int, int], Counter[str]], dict[tuple[int, int], Counter[str]]]:
    """Return the symbols of each arrow between two clusters: the most frequent steps, and those to states else lost."""
    arrows: dict[tuple[int, int], Counter[str]] = {}
    others: dict[int, Counter[tuple[int, str]]] = {}
    for (before, symbol), came in found.steps.items():
        (likely, times), *less = came.most_common()
        arrows.setdefault((before, likely), Counter())[symbol] += times
        for after, count in less:
            others.setdefault(after, Counter())[before, symbol] += count
    reached = {found.start, *(after for before, after in arrows if before != after)}
    rare: dict[tuple[int, int], Counter[str]] = {}
    for after, steps in others.items():
        coming = [(ends, count) for ends, count in steps.most_common() if ends[0] != after]
        if after not in reached and coming:
            (before, symbol), count = coming[0]
            rare[before, after] = Counter({symbol: count})
    return arrows, rare


def _by_first_visit(found: Automaton) -> list[int]:
    path = [found.start, *(int(k) for labels in found.labels for k in labels)]
    return list(dict.fromkeys([*path, *range(len(found.centres))]))


def _named(symbols: Sequence[str]) -> str:
    shown = [visible(symbol) for symbol in symbols[:ON_AN_ARROW]]
    return " ".join(shown) + (f" +{len(symbols) - ON_AN_ARROW}" if len(symbols) > ON_AN_ARROW else "")


def _edge(at: NDArray[Any], angle: float) -> tuple[float, float]:
    """Return the point on the circle around a place, in this direction."""
    return float(at[0] + RADIUS * math.cos(angle)), float(at[1] + RADIUS * math.sin(angle))


@dataclass(frozen=True)
class _Path:
    """An arrow along a quadratic curve, as matplotlib's arc3 bends it."""

    tail: NDArray[Any]
    head: NDArray[Any]
    bend: float
    outward: NDArray[Any] | None = None  #: of a loop: the direction in which its label stands

    def point(self, share: float) -> NDArray[Any]:
        """Return the point at a share of the way."""
        along = self.head - self.tail
        corner = (self.tail + self.head) / 2 + self.bend * np.array([along[1], -along[0]])
        place: NDArray[Any] = (1 - share) ** 2 * self.tail + 2 * share * (1 - share) * corner + share**2 * self.head
        return place

    def draw(self, axes: Axes, *, width: float, dashed: bool = False, colour: str = INK) -> None:
        style = f"-|>,head_length={0.35 + 0.1 * width},head_width={0.15 + 0.05 * width}"
        shape: dict[str, Any] = {"connectionstyle": f"arc3,rad={self.bend}", "arrowstyle": style, "mutation_scale": 13}
        shape |= {"linewidth": width, "linestyle": "--" if dashed else "-", "color": colour}
        axes.add_patch(FancyArrowPatch(tuple(self.tail), tuple(self.head), zorder=2, shrinkA=0, shrinkB=0, **shape))


def _arc(tail: NDArray[Any], head: NDArray[Any]) -> _Path:
    """Return a bent arrow between two circles, which leaves room for the one back."""
    along = head - tail
    angle, lean = math.atan2(along[1], along[0]), math.atan(2 * BEND)
    return _Path(np.array(_edge(tail, angle - lean)), np.array(_edge(head, angle + math.pi + lean)), BEND)


def _loop(at: NDArray[Any], angle: float) -> _Path:
    """Return an arrow from a circle to itself, on its outer side."""
    outward = np.array([math.cos(angle), math.sin(angle)])
    return _Path(np.array(_edge(at, angle + 0.5)), np.array(_edge(at, angle - 0.5)), -1.6, outward)


@dataclass
class _Labels:
    """The labels of arrows, each at a place on its arrow where it hides neither a state nor another label.

    Args:
        axes: to write on.
        inch: in the units of the axes.
        taken: places of circles and other writing.
    """

    axes: Axes
    inch: float
    taken: list[NDArray[Any]]
    wanted: list[tuple[_Path, str]] = field(default_factory=list)

    def place(self) -> None:
        """Write every label."""
        put: list[tuple[NDArray[Any], NDArray[Any]]] = [(each, np.full(2, RADIUS)) for each in self.taken]
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.2}
        style: dict[str, Any] = {
            "ha": "center",
            "va": "center",
            "family": "monospace",
            "bbox": box,
            "parse_math": False,
        }
        for path, text in sorted(
            self.wanted, key=lambda each: -len(each[1])
        ):  # the longest first: it has the fewest places
            half = self.inch * np.array([0.5 * 0.6 * LETTER * cell_len(text) + 0.04, 0.6 * LETTER + 0.03])
            if path.outward is None:
                places = [path.point(share) for share in PLACES]
            else:
                places = [path.point(0.5) + path.outward * (half * np.abs(path.outward)).sum()]
            at = max(places, key=lambda here: min(min(_apart(here, half, *other) for other in put), 0.0))
            self.axes.text(at[0], at[1], text, fontsize=10, zorder=5, **style)
            put.append((at, half))


def _apart(one: NDArray[Any], half: NDArray[Any], other: NDArray[Any], other_half: NDArray[Any]) -> float:
    """Return how far apart two boxes are, each a centre and half its sides; negative if they overlap."""
    return float((np.abs(one - other) - half - other_half).max())
