"""Pictures are drawn, whatever the metrics hold, in the format that the path asks for."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the extra [plot] is not installed")

from unrolled.views.plots import UNSIGNED, gates, learning_curve

METRICS = [{"step": k, "symbols": 100 * k, "bits": 5 - k / 10} for k in range(1, 8)]
PNG = b"\x89PNG"


def test_learning_curve_without_validation_is_a_png(tmp_path):
    learning_curve(METRICS, tmp_path / "curve.png", title="no validation")
    assert (tmp_path / "curve.png").read_bytes()[:4] == PNG


def test_learning_curve_draws_one_more_line_for_validation(tmp_path):
    validated = [*METRICS, {"step": 4, "symbols": 400, "validation_bits": 4.5}]
    groups = []
    for name, metrics in (("without", METRICS), ("with", validated)):
        learning_curve(metrics, tmp_path / f"{name}.svg", title=name, yardsticks={"uniform": 6.0, "bz2": 2.5})
        tree = ElementTree.parse(tmp_path / f"{name}.svg")
        groups.append(sum(each.get("id", "").startswith("line2d") for each in tree.iter()))
    assert groups[1] > groups[0]


@pytest.mark.parametrize("names", ["h", "rznh", "ifogch"])
def test_gates_are_drawn_for_every_cell(names, tmp_path):
    rows = {name: np.full((6, 3), 0.5 if name in UNSIGNED else -4.0) for name in names}
    gates(rows, list("aaabbb"), tmp_path / "gates.png", title="gates")
    assert (tmp_path / "gates.png").read_bytes()[:4] == PNG
