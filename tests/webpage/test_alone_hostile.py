"""The page from disk: hostile symbols are text, its policy holds, and its console refuses what a server would."""

import re

import pytest
import torch

driver = pytest.importorskip("tests.views.browser.driver", reason="needs selenium", exc_type=ImportError)
pytestmark = pytest.mark.skipif(bool(driver.WHY_NOT), reason=driver.WHY_NOT or "there is a browser")

from tests.views.browser.pages import HOSTILE_WORD  # noqa: E402
from tests.views.browser.serving import endless  # noqa: E402
from tests.webpage.alone import opened  # noqa: E402
from unrolled.config.model import ModelConfig  # noqa: E402
from unrolled.lm.model import SequenceModel  # noqa: E402
from unrolled.saved.vocabulary import Vocabulary  # noqa: E402

#: What a page must show as text, and in no other way.
HOSTILE = [
    "</script><script>document.title='gone'</script>",
    "<!--<script>",
    "]]>",
    HOSTILE_WORD,
    "\u202eevil\u202c",
    "\u2028\u2029",
    "\x00\x01\x1b[2J",
    "\"'`${document.title='gone'}\\",
    "__proto__",
    "constructor",
    "&lt;b&gt;",
    "\ufeff",
]


@pytest.mark.parametrize("kind", ["symbols", "words"])
def test_hostile_vocabulary_is_shown_as_text(window, folder, kind):
    symbols = [symbol for symbol in HOSTILE if kind == "symbols" or not re.search(r"\s", symbol)]
    torch.manual_seed(0)
    model = endless(SequenceModel(ModelConfig(hidden_size=4), Vocabulary(symbols, kind), framed=False))
    page = opened(window, folder, model, "#text=", name=HOSTILE[0])
    read = [symbol for symbol in symbols if not re.search(r"\s", symbol)]
    page.run("document.getElementById('text').value = arguments[0]", " ".join(read))
    page.run("document.getElementById('text').dispatchEvent(new Event('input'))")
    page.until("document.querySelectorAll('.reading .text span').length > 3")
    page.find("#generate").click()
    page.until("document.querySelector('.text-written .fresh').textContent.length > 3")
    page.find("#stop").click()
    page.until("document.getElementById('stop').disabled")
    assert page.run("return document.title") == "unrolled"
    assert page.run("return document.querySelectorAll('main script, main img, .reading .text > span > *').length") == 0
    assert page.run("return document.querySelectorAll('script').length") == 3
    assert page.find("h2").text == HOSTILE[0]
    assert page.run("return ({}).polluted === undefined && Object.keys(Object.prototype).length === 0")
    assert page.log() == []


def test_policy_of_the_page_stops_what_is_not_its_own(page):
    done = page.wait("""
        const found = {};
        await new Promise((done) => setTimeout(() => { // what WebDriver calls itself may evaluate
          try { found.eval = (0, eval)("1"); } catch (error) { found.eval = error.name; }
          done();
        }));
        const script = document.createElement("script");
        script.textContent = "document.title = 'gone'";
        document.body.append(script);
        try { await fetch("https://localhost:1/"); } catch (error) { found.fetch = error.name; }
        found.image = await new Promise((done) => {
          const image = new Image();
          image.onerror = () => done("blocked");
          image.src = "file:///usr/share/pixmaps/debian-logo.png";
        });
        return found;""")
    assert done == {"eval": "EvalError", "fetch": "TypeError", "image": "blocked"}
    assert page.run("return document.title") == "unrolled"
    log = page.log()
    assert len(log) >= 3
    assert all("Content Security Policy" in line for line in log)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"temperature": 0}, "temperature is 0; it must be a number in [1e-06, 1e+06]"),
        ({"top_p": 0}, "top_p is 0; it must be a number in (0, 1]"),
        ({"min_p": 2}, "min_p is 2; it must be a number in [0, 1]"),
        ({"max_length": -5}, "max_length is -5; it must be a whole number from 1"),
        ({"top_k": 1.5}, "top_k is 1.5; it must be a whole number from 0"),
        ({"seed": -1}, "seed is -1; it must be a whole number from 0"),
        ({"strategy": "beam"}, "strategy is beam; it must be sample or greedy"),
        ({"max_len": 5}, "there is no option max_len"),
        ({"symbols_per_second": -1}, "symbols_per_second is -1; it must be a number from 0"),
    ],
)
def test_console_refuses_what_a_server_would(page, asked, said):
    script = """try {
        for await (const event of unrolled.generate("", arguments[0])) return "wrote";
    } catch (error) { return error.message; }"""
    assert page.wait(script, asked).startswith(said)
