"""The report and what it is made of: escaped, self-contained, small, and with the numbers of the trace in it."""

import base64
import json
import re
import struct
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from tests.views.small_models import small
from unrolled.config.model import ModelConfig
from unrolled.lm.model import SequenceModel
from unrolled.saved.vocabulary import Vocabulary
from unrolled.views import png, svg, terminal
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


def test_png_holds_every_pixel():
    values = np.linspace(-1, 1, 21).reshape(3, 7)
    picture = png.heat_map(values, -1, 1, terminal.PUOR)
    chunks, at = {}, 8
    while at < len(picture):
        (size,) = struct.unpack(">I", picture[at : at + 4])
        name, data = picture[at + 4 : at + 8], picture[at + 8 : at + 8 + size]
        assert struct.unpack(">I", picture[at + 8 + size : at + 12 + size])[0] == zlib.crc32(name + data)
        chunks[name], at = data, at + 12 + size
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (7, 3, 8, 3, 0, 0, 0)
    pixels = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(3, 8)[:, 1:]
    palette = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)
    wanted = [terminal.colour(round((v + 1) / 2 * 63) / 63, terminal.PUOR) for v in values.ravel()]
    assert np.array_equal(palette[pixels.ravel()], wanted)


def test_png_can_be_read_by_others(tmp_path):
    image = pytest.importorskip("matplotlib.image", reason="the extra [plot] is not installed")
    (tmp_path / "a.png").write_bytes(png.heat_map(np.array([[0.0, 1.0]]), 0, 1, ((0, 0, 0), (255, 0, 51))))
    read = image.imread(tmp_path / "a.png")[..., :3]
    np.testing.assert_allclose(read, [[[0, 0, 0], [1, 0, 0.2]]], atol=1e-3)


def test_lines_of_svg_are_where_the_numbers_are():
    drawn = svg.log_lines({"h": np.array([1.0, 0.1, 0.0])}, across="lag", up="norm", floor=1e-4)
    (points,) = re.findall(r'points="([^"]*)"', drawn)
    x, y = np.array([point.split(",") for point in points.split()], float).T
    assert x[0] == svg.LEFT
    assert np.diff(x)[0] == pytest.approx(np.diff(x)[1], abs=0.2)
    height = svg.HEIGHT - svg.BELOW - svg.ABOVE
    np.testing.assert_allclose(y, svg.ABOVE + height * (np.array([0, 1, 4]) + y[0] / height * 0 + 1) / 5, atol=0.2)


def test_terminal_colours_each_symbol_by_its_value():
    text = terminal.coloured(["a", "\n", "<"], np.array([-2.0, 0.0, 2.0]))
    assert text.plain == "a⏎\n<"
    backgrounds = [str(span.style).split(" on ")[1] for span in text.spans]
    ends = [terminal.PUOR[k] for k in (0, 2, 4)]
    assert backgrounds == [f"rgb({','.join(map(str, each))})" for each in ends]


def test_terminal_heat_map_has_a_bar_for_each_step():
    values = np.array([[0.0, 0.5], [1.0, 0.5], [0.5, 0.5]])
    lines = terminal.heat_map("f", values, width=80).plain.splitlines()
    assert lines == ["f[0]    ▁█▅", "f[1]    ▅▅▅"]
    shorter = terminal.heat_map("c", np.random.default_rng(0).normal(size=(1000, 40)), width=60).plain.splitlines()
    assert all(len(line) <= 60 for line in shorter)
    assert len(shorter) == terminal.UNITS + 1
    assert "28 more units change less" in shorter[-1]
