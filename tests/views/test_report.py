"""The report is escaped, self-contained and small, and holds the numbers of the trace."""

import base64
import json
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from tests.views.small_models import small
from unrolled.config.model import ModelConfig
from unrolled.lm.model import SequenceModel
from unrolled.saved.vocabulary import Vocabulary
from unrolled.views.report import report
from unrolled.views.traces import trace

HOSTILE = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "&amp;", "</script>", "@text@", "\n", "\x00"]


class Page(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags, self.links, self.symbols, self.values, self.inside = [], [], [], "", None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.inside = "values" if ("id", "values") in attributes else tag
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag == "b":
            self.symbols.append("")

    def handle_data(self, data):
        if self.inside == "b":
            self.symbols[-1] += data
        if self.inside == "values":
            self.values += data

    def handle_endtag(self, tag):
        self.inside = None


@pytest.mark.parametrize("name", ["rnn", "lstm of two layers", "gru embedded"])
def test_report_holds_the_numbers_of_the_trace(name):
    model, text = small(name), "abcacb(b)\nacb"
    page = Page(report(model, text).html())
    read = trace(model, text)
    assert "".join(page.symbols) == "".join("⏎" if s == "\n" else s for s in read.symbols)
    series = json.loads(page.values)
    surprise = np.frombuffer(base64.b64decode(series[0]["values"]), np.uint8)
    np.testing.assert_allclose((surprise / 255 * 2 - 1) * read.bits.max(), read.bits, atol=read.bits.max() / 250)
    assert all(len(base64.b64decode(each["values"])) == read.T for each in series)
    assert page.tags.count("option") == len(series)
    assert page.tags.count("img") == sum(len(layer.signals) for layer in read.layers)


def test_report_needs_no_network_and_no_file():
    page = Page(report(small("lstm"), "abc").html())
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert "link" not in page.tags


def test_hostile_text_stays_text():
    model = small("gru", symbols=HOSTILE, kind="symbols")
    written = report(model, HOSTILE, title="<script>alert(2)</script>").html()
    page = Page(written)
    assert page.tags.count("script") == 2  # the data and the program, both the page's own
    assert page.tags.count("img") == 4
    assert page.symbols[:3] == HOSTILE[:3]
    assert "alert(2)" in written
    assert "<script>alert" not in written
    assert "<script>alert" not in report(model, HOSTILE)._repr_html_()


def test_report_of_2000_symbols_stays_below_3_megabytes():
    torch.manual_seed(0)
    model = SequenceModel(ModelConfig(hidden_size=256), Vocabulary("abc", "characters"))
    page = report(model, "abcab" * 400).html()
    assert len(page.encode()) < 3e6


def test_report_says_what_it_leaves_out():
    with pytest.warns(RuntimeWarning):
        page = report(small("rnn"), "abcabc" * 1000).html()
    assert "6,000 symbols, one in 2 shown" in page


def test_report_of_one_symbol_can_be_made():
    assert Page(report(small("lstm"), "a").html()).symbols == ["a"]
    with pytest.raises(ValueError, match="text is empty"):
        report(small("lstm"), "")
