"""Lines drawn as SVG are where the numbers are."""

import re

import numpy as np
import pytest

from unrolled.views import svg


def test_lines_of_svg_are_where_the_numbers_are():
    drawn = svg.log_lines({"h": np.array([1.0, 0.1, 0.0])}, across="lag", up="norm", floor=1e-4)
    (points,) = re.findall(r'points="([^"]*)"', drawn)
    x, y = np.array([point.split(",") for point in points.split()], float).T
    assert x[0] == svg.LEFT
    assert np.diff(x)[0] == pytest.approx(np.diff(x)[1], abs=0.2)
    height = svg.HEIGHT - svg.BELOW - svg.ABOVE
    np.testing.assert_allclose(y[:2], svg.ABOVE + height * np.array([1, 2]) / 5, atol=0.2)
    assert y[2] > svg.ABOVE + height  # below the floor, so outside of the window that holds the lines
    assert 'overflow="hidden"' in drawn
    assert "values below 0.0001 are not shown" in drawn
