"""Plots of states show the numbers they were given: what is drawn is read back from the figure."""

from collections import Counter
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the extra [plot] is not installed")

from tests.views.figures import texts
from tests.views.small_models import small
from unrolled.views import plots_states
from unrolled.views.states import automaton, principal
from unrolled.views.traces import trace


def test_state_space_draws_every_state_once_with_its_cluster():
    states = np.random.default_rng(0).normal(size=(11, 5))
    labels, axes_of = np.arange(11) % 3, principal(states)
    figure = plots_states.state_space(states, labels, ["a"] * 11, axes_of, title="")
    for k, group in enumerate(figure.axes[0].collections):
        np.testing.assert_allclose(group.get_offsets(), axes_of(states)[labels == k])
    assert len(figure.axes[0].texts) == 11


def test_state_space_of_one_unit_has_one_axis():
    states = np.arange(4.0)[:, None]
    figure = plots_states.state_space(states, np.zeros(4, int), list("abcd"), principal(states), title="")
    assert not figure.axes[0].collections[0].get_offsets()[:, 1].any()


def test_automaton_draws_an_arrow_for_each_pair_of_clusters():
    found = automaton([trace(small("rnn"), "abcabcaabb")], 3)
    figure = plots_states.automaton(found, title="")
    pairs = {(before, came.most_common(1)[0][0]) for (before, _), came in found.steps.items()}
    arrows = [patch for patch in figure.axes[0].patches if type(patch).__name__ == "FancyArrowPatch"]
    assert len(arrows) == len(pairs) + 1  # one more comes from "start"
    assert {"start", "1", "2", "3"} <= set(texts(figure))
    assert f"{100 * found.agreement:.1f} %" in figure.get_suptitle()


@pytest.mark.parametrize("K", [1, 2, 3, 6, 9])
def test_automaton_has_no_state_without_an_arrow_and_no_label_over_another(K):
    reads = [trace(small("lstm", seed=seed), "abcacbbacab" * 2) for seed in range(3)]
    found = automaton(reads, K)
    figure = plots_states.automaton(found, title="")
    figure.draw_without_rendering()
    (axes,) = figure.axes
    arrows = [patch for patch in axes.patches if type(patch).__name__ == "FancyArrowPatch"]
    heads = [arrow._posA_posB[1] for arrow in arrows]
    circles = [patch for patch in axes.patches if type(patch).__name__ == "Circle"]
    assert len(circles) == len(found.centres)
    for circle in circles:
        assert any(np.hypot(*np.subtract(head, circle.center)) < 1.01 * plots_states.RADIUS for head in heads)
    labels = [text.get_window_extent() for text in axes.texts if not (text.get_gid() or "").startswith("state")]
    assert [pair for pair in combinations(labels, 2) if pair[0].overlaps(pair[1])] == []
    states = [circle.get_window_extent() for circle in circles]
    assert [label for label in labels for state in states if label.overlaps(state)] == []


def test_long_lists_of_symbols_are_cut_on_an_arrow():
    found = SimpleNamespace(centres=np.zeros((1, 2)), labels=(np.zeros(9, int),), start=0, agreement=1.0)
    found.steps = {(0, symbol): Counter({0: 1}) for symbol in "abcdefghi"}
    assert "a b c d +5" in texts(plots_states.automaton(found, title=""))
