"""Plots show the numbers they were given: what is drawn is read back from the figure."""

import errno
from functools import partial
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the extra [plot] is not installed")

from matplotlib.font_manager import findfont
from matplotlib.text import Text

from tests.saved.disk import unchanged_when_refused
from tests.views.figures import drawn
from unrolled.views import plots
from unrolled.views.jacobians import Jacobians
from unrolled.views.plots_gradients import gradient_against_lag

METRICS = [{"step": k, "symbols": 100 * k, "bits": 5 - k / 10} for k in range(1, 8)]


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


def test_axis_of_a_thinned_trace_counts_the_symbols_of_the_text():
    figure = plots.canvas(3, 3, "")
    axes = figure.subplots()
    plots.symbol_axis(axes, ["a"] * 100, np.arange(0, 1000, 10))
    assert axes.xaxis.get_major_formatter()(50, 0) == "500"


def test_letters_that_the_font_lacks_come_from_another_or_are_boxes(tmp_path):
    own, stix = (plots.get_font(findfont(name)).get_charmap() for name in ("DejaVu Sans", "STIXNonUnicode"))
    rare = min(stix.keys() - own.keys())
    names = plots.fonts_with({rare, 0x10FFFD})
    assert names
    assert plots.fonts_with([0x10FFFD]) == []
    for sign in (chr(rare), chr(0x10FFFD)):
        figure = plots.canvas(2, 1, f"a {sign}")
        plots.symbol_axis(figure.subplots(), ["a", sign], np.arange(2))
        plots.save(figure, tmp_path / "picture.png")
        taken = {name for text in figure.findobj(Text) for name in text.get_fontfamily()}
        assert ({*names} <= taken) == (sign == chr(rare))


def test_picture_leaves_the_file_as_it_was_when_the_disk_refuses(tmp_path):
    plots.save(plots.canvas(2, 1, "old"), tmp_path / "picture.png")
    save = partial(plots.save, plots.canvas(2, 1, "new"), tmp_path / "picture.png")
    unchanged_when_refused(tmp_path, "fsync", errno.ENOSPC, save)


@pytest.mark.parametrize("name", ["picture", "."])
def test_name_without_an_extension_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"no extension, which sets the format; end the name in \.png or \.svg"):
        plots.save(plots.canvas(2, 1, ""), name)
    assert not list(tmp_path.iterdir())


def test_control_characters_of_a_title_leave_the_svg_one(tmp_path):
    plots.save(plots.learning_curve(METRICS, title="runs/\x1b[31mred\x07"), tmp_path / "curve.svg")
    ElementTree.parse(tmp_path / "curve.svg")


@pytest.mark.parametrize("title", ["LSTM, r$x^$w", "a $ b", "$5 and $6_", "plain"])
def test_title_and_names_are_drawn_as_they_are(title, tmp_path):
    """What stood between two $ was read as mathematics, in a title although it was told not to."""
    figure = gradient_against_lag({title: Jacobians("GRU", np.ones(3), None, {}, 1.0)}, title=title)
    plots.save(figure, tmp_path / "a.svg")
    shown = [text._preprocess_math(text.get_text()) for text in figure.findobj(Text) if text.get_text()]
    assert sum(title in text.replace("\n", " ") for text, is_math in shown if not is_math) == 2
