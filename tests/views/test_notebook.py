"""What a notebook shows of a trace: every symbol, escaped, on the colour of its bits."""

import re

import numpy as np

from tests.views.small_models import small
from unrolled.views import notebook
from unrolled.views.colours import surprise
from unrolled.views.traces import trace


def test_every_symbol_stands_on_the_colour_of_its_bits():
    read = trace(small("lstm"), "abcab")
    shown = read._repr_html_()
    found = [tuple(map(int, each)) for each in re.findall(r"background:rgb\((\d+),(\d+),(\d+)\)", shown)]
    assert found == [surprise(float(bits)) for bits in read.bits]
    assert re.findall(r">(.)</span>", shown) == list("abcab")


def test_hostile_symbols_are_escaped_and_long_traces_cut(monkeypatch):
    model = small("rnn", symbols=["<script>", '"><b>'], kind="symbols")
    monkeypatch.setattr(notebook, "MOST", 4)
    shown = trace(model, ["<script>", '"><b>'] * 3)._repr_html_()
    assert set(re.findall(r"<(\w+)", shown)) == {"p", "div", "span"}
    assert shown.count("<span") == 4
    assert shown.endswith(" ...</div>")
    assert np.isfinite(float(re.search(r"([\d.]+) bits per symbol", shown)[1]))
