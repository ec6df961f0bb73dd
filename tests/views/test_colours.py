"""Colours stand in one file, the page repeats them, and they are those that plots call viridis and PuOr."""

import re
from pathlib import Path

import numpy as np
import pytest

from unrolled import views
from unrolled.views import colours

PACKAGE = Path(views.__file__).parent
WEBPAGE = PACKAGE.parent / "webpage"
SCRIPT = (WEBPAGE / "static" / "colours.js").read_text("utf-8")


def of_the_page(name):
    """A list of colours in colours.js; of one with two themes, the light."""
    return re.findall(r"#[0-9a-f]{6}", re.search(rf"const {name} = [^\[]*\[([^\]]*)\]", SCRIPT)[1])


def test_page_has_the_same_colours():
    assert tuple(map(colours.rgb, of_the_page("VIRIDIS"))) == colours.VIRIDIS
    assert tuple(map(colours.rgb, of_the_page("PUOR"))) == colours.PUOR
    assert of_the_page("HUES") == list(colours.HUES[:6])


@pytest.mark.parametrize(("name", "scale"), [("viridis", colours.VIRIDIS), ("PuOr", colours.PUOR)])
def test_scales_are_those_of_matplotlib(name, scale):
    maps = pytest.importorskip("matplotlib", reason="the extra [plot] is not installed").colormaps
    np.testing.assert_allclose(
        scale, maps[name](np.linspace(0, 1, len(scale)))[:, :3] * 255, atol=2
    )  # theirs is a table of 256 steps


def test_no_other_file_names_a_colour():
    everything = [*PACKAGE.rglob("*"), *WEBPAGE.rglob("*")]
    files_of_pictures = [p for p in everything if p.suffix in (".py", ".js") and not p.name.startswith("uPlot")]
    assert len(files_of_pictures) > 30
    named = {p.name for p in files_of_pictures if re.search(r"[\"']#[0-9a-fA-F]{3,8}[\"']", p.read_text("utf-8"))}
    assert named == {"colours.py", "colours.js"}


def test_page_has_the_same_colours_of_surprise():
    assert tuple(map(colours.rgb, of_the_page("SURPRISE"))) == colours.SURPRISE


def variables(style, theme):
    """The colours of a style sheet's variables in a theme, 0 light and 1 dark."""
    pairs = re.findall(r"--([\w-]+): light-dark\((#\w+), (#\w+)\)", style)
    if pairs:
        return {name: colours.rgb(pair[theme]) for name, *pair in pairs}
    of_theme = re.findall(r":root \{([^}]*)\}", style)[theme]
    whole = {
        name: code if len(code) == 7 else "#" + "".join(2 * c for c in code[1:])
        for name, code in re.findall(r"--([\w-]+): (#\w+)", of_theme)
    }
    return {name: colours.rgb(code) for name, code in whole.items()}


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_writing_on_every_page_has_a_contrast_of_four_and_a_half(theme):
    page = variables((WEBPAGE / "static" / "style.css").read_text("utf-8"), theme)
    for ground in ("ground", "card"):
        for ink in ("ink", "soft", "accent", "trouble"):
            assert colours.contrast(page[ink], page[ground]) >= 4.5, (ink, ground)
    assert colours.contrast(page["on-accent"], page["accent"]) >= 4.5
    report = variables((PACKAGE / "report.html").read_text("utf-8"), theme)
    for ink in ("ink", "quiet"):
        assert colours.contrast(report[ink], report["paper"]) >= 4.5


def test_writing_and_lines_of_plots_stand_out_from_paper():
    paper = colours.rgb(colours.PAPER)
    assert all(colours.contrast(colours.rgb(each), paper) >= 4.5 for each in (colours.INK, colours.SCALE))
    assert [each for each in colours.HUES if colours.contrast(colours.rgb(each), paper) < 3] == []


def test_nothing_is_written_in_a_faint_style_of_the_terminal():
    """Dim text has a contrast of two to three on a light background."""
    sources = [p for p in PACKAGE.parent.rglob("*.py") if re.search(r"[\"']dim[\"']", p.read_text("utf-8"))]
    assert sources == []


def test_ink_has_a_contrast_of_four_and_a_half_on_every_grey():
    def luminance(v):
        return v / 255 / 12.92 if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4

    for grey in range(256):
        ground, written = luminance(grey), {"black": 0.0, "white": 1.0}[colours.ink((grey, grey, grey))]
        assert (max(ground, written) + 0.05) / (min(ground, written) + 0.05) >= 4.5
