"""What the terminal shows has the colour and the bar of each value."""

import numpy as np
import pytest
from rich.cells import cell_len

from unrolled.views import terminal
from unrolled.views.colours import PUOR, VIRIDIS


@pytest.mark.parametrize(
    ("name", "values", "scale"), [("c", [-2.0, 0.0, 2.0], PUOR), ("f", [0.0, 5 / 9, 1.0], VIRIDIS)]
)
def test_terminal_colours_each_symbol_by_its_value(name, values, scale):
    text = terminal.coloured(["a", "\n", "<"], np.array(values), name)
    assert text.plain == "a⏎\n<"
    backgrounds = [str(span.style).split(" on ")[1] for span in text.spans]
    ends = [scale[k] for k in (0, 5, len(scale) - 1)]
    assert backgrounds == [f"rgb({','.join(map(str, each))})" for each in ends]


def test_terminal_heat_map_has_a_bar_below_each_symbol():
    values = np.array([[0.0, 0.5], [1.0, 0.5], [0.5, 0.5]])
    lines = terminal.heat_map("f", values, "abc", width=80).plain.splitlines()
    assert lines == ["forget gate f, 0 ▁▂▃▄▅▆▇█ 1", "        abc", "f[0]    ▁█▅", "f[1]    ▅▅▅"]
    words = terminal.heat_map("f", values, ["the", "語", "averylongword"], width=30, units=[0]).plain.splitlines()
    assert words[1:] == [
        "        the       語",
        "f[0]    ▁▁▁▁▁▁▁▁▁ █████████",
        "        averylong",
        "f[0]    ▅▅▅▅▅▅▅▅▅",
    ]


@pytest.mark.parametrize("T", [3, 60, 1000])
def test_terminal_heat_map_stays_within_its_width(T):
    values = np.random.default_rng(0).normal(size=(T, 40))
    lines = terminal.heat_map("c", values, ["x"] * T, width=60).plain.splitlines()
    assert all(cell_len(line) <= 60 for line in lines)
    assert "28 more units change less" in lines[-1]
    if T == 1000:
        assert lines[1].split() == ["0", "1000"]
        assert len(lines) == terminal.UNITS + 3
