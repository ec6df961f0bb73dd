"""Plots of gradients show the numbers they were given: what is drawn is read back from the figure."""

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the extra [plot] is not installed")

from tests.views.figures import HOSTILE, drawn
from unrolled.views import plots_gradients
from unrolled.views.jacobians import Jacobians


def test_gradient_against_lag_draws_the_norms_and_names_the_singular_value():
    lstm = Jacobians("LSTM", np.array([1, 0.5, 1e-30]), np.array([0.3, 0.2, 0.0]), {"i": 0.5, "f": 1.25})
    figure = plots_gradients.gradient_against_lag({"mine": lstm}, title="")
    lines = drawn(figure.axes[0])
    assert list(lines) == ["mine, largest singular value 1.25 (W_hf)", "mine, by its cell state c"]
    first, second = lines.values()
    assert first.tolist() == [1, 0.5, plots_gradients.FLOOR]
    assert second[:2].tolist() == [0.3, 0.2]
    assert np.isnan(second[2])
    assert figure.axes[0].get_yscale() == "log"


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
