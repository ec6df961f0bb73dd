"""Plots of gradients: against the lag, over the text, from symbol to symbol, and when they explode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from unrolled.views.colours import CELL_HUES, FAINT, HUES, SCALE
from unrolled.views.gradients import FLOOR
from unrolled.views.jacobians import Jacobians
from unrolled.views.plots import canvas, plain, symbol_axis, verbatim
from unrolled.views.symbols import visible

#: Markers that tell models of one kind of cell apart.
MARKERS = ("", "o", "s", "^", "D")


def gradient_against_lag(found: Mapping[str, Jacobians], *, title: str) -> Figure:
    """Draw |dh_T / dh_(T-k)| against the lag k, one line for each model: falling is vanishing, rising exploding.

    A kind of cell has one colour; the legend gives the largest singular value of each W_hh as a whole.

    Args:
        found: name of a model -> its Jacobians; an LSTM also gets a dashed line for |dh_T / dc_(T-k)|.
        title: above the plot.
    """
    figure = canvas(7.5, 4.4 + 0.2 * len(found), title)
    axes = figure.subplots()
    axes.axhline(1, color=FAINT, linewidth=0.8, zorder=0)
    seen: Counter[str] = Counter()
    for name, each in found.items():
        look: dict[str, Any] = {"color": CELL_HUES[each.kind], "marker": MARKERS[seen[each.kind] % len(MARKERS)]}
        look |= {"markevery": max(1, len(each.h) // 12), "markersize": 4}
        seen[each.kind] += 1
        axes.semilogy(_positive(each.h), linewidth=1.8, label=f"{verbatim(name)}, σ {each.W_hh:.2f}", **look)
        if each.c is not None:
            axes.semilogy(
                _positive(each.c), linewidth=1.5, linestyle="--", label=f"{verbatim(name)}, by its cell state c", **look
            )
    axes.set(xlabel="lag k, steps", ylabel="|dh(T) / dh(T−k)|, largest singular value")
    axes.margins(x=0.01)
    _end_at_the_floor(axes)
    plain(axes)
    title = "σ: the largest singular value of W_hh as a whole, all gates together"
    figure.legend(frameon=False, loc="outside lower left", ncols=2, fontsize=9, title=title, title_fontsize=9)
    return figure


def gradients_over_text(
    norms: Mapping[str, NDArray[Any]], symbols: Sequence[str], *, title: str, first: int = 0
) -> Figure:
    """Draw the norm of the loss's gradient with respect to each state along the text.

    Args:
        norms: name of a state, such as "dL/dh" -> norms (T,), in nats per unit.
        symbols: the T symbols.
        title: above the plot.
        first: position of the first of them in the text.
    """
    figure = canvas(9, 3.4, title)
    axes = figure.subplots()
    for hue, (name, values) in zip(HUES, norms.items(), strict=False):
        marker = "o" if len(symbols) <= 60 else ""
        axes.semilogy(_positive(values), color=hue, linewidth=1.5, marker=marker, markersize=3, label=verbatim(name))
    axes.set_ylabel("norm of the gradient, nats per unit")
    axes.margins(x=0.01)
    _end_at_the_floor(axes)
    symbol_axis(axes, symbols, np.arange(first, first + len(symbols)))
    plain(axes)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def connectivity(mattered: NDArray[Any], symbols: Sequence[str], *, title: str) -> Figure:
    """Draw how much each symbol mattered for each prediction: rows predict, columns are the symbols before.

    Args:
        mattered: |d logit / d x_s|, (T, T), zero above the diagonal.
        symbols: the T symbols; each row is named by the symbol after which it predicts.
        title: above the plot.
    """
    T = len(symbols)
    side = max(4.5, 0.165 * T + 1.6)  # every symbol has its label
    figure = canvas(side + 0.9, side, title)
    axes = figure.subplots()
    share = mattered / np.maximum(mattered.max(axis=1, keepdims=True), FLOOR)
    masked = np.ma.masked_where(np.triu(np.ones((T, T), bool), 1), np.maximum(share, 1e-3))
    image = axes.imshow(masked, cmap="viridis", norm=LogNorm(1e-3, 1), aspect="equal")
    named = [visible(symbol) for symbol in symbols]
    crowded = max(map(len, named)) > 2
    axes.set_xticks(range(T), named, fontsize=8, rotation=90 if crowded else 0, parse_math=False)
    axes.set_yticks(range(T), named, fontsize=8, parse_math=False)
    axes.tick_params(length=0)
    axes.set(xlabel="earlier symbol", ylabel="prediction after reading")
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, shrink=0.7, extend="min", label="|d logit / d x|, share of the row's largest")
    return figure


def lags_in_training(
    norms: NDArray[Any], steps: Sequence[int], *, title: str, singular: Sequence[float] = ()
) -> Figure:
    """Draw how far gradients reached back during training.

    Args:
        norms: |dL / dh_(T-k)| at each recorded step for lags 0 ... K, (N, K + 1), in nats per unit.
        steps: the N training steps.
        title: above the plot.
        singular: the largest singular value of W_hh, as a whole, at each of them, drawn below; none if empty.
    """
    rows = 2 if len(singular) else 1
    figure = canvas(8, 3.6 + 1.4 * (rows - 1), title)
    panels = figure.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=[3, 1][:rows])[:, 0]
    shown = np.maximum(norms, FLOOR)
    lowest = max(FLOOR, float(shown.max()) * 1e-8)
    edges = np.arange(shown.shape[1] + 1) - 0.5
    times = _edges(np.asarray(steps, float))
    image = panels[0].pcolormesh(times, edges, shown.T, cmap="viridis", norm=LogNorm(lowest, shown.max()))
    panels[0].set_ylabel("lag k, steps back")
    figure.colorbar(image, ax=panels[0], label="|dL / dh(T−k)|, nats per unit", pad=0.01, extend="min")
    if len(singular):
        panels[1].plot(steps, singular, color=HUES[0], linewidth=1.6)
        panels[1].axhline(1, color=FAINT, linewidth=0.8, zorder=0)
        panels[1].set_ylabel("largest singular\nvalue of W_hh", fontsize=9)
        plain(panels[1])
    panels[-1].set_xlabel("training step")
    return figure


def explosion(norms: Mapping[str, NDArray[Any]], nats: Mapping[str, NDArray[Any]], *, title: str) -> Figure:
    """Draw gradient norm and loss of runs that differ only in clipping.

    Args:
        norms: name of a run -> gradient norm before clipping at each step (N,); a run that diverged is shorter.
        nats: name of a run -> loss in nats per symbol, likewise.
        title: above the plot.
    """
    figure = canvas(9, 3.8, title)
    left, right = figure.subplots(1, 2)
    for hue, name in zip(HUES[1::-1], norms, strict=False):
        left.semilogy(np.arange(1, len(norms[name]) + 1), norms[name], color=hue, linewidth=1.1, label=verbatim(name))
        right.semilogy(np.arange(1, len(nats[name]) + 1), nats[name], color=hue, linewidth=1.1, label=verbatim(name))
    left.set(xlabel="training step", ylabel="norm of the gradient before clipping")
    right.set(xlabel="training step", ylabel="loss, nats per symbol")
    right.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    right.yaxis.set_major_formatter("{x:g}")
    right.yaxis.set_minor_formatter("")
    for axes in (left, right):
        plain(axes)
    left.legend(frameon=False, fontsize=9)
    return figure


def _positive(values: NDArray[Any]) -> NDArray[Any]:
    """Return values with NaN, which is not drawn, for exact zeros."""
    return np.where(values == 0, np.nan, values)


def _end_at_the_floor(axes: Axes) -> None:
    """End the vertical axis at the floor if a line goes below it, and say so there."""
    low, high = axes.get_ylim()
    if low >= FLOOR:
        return
    axes.set_ylim(FLOOR, max(high, 10 * FLOOR))
    axes.axhline(FLOOR, color=SCALE, linewidth=1.2, linestyle=":", zorder=0, gid="floor")
    said = f"values below {FLOOR:g} are not shown"
    axes.text(0.01, 0.015, said, transform=axes.transAxes, color=SCALE, fontsize=8, va="bottom")


def _edges(centres: NDArray[Any]) -> NDArray[Any]:
    """Return the borders halfway between neighbouring centres (N,), with one at each end, (N + 1,)."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])
