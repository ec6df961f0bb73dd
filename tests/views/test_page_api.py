"""What the page's interface answers: the arrays of the views, and a sentence for everything else."""

import base64
import json

import numpy as np
import pytest
import torch

from tests.views.browser.serving import JSON, endless, serving
from tests.views.small_models import CONFIGS, small
from unrolled.config.model import ModelConfig
from unrolled.config.server import Limits
from unrolled.lm.model import SequenceModel
from unrolled.saved.vocabulary import Vocabulary
from unrolled.views import gradients, jacobians, traces
from unrolled.views.page import looking

TEXT = "abcabba"


def exploding():
    """An RNN without bounds whose state grows a thousandfold each step."""
    model = small("relu", dtype=torch.float32)
    with torch.no_grad():
        model.rnn.weight_hh_l0.fill_(1000.0)
        model.rnn.weight_ih_l0.fill_(1.0)
    return endless(model)


MODELS = {name.replace(" ", "-"): endless(small(name, dtype=torch.float32)) for name in CONFIGS}
MODELS["exploding"] = exploding()
MODELS["bytes"] = small("gru", symbols=["61", "c3", "a4"], kind="bytes", dtype=torch.float32)
MODELS["words"] = small("gru", symbols=["rose", "fair"], kind="words", dtype=torch.float32)
SMALL = {"body_bytes": 3000, "text_symbols": 50, "written_symbols": 90}


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
        ("words", "rose <b>\nfair", ["rose", " <b>", "\n", "fair"], [1, 2]),
    ],
)
def test_view_shows_unseen_symbols_and_says_which(server, model, text, symbols, unknown):
    _, view = server.ask(model, "view", text=text)
    assert (view["symbols"], view["unknown"]) == (symbols, unknown)


@pytest.mark.parametrize("name", ["rnn", "lstm-of-two-layers", "gru-embedded"])
def test_gradients_are_those_of_the_views(server, name):
    model, layer = MODELS[name], MODELS[name].config.num_layers - 1
    states = ["h", "c"] if name.startswith("lstm") else ["h"]

    def answered(of):
        status, answer = server.ask(name, "gradients", text=TEXT, of=of, layer=layer)
        assert status == 200
        return {line["by"]: line["norms"] for line in answer["gradients"]}, answer

    shown, _ = answered("symbols")
    np.testing.assert_allclose(shown["x"], gradients.saliency(model, TEXT)[::-1], rtol=1e-5)
    shown, answer = answered("loss")
    assert [*shown] == states
    want = gradients.gradients(model, TEXT, position=-1).layers[layer]
    np.testing.assert_allclose(shown["h"], want.h_norms[::-1], rtol=1e-5)
    assert answer["cut"] is False
    shown, answer = answered("state")
    assert [*shown] == states
    exact = jacobians.jacobians(model, TEXT, layer=layer)
    np.testing.assert_allclose(shown["h"], exact.h, rtol=1e-5)
    assert answer["singular"] == pytest.approx(exact.singular)


def test_gradients_that_take_too_long_are_cut_and_say_so(server, monkeypatch):
    monkeypatch.setattr(looking, "JACOBIAN_WORK", 1.0)
    _, answer = server.ask("gru", "gradients", text=TEXT, of="state")
    assert (len(answer["gradients"][0]["norms"]), answer["cut"]) == (6, True)


WRONG = [
    ("view", {}, 400, "text"),
    ("view", {"text": 3}, 400, "Expected `str`"),
    ("view", {"text": "a", "colour": 1}, 400, "unknown field `colour`"),
    ("view", {"text": "a", "layer": 1}, 400, "layers 0 to 0"),
    ("view", {"text": "a", "layer": -1}, 400, ">= 0"),
    ("view", {"text": "a", "array": "f"}, 400, "a GRU has no array 'f'; it has r, z, n, h"),
    ("view", {"text": "a", "units": [7]}, 400, "units 0 to 6"),
    ("view", {"text": "a", "units": [0] * 7}, 400, "length <= 6"),
    ("view", {"text": "a" * 51}, 413, "51 symbols, and this server reads at most 50"),
    ("view", {"text": "a" * 4000}, 413, "larger than 3,000 bytes"),
    ("gradients", {"text": "a", "of": "hope"}, 400, "hope"),
    ("gradients", {"text": "a", "layer": 9}, 400, "layers 0 to 0"),
    ("gradients", {"text": "a" * 51}, 413, "at most 50"),
    ("generate", {"prompt": "a" * 51, "max_length": 9}, 413, "at most 50"),
    ("generate", {"max_length": 91}, 400, "at most 90 symbols"),
    ("generate", {"max_length": 0}, 400, ">= 1"),
    ("generate", {"temperature": 0}, 400, "> 0"),
    ("generate", {"temperature": "hot"}, 400, "Expected `float`"),
    ("generate", {"top_p": 1.5}, 400, "<= 1"),
    ("generate", {"strategy": "beam"}, 400, "beam"),
    ("generate", {"symbols_per_second": -1}, 400, ">= 0"),
    ("generate", {"seed": -1}, 400, ">= 0"),
]


@pytest.mark.parametrize(("question", "asked", "status", "said"), WRONG)
def test_wrong_value_is_refused_in_one_sentence(server, question, asked, status, said):
    came, answer = server.ask("gru", question, **asked)
    assert (came, [*answer]) == (status, ["error"])
    assert said in answer["error"]
    assert "\n" not in answer["error"]


NO_JSON = [b"", b"{", b"[]", b"null", b'"a"', b"{'text': 1}", b'{"text": "\xff"}', b'{"text": "a", "units": [NaN]}']
DEEP = [b"[" * 2900, b'{"text": ' + b"[" * 2900]


@pytest.mark.parametrize("body", [*NO_JSON, *DEEP, b'{"text": "\\ud800"}'])
def test_malformed_json_is_refused(server, body):
    status, _, answer = server.raw("POST", "/api/models/gru/view", body, JSON)
    assert status == 400
    assert "the body does not fit" in json.loads(answer)["error"]


def test_body_without_a_length_is_counted(server):
    pieces = (b'{"text": "' + b"a" * 1000 for _ in range(5))
    status, _, answer = server.raw("POST", "/api/models/gru/view", pieces, JSON | {"Transfer-Encoding": "chunked"})
    assert (status, "3,000 bytes" in json.loads(answer)["error"]) == (413, True)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_body_that_does_not_say_it_is_json_is_refused(server, kind):
    status, _, answer = server.raw("POST", "/api/models/gru/view", b'{"text": "a"}', {"Content-Type": kind})
    assert (status, "Content-Type: application/json" in json.loads(answer)["error"]) == (415, True)


def test_unknown_model_is_not_found(server):
    for question in ("view", "gradients", "generate"):
        status, answer = server.ask("gr", question, text="a")
        assert status == 404
        assert "there is no model 'gr'; there is rnn, relu, lstm, gru" in answer["error"]


@pytest.mark.parametrize("question", ["view", "gradients"])
def test_overflowing_state_is_refused(server, question):
    status, answer = server.ask("exploding", question, text="a" * 50)
    assert status == 422
    assert "no longer finite" in answer["error"]
    assert server.ask("exploding", question, text="a" * 3)[0] == 200


def test_fault_of_ours_is_one_sentence(server, monkeypatch):
    def broken(*_):
        raise KeyError("a secret")

    monkeypatch.setattr(looking, "heat", broken)
    status, answer = server.ask("gru", "view", text="a")
    assert (status, answer) == (500, {"error": "the server made a mistake; its log says more"})


@pytest.mark.parametrize("field", ["body_bytes", "text_symbols", "written_symbols", "requests", "threads"])
def test_limits_below_one_are_refused(field):
    with pytest.raises(ValueError, match=f"{field} is 0"):
        Limits(**{field: 0})


def test_model_that_is_not_finite_is_not_served():
    model = SequenceModel(ModelConfig(hidden_size=3), Vocabulary("ab"))
    with torch.no_grad():
        model.head.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"head\.weight holds NaN"), serving({"a": model}):
        pass
    with pytest.raises(ValueError, match="no model to serve"), serving({}):
        pass
