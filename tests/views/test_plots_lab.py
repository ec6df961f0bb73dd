"""Plots of the lab show the numbers they were given: what is drawn is read back from the figure."""

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the extra [plot] is not installed")

from tests.views.figures import drawn
from unrolled.views import plots_lab

SIZES = [1, 2, 3, 4]


def test_share_of_models_right_is_drawn_over_sizes_with_the_training_range():
    lines = {
        "lstm": plots_lab.Series(SIZES, [1, 1, 0.5, 0], (1, 2), "LSTM"),
        "gru": plots_lab.Series(SIZES, [1, 0, 0, 0], (1, 2), "GRU"),
    }
    figure = plots_lab.right_over_sizes(lines, title="anbn")
    assert figure.get_suptitle() == "anbn"
    for name, shares in drawn(figure.axes[0]).items():
        np.testing.assert_allclose(shares, lines[name][1], atol=0.01)
    assert {text.get_text() for text in figure.legends[0].texts} == {"lstm", "gru", "trained on 1 to 2"}


def test_first_failing_sizes_are_dots_and_open_where_none_failed():
    figure = plots_lab.first_failing({"lstm": plots_lab.Row([5, 3, 11], (5, 5), 10, (1, 4), "LSTM")}, title="")
    failed, never, median, *_ = figure.axes[0].lines
    assert (failed.get_xdata().tolist(), never.get_xdata().tolist()) == ([3, 5], [11])
    assert never.get_markerfacecolor() == "none"
    assert set(median.get_xdata()) == {5}


def test_median_between_a_size_and_none_is_drawn_as_what_lies_between():
    figure = plots_lab.first_failing({"lstm": plots_lab.Row([1, 1, 11, 11], (1, 11), 10, (1, 4), "LSTM")}, title="")
    assert {*figure.axes[0].lines[2].get_xdata()} == {1, 11}  # not 6


def test_drift_draws_every_model():
    margins, right_to = np.arange(6.0).reshape(3, 2), np.full((3, 2), 7)
    figure = plots_lab.drift([0, 10, 20], {"at n = 7": margins}, right_to, 9, title="")
    above, below = figure.axes
    assert [line.get_ydata().tolist() for line in above.lines[:2]] == right_to.T.tolist()
    assert [line.get_ydata().tolist() for line in below.lines[:2]] == margins.T.tolist()
