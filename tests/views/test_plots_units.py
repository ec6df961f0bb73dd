"""Plots of units show the numbers they were given: what is drawn is read back from the figure."""

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the extra [plot] is not installed")

from tests.views.figures import HOSTILE, drawn
from unrolled.views import plots, plots_units


def test_unit_lines_draw_each_unit_and_what_it_is_compared_with():
    values = {"c0[1]": np.array([1.0, 2.0, 1.5]), "c0[2]": np.array([0.0, -1.0, 3.0])}
    figure = plots_units.unit_lines(values, "abc", title="", background={"depth": np.array([1, 0, 1])})
    for name, line in drawn(figure.axes[0]).items():
        assert np.array_equal(line, values[name])
    assert drawn(figure.axes[1])["depth"].tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match="9 units; a picture of lines shows 1 to 8"):
        plots_units.unit_lines({str(k): np.zeros(3) for k in range(9)}, "abc", title="")


def test_coloured_text_has_the_value_of_each_symbol_below_it(tmp_path):
    symbols, values = [*"ab\nc", *HOSTILE], np.linspace(-1, 2, 10)
    figure = plots_units.coloured_text(symbols, values, title="$")
    grid = figure.axes[0].images[0].get_array()
    written = figure.axes[0].texts
    assert len(written) == len(symbols)
    for each, value in zip(written, values, strict=True):
        column, line = each.get_position()
        assert grid[line, column] == value
    assert [each.get_position()[1] for each in written[:5]] == [0, 0, 0, 1, 1]
    plots.save(figure, tmp_path / "text.svg")
    assert "<script>" not in (tmp_path / "text.svg").read_text()


def test_coloured_text_says_when_it_is_cut():
    figure = plots_units.coloured_text(["a"] * 2001, np.zeros(2001), title="unit 3")
    assert figure.get_suptitle() == "unit 3 (the first 2,000 of 2,001 symbols)"
    assert len(figure.axes[0].texts) == 2000
