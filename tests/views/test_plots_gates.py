"""Plots of gates show the numbers they were given: what is drawn is read back from the figure."""

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the extra [plot] is not installed")

from tests.views.small_models import small
from unrolled.notation import LONG_NAMES
from unrolled.views import plots, plots_gates
from unrolled.views.colours import SIGMOIDS
from unrolled.views.saturation import Saturation
from unrolled.views.traces import trace


@pytest.mark.parametrize("T", [3, 400])
@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_gates_are_drawn_one_panel_each_with_their_values(name, T):
    read = trace(small(name), "abc" * T)
    figure = plots_gates.gates(read.layers[-1].signals, read.symbols, title="gates", steps=read.steps)
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in panels] == [LONG_NAMES[each] for each in read.layers[-1].signals]
    for axes, (signal, values) in zip(panels, read.layers[-1].signals.items(), strict=True):
        assert np.array_equal(axes.images[0].get_array(), values.T)
        assert axes.images[0].get_clim()[0] == (0 if signal in SIGMOIDS else -max(1, np.abs(values).max()))
    labels = [each.get_text() for each in panels[-1].get_xticklabels()]
    assert (labels == list(read.symbols)) == (T == 3)


def test_saturation_draws_a_point_for_each_unit():
    each = Saturation(np.array([0.0, 0.5, 1.0]), np.array([1.0, 0.25, 0.0]), 0.1, 0.9)
    figure = plots_gates.saturation({"z": each}, title="")
    assert figure.axes[0].collections[0].get_offsets().tolist() == [[0, 1], [0.5, 0.25], [1, 0]]
    with pytest.raises(ValueError, match="an RNN has no gates"):
        plots_gates.saturation({}, title="")


def test_title_wider_than_its_figure_is_broken_into_lines(tmp_path):
    read = trace(small("rnn"), "ab")
    title = "A title with more words than a figure of one gate is wide"
    figure = plots_gates.gates(read.layers[0].signals, read.symbols, title=title)
    plots.save(figure, tmp_path / "narrow.png")
    drawn = figure._suptitle.get_window_extent()
    assert figure.bbox.x0 <= drawn.x0
    assert drawn.x1 <= figure.bbox.x1
    assert drawn.y1 <= figure.bbox.y1
