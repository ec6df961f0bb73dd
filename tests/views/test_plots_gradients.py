"""Plots of gradients show the numbers they were given: what is drawn is read back from the figure."""

from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the extra [plot] is not installed")

from tests.views.figures import HOSTILE, drawn, texts
from tests.views.small_models import small
from unrolled.views import plots_gradients
from unrolled.views.colours import CELL_HUES
from unrolled.views.gradients import FLOOR
from unrolled.views.jacobians import Jacobians, jacobians


def test_gradient_against_lag_draws_the_norms_down_to_a_floor_that_it_marks():
    lstm = Jacobians("LSTM", np.array([1, 0.5, 1e-30]), np.array([0.3, 0.2, 0.0]), {"i": 0.5, "f": 1.25}, 1.5)
    figure = plots_gradients.gradient_against_lag({"mine": lstm}, title="")
    lines = drawn(figure.axes[0])
    assert list(lines)[:2] == ["mine, σ 1.50", "mine, by its cell state c"]
    first, second = list(lines.values())[:2]
    assert first.tolist() == [1, 0.5, 1e-30]  # it leaves the picture below, and is not drawn as a flat line
    assert figure.axes[0].get_ylim()[0] == FLOOR
    assert "values below 1e-12 are not shown" in texts(figure)
    assert second[:2].tolist() == [0.3, 0.2]
    assert np.isnan(second[2])
    assert figure.axes[0].get_yscale() == "log"


def test_each_cell_has_one_colour_and_the_singular_value_one_meaning():
    found = {kind: jacobians(small(kind), "abcab") for kind in ("gru", "rnn", "lstm")}
    figure = plots_gradients.gradient_against_lag(found | {"second gru": found["gru"]}, title="")
    colours = {line.get_label().split(",")[0]: line.get_color() for line in figure.axes[0].lines}
    assert {name: colours[name] for name in found} == {
        "gru": CELL_HUES["GRU"], "rnn": CELL_HUES["RNN_TANH"], "lstm": CELL_HUES["LSTM"],
    }  # fmt: skip
    assert colours["second gru"] == colours["gru"]
    for kind, each in found.items():
        W_hh = small(kind).rnn.weights()[0].W_hh.detach().numpy()
        assert each.W_hh == pytest.approx(np.linalg.svd(W_hh)[1][0])
        assert f"{kind}, σ {each.W_hh:.2f}" in drawn(figure.axes[0])


def test_gradients_above_the_floor_have_an_axis_of_their_own():
    figure = plots_gradients.gradients_over_text({"|dL/dh|": np.array([1e-3, 1.0])}, "ab", title="")
    assert figure.axes[0].get_ylim()[0] > FLOOR
    assert not [text for text in texts(figure) if "not shown" in text]


def test_connectivity_labels_every_symbol_without_overlaps():
    symbols = list("the quick brown fox jumps over the lazy dog") * 2
    figure = plots_gradients.connectivity(np.tril(np.ones((len(symbols),) * 2)), symbols, title="")
    figure.draw_without_rendering()
    for labels in (figure.axes[0].get_xticklabels(), figure.axes[0].get_yticklabels()):
        assert [label.get_text() for label in labels] == ["␣" if symbol == " " else symbol for symbol in symbols]
        boxes = [label.get_window_extent() for label in labels]
        assert not [k for k, (one, other) in enumerate(pairwise(boxes)) if one.overlaps(other)]


def test_connectivity_draws_shares_below_the_diagonal_only():
    mattered = np.tril(np.array([[2.0, 0, 0], [1.0, 4.0, 0], [5.0, 1.0, 10.0]]))
    figure = plots_gradients.connectivity(mattered, HOSTILE[:3], title="")
    shown = figure.axes[0].images[0].get_array()
    assert shown.filled(-1).tolist() == [[1, -1, -1], [0.25, 1, -1], [0.5, 0.1, 1]]


def test_lags_in_training_draw_each_recorded_step():
    norms = np.array([[1.0, 0.5], [1.0, 0.25], [1.0, 2.0]])
    figure = plots_gradients.lags_in_training(norms, [10, 20, 40], title="", singular=[0.9, 1.0, 1.1])
    mesh = figure.axes[0].collections[0]
    assert np.array_equal(mesh.get_array().reshape(2, 3), norms.T)
    assert figure.axes[1].lines[0].get_ydata().tolist() == [0.9, 1.0, 1.1]


def test_explosion_draws_both_runs():
    norms = {"clipped": np.array([1.0, 2.0]), "not clipped": np.array([1.0])}
    figure = plots_gradients.explosion(norms, norms, title="")
    assert {name: line.tolist() for name, line in drawn(figure.axes[0]).items()} == {
        "clipped": [1.0, 2.0],
        "not clipped": [1.0],
    }
