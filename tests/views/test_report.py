"""The report is escaped, self-contained and small, and holds the numbers of the trace."""

import base64
import json
import re
import time
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from tests.views.small_models import small
from unrolled.config.model import ModelConfig
from unrolled.lm.model import SequenceModel
from unrolled.notation import LONG_NAMES
from unrolled.saved.vocabulary import Vocabulary
from unrolled.views.colours import SIGMOIDS, SURPRISING, VIRIDIS, colour
from unrolled.views.report import report
from unrolled.views.traces import trace

driver = pytest.importorskip("tests.views.browser.driver", reason="needs selenium", exc_type=ImportError)
HOSTILE = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "&amp;", "</script>", "@text@", "\n", "\x00"]


class Page(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags, self.links, self.symbols, self.data, self.inside = [], [], [], "", None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.inside = "data" if ("id", "data") in attributes else tag
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag == "b":
            self.symbols.append("")

    def handle_data(self, data):
        if self.inside == "b":
            self.symbols[-1] += data
        if self.inside == "data":
            self.data += data

    def handle_endtag(self, tag):
        self.inside = None


@pytest.mark.parametrize("name", ["rnn", "lstm of two layers", "gru embedded"])
def test_report_holds_the_numbers_of_the_trace(name):
    model, text = small(name), "abcacb(b)\nacb"
    page = Page(report(model, text).html())
    read = trace(model, text)
    assert "".join(page.symbols) == "".join("⏎" if s == "\n" else s for s in read.symbols)
    data = json.loads(page.data)
    surprise = np.frombuffer(base64.b64decode(data["lines"][0]["bytes"]), np.uint8)
    np.testing.assert_allclose(surprise / 255 * SURPRISING, np.minimum(read.bits, SURPRISING), atol=SURPRISING / 250)
    assert data["lines"][0]["from"] == 0  # no part of the scale that cannot occur
    arrays = iter(data["arrays"])
    for layer in read.layers:
        for name, values in layer.signals.items():
            each = next(arrays)
            low, high = each["from"], each["to"]
            stored = np.frombuffer(zlib.decompress(base64.b64decode(each["deflated"])), np.uint8).reshape(-1, read.T)
            wanted = np.clip(values.T, low, high)  # every unit of every gate and state
            np.testing.assert_allclose(low + stored / 255 * (high - low), wanted, atol=(high - low) / 500)
            assert LONG_NAMES[name] in each["name"]
            assert each["scale"] == ("above" if name in SIGMOIDS else "signed")
    assert not list(arrays)


@pytest.mark.skipif(bool(driver.WHY_NOT), reason=driver.WHY_NOT or "there is a browser")
def test_report_colours_the_text_by_any_unit_and_reads_the_map_under_the_pointer(window, tmp_path):
    model, text = small("gru"), "abcacb"
    (tmp_path / "report.html").write_text(report(model, text).html(), "utf-8")
    window.get((tmp_path / "report.html").as_uri())
    run = window.execute_script
    for _ in range(100):
        if run("return document.documentElement.dataset.ready"):
            break
        time.sleep(0.05)
    run("""
        const by = document.getElementById("by");
        by.value = [...by.options].find((o) => o.text === "a unit of the update gate z").value;
        document.querySelector("#unit input").value = 6;
        by.dispatchEvent(new Event("change"));
    """)
    painted = run("return [...document.querySelectorAll('#text b')].map((b) => b.style.background)")
    z = trace(model, text).values("z")
    for said, value in zip(painted, z[:, 6], strict=True):
        found = np.array(re.findall(r"\d+", said), int)
        np.testing.assert_allclose(found, colour(float(value), VIRIDIS), atol=3)
    said = run("""
        const canvas = document.querySelectorAll("canvas")[1], box = canvas.getBoundingClientRect();
        const at = { bubbles: true, clientX: box.left + 34 + 2.5 * 26, clientY: box.top + 3.5 * 96 / 7 };
        canvas.dispatchEvent(new MouseEvent("mousemove", at));
        return document.querySelectorAll(".readout")[1].textContent;
    """)
    assert said == f"z0[3] after symbol 3, “c”: {z[2, 3]:.2f}"


def test_report_needs_no_network_and_no_file():
    page = Page(report(small("lstm"), "abc").html())
    assert page.links == []
    assert "link" not in page.tags


def test_hostile_text_stays_text():
    model = small("gru", symbols=HOSTILE, kind="symbols")
    written = report(model, HOSTILE, title="<script>alert(2)</script>").html()
    page = Page(written)
    assert page.tags.count("script") == 2  # the data and the program, both the page's own
    assert page.tags.count("img") == 0
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
