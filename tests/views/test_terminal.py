"""What the terminal shows has the colour and the bar of each value."""

import numpy as np

from unrolled.views import terminal
from unrolled.views.colours import PUOR


def test_terminal_colours_each_symbol_by_its_value():
    text = terminal.coloured(["a", "\n", "<"], np.array([-2.0, 0.0, 2.0]))
    assert text.plain == "a⏎\n<"
    backgrounds = [str(span.style).split(" on ")[1] for span in text.spans]
    ends = [PUOR[k] for k in (0, 5, 10)]
    assert backgrounds == [f"rgb({','.join(map(str, each))})" for each in ends]


def test_terminal_heat_map_has_a_bar_for_each_step():
    values = np.array([[0.0, 0.5], [1.0, 0.5], [0.5, 0.5]])
    lines = terminal.heat_map("f", values, width=80).plain.splitlines()
    assert lines == ["f[0]    ▁█▅", "f[1]    ▅▅▅"]
    shorter = terminal.heat_map("c", np.random.default_rng(0).normal(size=(1000, 40)), width=60).plain.splitlines()
    assert all(len(line) <= 60 for line in shorter)
    assert len(shorter) == terminal.UNITS + 1
    assert "28 more units change less" in shorter[-1]
