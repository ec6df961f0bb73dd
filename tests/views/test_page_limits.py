"""The page beside small limits, a busy server, symbols of many letters and units that never move."""

import pytest

from tests.views.browser.serving import endless, serving
from unrolled.config.model import ModelConfig
from unrolled.lm.model import SequenceModel
from unrolled.saved.vocabulary import Vocabulary

driver = pytest.importorskip("tests.views.browser.driver", reason="needs selenium", exc_type=ImportError)
pytestmark = pytest.mark.skipif(bool(driver.WHY_NOT), reason=driver.WHY_NOT or "there is a browser")

from tests.views.browser.pages import model, shown, type_at_end  # noqa: E402


def words():
    made = SequenceModel(ModelConfig(hidden_size=7), Vocabulary(["the", "cat", "sat", "mat"], "words"), framed=False)
    return endless(made)


@pytest.fixture
def open_page(window):
    """Serve models with limits, and open their page."""
    opened = []

    def opens(models, fragment="", **limits):
        served = serving(models, **limits)
        server = served.__enter__()
        opened.append(served)
        return driver.Page(window, server.address).open(fragment), server

    yield opens
    for served in opened:
        served.__exit__(None, None, None)


def written(page):
    page.until("document.querySelector('#written .note')?.textContent.includes(' s: ')")
    return page.run("return document.querySelector('#written .note').textContent")


@pytest.mark.parametrize("limits", [{"written_symbols": 50}, {"text_symbols": 40}], ids=str)
def test_page_shows_and_writes_beside_small_limits(open_page, limits):
    page, _ = open_page({"one": model("gru", 1, hidden_size=5)}, **limits)
    text = page.run("return document.querySelector('#text').value")
    assert 1 <= len(text) <= 50
    shown(page, text)
    page.find("#generate").click()
    assert written(page).startswith(f"{min(300, limits.get('written_symbols', 300))} symbols in ")


def test_unit_that_is_zero_over_the_whole_text_can_be_chosen(open_page):
    made = model("rnn", 1, hidden_size=5, nonlinearity="relu")
    with_dead = made.rnn.bias_ih_l0.detach()
    with_dead[2] -= 1e4
    page, _ = open_page({"relu": made}, "#text=ab%20cab&a.array=h&a.units=2")
    shown(page, "ab cab")
    assert "unit 2" in page.find(".pane .reading h3").text
    numbers = {row.find_element("css selector", "button").text: row.text for row in page.all(".pane .largest li")}
    assert "≤" not in numbers["unit 2"]
    assert "-0" not in " ".join(numbers.values())
    type_at_end(page, "b")
    shown(page, "ab cabb")
    assert page.log() == []


@pytest.mark.parametrize("kind", ["words", "bytes"])
def test_symbols_are_counted_and_not_letters(open_page, kind):
    made = (
        words()
        if kind == "words"
        else endless(SequenceModel(ModelConfig(hidden_size=5), Vocabulary.build("thé", kind)))
    )
    page, _ = open_page({"one": made}, "#text=the&max_length=40&symbols_per_second=0")
    page.find("#generate").click()
    assert written(page).startswith("40 symbols in ")


def test_place_in_the_text_is_the_same_in_two_models_of_other_symbols(open_page):
    text = "the cat sat the mat"
    page, _ = open_page(
        {"chars": model("gru", 1, hidden_size=5), "words": words()},
        f"#text={text.replace(' ', '%20')}&a=chars&b=words&at=7",
    )
    shown(page, text)
    shown(page, text, 1)
    places = [each.text for each in page.all(".pane .largest .after")]
    assert places == ["after “t”", "after “ cat”"]
    page.run("document.querySelectorAll('.pane')[1].querySelectorAll('.reading .text span')[2].click()")
    page.until("document.querySelectorAll('.pane .largest .after')[1].textContent === 'after “ sat”'")
    script = """return [...document.querySelectorAll('.pane')].map((pane) =>
        [...pane.querySelectorAll('.reading .text span')].findIndex((span) => span.classList.contains('here')))"""
    assert page.run(script) == [10, 2]


def test_marks_of_direction_are_shown_and_not_obeyed(open_page):
    page, _ = open_page({"one": model("gru", 1, hidden_size=5)}, "#text=ab%E2%80%AEab")
    shown(page, "ab\u202eab")
    spans = [each.text for each in page.all(".pane .reading .text span")]
    assert spans == ["a", "b", "U+202E", "a", "b"]


def test_busy_server_is_asked_again(open_page):
    page, server = open_page({"one": model("gru", 1, hidden_size=5)}, "#text=ab", requests=2)
    held = [server.stream("one", max_length=1000, symbols_per_second=1) for _ in range(2)]
    for answer, _ in held:
        assert answer.status in (200, 429)
    type_at_end(page, "c")
    for _, connection in held:
        connection.close()
    shown(page, "abc")
    assert page.run("return document.querySelector('.pane .trouble').textContent") == ""
