"""POST /view gives the arrays of the trace."""

import base64
import json
import subprocess
import sys

import numpy as np
import pytest

from tests.views.browser.serving import serving
from tests.views.served import MODELS, SMALL
from tests.views.small_models import CONFIGS
from unrolled.views import traces

TEXT = "abcabba"


@pytest.fixture(scope="module")
def server():
    with serving(MODELS, **SMALL) as running:
        yield running


@pytest.mark.parametrize("name", [name.replace(" ", "-") for name in CONFIGS])
def test_view_gives_the_arrays_of_the_trace(server, name):
    model = MODELS[name]
    read = traces.trace(model, TEXT)
    cards = {card["name"]: card for card in json.loads(server.get("/api/models")[2])["models"]}
    assert cards[name]["arrays"]
    for layer in range(model.config.num_layers):
        for array in cards[name]["arrays"]:
            asked = {"text": TEXT, "layer": layer, "array": array["name"], "units": [6, 0]}
            status, view = server.ask(name, "view", **asked)
            assert status == 200
            want = read.values(array["name"], layer)
            heat = view["heat"]
            steps = np.frombuffer(base64.b64decode(heat["data"]), np.uint8).reshape(heat["T"], heat["H"])
            step = (heat["high"] - heat["low"]) / 255
            seen = want.clip(heat["low"], heat["high"])
            np.testing.assert_allclose(heat["low"] + steps * step, seen, atol=0.501 * step)
            if array["high"] is not None:
                assert (heat["low"], heat["high"]) == (array["low"], array["high"])
            for line, unit in zip(view["lines"], (6, 0), strict=True):
                assert line["unit"] == unit
                np.testing.assert_allclose(line["values"], want[:, unit], atol=6e-6)
    np.testing.assert_allclose(view["bits"], read.bits, atol=6e-6)
    assert view["symbols"] == list(TEXT)


def test_view_gives_what_may_come_next_after_each_symbol(server):
    _, view = server.ask("lstm", "view", text=TEXT)
    model = MODELS["lstm"]
    p = np.vstack([np.exp(model.start.numpy()), traces.trace(model, TEXT).probabilities])
    names = model.vocabulary.names
    assert len(view["next"]["symbols"]) == len(TEXT) + 1
    for row, symbols, shown in zip(p, view["next"]["symbols"], view["next"]["probabilities"], strict=True):
        assert sorted(symbols) == sorted(names)
        assert shown == sorted(shown, reverse=True)
        np.testing.assert_allclose(shown, [row[names.index(symbol)] for symbol in symbols], atol=6e-6)


def test_view_of_an_empty_text_is_how_texts_start(server):
    status, view = server.ask("gru", "view", text="", units=[2])
    assert status == 200
    assert (view["symbols"], view["bits"], view["heat"]["T"], view["lines"]) == ([], [], 0, [{"unit": 2, "values": []}])
    np.testing.assert_allclose(view["next"]["probabilities"], [[0.2] * 5], atol=1e-5)
    assert server.ask("gru", "gradients", text="")[1]["gradients"] == []


@pytest.mark.parametrize(
    ("model", "text", "symbols", "unknown"),
    [
        ("gru", "a<script>", list("a<script>"), [1, 2, 4, 5, 6, 7, 8]),
        ("gru", "a\U0001f339\n", ["a", "\U0001f339", "\n"], [1, 2]),
        ("bytes", "aä€", ["a", "", "ä", "", "", "€"], [3, 4, 5]),
        ("bytes", "a\u00c3", ["a", "", "\u00c3"], [2]),
        ("marks", "rose, <b>\nfair", ["rose", ",", " <", "b", ">", "\n", "fair"], [2, 3, 4]),
        ("words", "rose <b>\nfair", ["rose", " <b>", "\n", "fair"], [1, 2]),
    ],
)
def test_view_shows_unseen_symbols_and_says_which(server, model, text, symbols, unknown):
    _, view = server.ask(model, "view", text=text)
    assert (view["symbols"], view["unknown"]) == (symbols, unknown)
    assert view["note"].startswith("the model does not know" if unknown else "")


LARGE = """
import resource
from unrolled.config.server import Limits
from unrolled.lm import ModelConfig, SequenceModel, Vocabulary
from unrolled.views.page.models import ServedModel, Service
from unrolled.views.page.view import ViewRequest, view

words = [f"w{k}" for k in range(20_000)]
model = SequenceModel(ModelConfig(hidden_size=4, embedding_size=4), Vocabulary(words, "words"))
served, service = ServedModel.of("large", model), Service({}, Limits(), None, None)
seen = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
view(service, served, ViewRequest("w1 w2"))
before = seen()
view(service, served, ViewRequest(" ".join(words[:2000])))
print((seen() - before) * 1024)
"""


@pytest.mark.whole_process
@pytest.mark.skipif(sys.platform != "linux", reason="reads the process's memory in the units of Linux")
def test_view_of_a_large_vocabulary_takes_the_memory_of_its_logits():
    """It took nine times as much: 7 GB for 4,000 symbols of 50,000."""
    ran = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 2 * 4 * 20_000 * 2000
