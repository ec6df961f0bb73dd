"""Plots of the state space: states along their principal axes, and the automaton of their clusters."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch
from numpy.typing import NDArray

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

    Only the most frequent step of each cluster and symbol is drawn; frequent arrows are thicker.

    Args:
        found: the automaton; clusters are drawn in a circle, in the order of their first visit.
        title: above the plot, with the share of steps that follow the arrows.
    """
    K = len(found.centres)
    order = _by_first_visit(found)
    turn = {k: math.pi / 2 - 2 * math.pi * place / K for place, k in enumerate(order)}
    reach = max(0.45, 0.13 * K)
    at = {k: np.array([reach * math.cos(angle), reach * math.sin(angle)]) for k, angle in turn.items()}
    arrows: dict[tuple[int, int], Counter[str]] = {}
    for (before, symbol), came in found.steps.items():
        after, times = came.most_common(1)[0]
        arrows.setdefault((before, after), Counter())[symbol] += times
    most = max(each.total() for each in arrows.values())
    side = min(10.0, 3.2 + 3.2 * reach)
    figure = canvas(side, side + 0.4, f"{title}\n{found.agreement:.1%} of all steps follow these arrows")
    axes = figure.subplots()
    for (before, after), symbols in arrows.items():
        width = 0.8 + 2.2 * math.sqrt(symbols.total() / most)
        text = _named([symbol for symbol, _ in symbols.most_common()])
        if before == after:
            _loop(axes, at[before], turn[before], text, width)
        else:
            _arrow(axes, at[before], at[after], text, width)
    start = at[found.start] * (1 + 2.6 * RADIUS / reach)
    outward = found.start, found.start
    if outward in arrows:  # the loop is drawn there; enter from the side
        angle = turn[found.start] + math.pi / 2
        start = at[found.start] + 2.6 * RADIUS * np.array([math.cos(angle), math.sin(angle)])
    inward = at[found.start] - start
    tip = _edge(at[found.start], math.atan2(inward[1], inward[0]) + math.pi)
    _draw(axes, (start[0], start[1]), tip, 0, 1, SCALE)
    axes.text(start[0], start[1], "start", ha="center", va="center", fontsize=9, color=INK, backgroundcolor="white")
    for place, k in enumerate(order):
        axes.add_patch(
            Circle(tuple(at[k]), RADIUS, facecolor="white", edgecolor=HUES[k % len(HUES)], linewidth=2.2, zorder=3)
        )
        axes.text(at[k][0], at[k][1], str(k + 1), ha="center", va="center", fontsize=11, zorder=4, gid=f"state {place}")
    room = reach + 4.2 * RADIUS
    axes.set(xlim=(-room, room), ylim=(-room, room), aspect="equal")
    axes.axis("off")
    return figure


def _by_first_visit(found: Automaton) -> list[int]:
    path = [found.start, *(int(k) for labels in found.labels for k in labels)]
    return list(dict.fromkeys([*path, *range(len(found.centres))]))


def _named(symbols: Sequence[str]) -> str:
    shown = [visible(symbol) for symbol in symbols[:ON_AN_ARROW]]
    return " ".join(shown) + (f" +{len(symbols) - ON_AN_ARROW}" if len(symbols) > ON_AN_ARROW else "")


def _edge(at: NDArray[Any], angle: float) -> tuple[float, float]:
    """Return the point on the circle around a place, in this direction."""
    return float(at[0] + RADIUS * math.cos(angle)), float(at[1] + RADIUS * math.sin(angle))


def _arrow(axes: Axes, tail: NDArray[Any], head: NDArray[Any], text: str, width: float) -> None:
    """Draw a bent arrow between two circles, which leaves room for the one back."""
    along = head - tail
    angle, lean = math.atan2(along[1], along[0]), math.atan(2 * BEND)
    _draw(axes, _edge(tail, angle - lean), _edge(head, angle + math.pi + lean), BEND, width)
    middle = (tail + head) / 2 + BEND / 2 * np.array([along[1], -along[0]])
    _label(axes, middle, text)


def _loop(axes: Axes, at: NDArray[Any], angle: float, text: str, width: float) -> None:
    """Draw an arrow from a circle to itself, on its outer side."""
    _draw(axes, _edge(at, angle + 0.5), _edge(at, angle - 0.5), -1.6, width)
    _label(axes, at + 2.15 * RADIUS * np.array([math.cos(angle), math.sin(angle)]), text)


def _draw(
    axes: Axes, tail: tuple[float, float], head: tuple[float, float], bend: float, width: float, colour: str = INK
) -> None:
    style = f"-|>,head_length={0.35 + 0.1 * width},head_width={0.15 + 0.05 * width}"
    shape: dict[str, Any] = {"connectionstyle": f"arc3,rad={bend}", "arrowstyle": style, "mutation_scale": 13}
    axes.add_patch(FancyArrowPatch(tail, head, linewidth=width, color=colour, zorder=2, shrinkA=0, shrinkB=0, **shape))


def _label(axes: Axes, at: NDArray[Any], text: str) -> None:
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.2}
    style: dict[str, Any] = {"ha": "center", "va": "center", "family": "monospace", "bbox": box, "parse_math": False}
    axes.text(at[0], at[1], text, fontsize=10, zorder=5, **style)
