"""Pictures show the numbers they were given: what is drawn is read back from the artists of the figure."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the extra [plot] is not installed")

from tests.views.small_models import small
from unrolled.notation import LONG_NAMES
from unrolled.views import plots, plots_gates, plots_gradients, plots_states, plots_units
from unrolled.views.jacobians import Jacobians
from unrolled.views.saturation import SIGMOIDS, Saturation
from unrolled.views.states import automaton, principal
from unrolled.views.traces import trace

METRICS = [{"step": k, "symbols": 100 * k, "bits": 5 - k / 10} for k in range(1, 8)]
HOSTILE = ["<script>", "$x_1^2$", "\n", " ", "\u0000", "中"]


def texts(figure):
    return [each.get_text() for axes in figure.axes for each in axes.texts]


def drawn(axes):
    return {line.get_label(): line.get_ydata() for line in axes.lines if not line.get_label().startswith("_")}


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_picture_is_written_in_the_format_that_its_path_asks_for(ending, tmp_path):
    plots.save(plots.learning_curve(METRICS, title="<b>$a_1$</b>"), tmp_path / f"curve.{ending}")
    head = (tmp_path / f"curve.{ending}").read_bytes()[:60]
    assert b"PNG" in head if ending == "png" else b"<?xml" in head


def test_learning_curve_draws_the_metrics():
    validated = [*METRICS, {"step": 4, "symbols": 400, "validation_bits": 4.5}]
    without, with_validation = (plots.learning_curve(metrics, title="") for metrics in (METRICS, validated))
    assert drawn(with_validation.axes[0]).keys() - drawn(without.axes[0]).keys() == {"validation"}
    assert drawn(without.axes[0])["training"].tolist() == [line["bits"] for line in METRICS]
    assert drawn(with_validation.axes[0])["validation"].tolist() == [4.5]


def test_learning_curve_without_a_training_line_is_refused():
    with pytest.raises(ValueError, match="no line with a training loss"):
        plots.learning_curve([{"symbols": 3, "validation_bits": 1.0}], title="")


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


def test_axis_of_a_thinned_trace_counts_the_symbols_of_the_text():
    figure = plots.canvas(3, 3, "")
    axes = figure.subplots()
    plots.symbol_axis(axes, ["a"] * 100, np.arange(0, 1000, 10))
    assert axes.xaxis.get_major_formatter()(50, 0) == "500"


def test_saturation_draws_a_point_for_each_unit():
    each = Saturation(np.array([0.0, 0.5, 1.0]), np.array([1.0, 0.25, 0.0]), 0.1, 0.9)
    figure = plots_gates.saturation({"z": each}, title="")
    assert figure.axes[0].collections[0].get_offsets().tolist() == [[0, 1], [0.5, 0.25], [1, 0]]
    with pytest.raises(ValueError, match="an RNN has no gates"):
        plots_gates.saturation({}, title="")


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
    assert f"{found.agreement:.1%}" in figure.get_suptitle()


def test_long_lists_of_symbols_are_cut_on_an_arrow():
    found = SimpleNamespace(centres=np.zeros((1, 2)), labels=(np.zeros(9, int),), start=0, agreement=1.0)
    found.steps = {(0, symbol): Counter({0: 1}) for symbol in "abcdefghi"}
    assert "a b c d +5" in texts(plots_states.automaton(found, title=""))
