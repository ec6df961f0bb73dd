"""A page with models whose units move, and what the tests read off it."""

from pathlib import Path

import numpy as np
import torch
from selenium.webdriver.common.keys import Keys

from tests.views.browser.serving import endless
from unrolled.config.model import ModelConfig
from unrolled.lm.model import SequenceModel
from unrolled.saved.vocabulary import Vocabulary
from unrolled.views import traces

PICTURES = Path(__file__).parents[3] / "artefacts" / "page"
SYMBOLS = "abcdefghijklmnopqrstuvwxyz ,.\n"
TEXT = "shall i compare thee"
HOSTILE_WORD = "<img/src=x/onerror=\"document.title='gone'\">"


def model(cell, seed, **sizes):
    torch.manual_seed(seed)
    made = SequenceModel(ModelConfig(cell=cell, **sizes), Vocabulary(SYMBOLS, "characters"), framed=False)
    with torch.no_grad():
        for weight in made.rnn.parameters():
            weight.mul_(3)  # so that units move ...
        made.head.weight.mul_(20)  # ... and some symbols are likelier than others
    return endless(made)


def shown(page, text, pane=0):
    """Wait until every picture of a pane shows a text."""
    for part in ("shown", "gradients"):
        page.until(f"document.querySelectorAll('.pane')[{pane}].dataset.{part} === {text!r}")


def bars(page, pane=0):
    """The (symbol, share in percent) of a pane's bars."""
    rows = page.all(".pane")[pane].find_elements("css selector", ".next .bars li")
    return [(row.find_element("css selector", "code").text, float(row.text.split()[-2])) for row in rows]


def expected_bars(model, text):
    p = traces.trace(model, text).probabilities[-1]
    return [p[k] * 100 for k in np.argsort(-p, kind="stable")[:10]]


def check_bars(page, model, text, pane=0):
    np.testing.assert_allclose([share for _, share in bars(page, pane)], expected_bars(model, text), atol=0.51)


def type_at_end(page, keys):
    field = page.find("#text")
    field.send_keys(Keys.CONTROL, Keys.END)
    field.send_keys(keys)


def counting():
    """An LSTM whose cell states count the symbols: all its gates are open."""
    made = model("lstm", 3, hidden_size=7)
    with torch.no_grad():
        made.rnn.bias_ih_l0.add_(5)
    return made


def page_models():
    words = SequenceModel(ModelConfig(hidden_size=7), Vocabulary(["rose", HOSTILE_WORD], "words"), framed=False)
    return {
        "lstm 256": model("lstm", 1, hidden_size=256),
        "gru<b>": model("gru", 2, hidden_size=33, num_layers=2),
        "words": endless(words),
        "counting": counting(),
    }
