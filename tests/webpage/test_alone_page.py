"""The page from disk in a real browser: its numbers are the runtime's, it writes what the runtime writes, it is a page.

Pictures go to artefacts/page, which git ignores.
"""

import base64
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

driver = pytest.importorskip("tests.views.browser.driver", reason="needs selenium", exc_type=ImportError)
pytestmark = pytest.mark.skipif(bool(driver.WHY_NOT), reason=driver.WHY_NOT or "there is a browser")

from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

from tests.saved.networks import text_networks  # noqa: E402
from tests.views.browser.pages import PICTURES, TEXT, bars, check_bars, shown, type_at_end  # noqa: E402
from tests.views.browser.pages import model as moving  # noqa: E402
from tests.views.browser.serving import endless  # noqa: E402
from tests.views.small_models import small  # noqa: E402
from tests.webpage.alone import lstm, opened  # noqa: E402
from unrolled.config.model import ModelConfig  # noqa: E402
from unrolled.core.sampling import log_softmax  # noqa: E402
from unrolled.lm.model import SequenceModel  # noqa: E402
from unrolled.saved.narrow import narrowed  # noqa: E402
from unrolled.saved.network_folder import save_network  # noqa: E402
from unrolled.saved.vocabulary import Vocabulary  # noqa: E402
from unrolled.views.gradients import gradients, saliency  # noqa: E402
from unrolled.views.jacobians import jacobians  # noqa: E402
from unrolled.views.page.view import heat  # noqa: E402
from unrolled.views.traces import trace  # noqa: E402
from unrolled.webpage.cards import model_card  # noqa: E402


def tied():
    """A model whose head is its embedding."""
    torch.manual_seed(4)
    config = ModelConfig(cell="gru", hidden_size=6, embedding_size=6, tied=True)
    return SequenceModel(config, Vocabulary("abcde", "characters"), framed=False)


def of_network(network, folder):
    save_network(folder, network)
    return SequenceModel.from_pretrained(folder)


NETWORKS = {name: network for name, network in text_networks() if network.model_config()}
#: Models of every kind of symbol.
KINDS = {
    "characters": {"symbols": "abcé"},
    "characters-framed": {"symbols": "abcé", "framed": True},
    "bytes": {"symbols": ["61", "62", "c3", "a9"], "kind": "bytes"},
    "words": {"symbols": ["a", "bc", "é", "\n"], "kind": "words"},
    "words-and-marks": {"symbols": ["a", "bc", "é", "\n", "￭,", "(￭", "￭!￭"], "kind": "words-and-marks"},
    "bpe": {"symbols": ["a", "b", "Ġ", "ab", "Ġab", "Ã", "©"], "kind": "bpe"},
    "symbols": {"symbols": ["a", "bc", "é", "c4"], "kind": "symbols"},
}


def of_kind(name):
    return small("lstm of two layers", dtype=torch.float32, **{"framed": False} | KINDS[name])


def checked_against(page, model, text):
    """Compare all that the page says of a text with the trace of the model, and with single steps of the runtime."""
    read, runtime = trace(model, text), model.runtime()
    state, logits, states = runtime.initial(1), [], []
    for k in read.ids:
        row, state = runtime.read(np.array([k]), state)
        logits.append(row[0])
        states.append([[s[0] for s in layer] for layer in state])
    p = np.exp(log_softmax(np.array([model.start.numpy(), *logits])))  # (T + 1, V)
    H = model.config.hidden_size
    card = model_card("", model.config, model.vocabulary, parameters=1, framed=model.framed)
    arrays = {array.name: array for array in card.arrays}
    for layer, traced in enumerate(read.layers):
        for array, values in traced.signals.items():
            answer = page.ask("view", text=text, layer=layer, array=array, units=list(range(H)))
            found = np.array([line["values"] for line in answer["lines"]]).T
            np.testing.assert_allclose(found, values, rtol=1e-5, atol=1e-5, err_msg=f"{array} of layer {layer}")
            if array in "hc":
                stepped = [each[layer]["hc".index(array)] for each in states]
                np.testing.assert_allclose(found, stepped, rtol=1e-5, atol=1e-5)
            drawn, want = answer["heat"], heat(values, arrays[array])
            assert (drawn["T"], drawn["H"]) == (want.T, want.H)
            np.testing.assert_allclose([drawn["low"], drawn["high"]], [want.low, want.high], rtol=1e-5)
            steps = np.frombuffer(base64.b64decode(want.data), np.uint8).astype(int)
            assert np.abs(drawn["bytes"] - steps).max() <= 1  # what lies between two steps may be rounded to either
    ids = {name: k for k, name in enumerate(model.vocabulary.names)}
    for row, symbols, shares in zip(p, answer["next"]["symbols"], answer["next"]["probabilities"], strict=True):
        np.testing.assert_allclose(shares, row[[ids[symbol] for symbol in symbols]], atol=1e-5)
        np.testing.assert_allclose(shares, np.sort(row)[::-1][:10], atol=1e-5)
    np.testing.assert_allclose(answer["bits"], read.bits, rtol=1e-5, atol=1e-5)
    assert answer["unknown"] == np.flatnonzero(read.ids == model.vocabulary.unk_id).tolist()


@pytest.mark.parametrize("name", NETWORKS)
def test_numbers_of_every_network_are_the_runtimes(window, folder, tmp_path, name):
    model = of_network(NETWORKS[name], tmp_path / "model")
    text = "".join(np.random.default_rng(3).choice([*"abcde?"], 200))
    if name.startswith("text-RNN_RELU"):
        text = text[:12]  # whose state grows without bounds
    checked_against(opened(window, folder, tmp_path / "model"), model, text)


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
@pytest.mark.parametrize("name", ["text-LSTM", "text-GRU-one-hot"])
def test_numbers_of_small_weights_are_those_of_float32_that_they_widen_to(window, folder, tmp_path, name, weights):
    widened = replace(narrowed(NETWORKS[name], weights), narrow=None)
    model, text = of_network(widened, tmp_path / "model"), "abcde?badce" * 10
    checked_against(opened(window, folder, NETWORKS[name], weights=weights), model, text)


@pytest.mark.parametrize("name", KINDS)
def test_numbers_of_every_kind_of_symbol_are_the_runtimes(window, folder, name):
    model = of_kind(name)
    checked_against(opened(window, folder, model), model, "a bc é c4\na  x\tbca é")


def test_numbers_of_a_tied_model_are_the_runtimes(window, folder):
    checked_against(opened(window, folder, tied()), tied(), "abecd" * 8)


def test_float64_is_shown_in_float32(window, folder):
    model = small("gru embedded", framed=False)
    page = opened(window, folder, model)
    found = page.ask("view", text="abcab", layer=1, array="h", units=[0, 1, 2])
    want = trace(model, "abcab").values("h", 1)[:, :3]
    np.testing.assert_allclose(np.array([line["values"] for line in found["lines"]]).T, want, atol=1e-5)


def test_bfloat16_is_kept_and_computed_with_in_float32(window, folder):
    from unrolled.core.bfloat16 import rounded

    exact, model = moving("lstm", 1, hidden_size=16), moving("lstm", 1, hidden_size=16)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.copy_(torch.from_numpy(rounded(weight.numpy())))
    checked_against(opened(window, folder, exact, weights="bfloat16"), model, TEXT)


def test_of_symbols_that_are_alike_the_first_ones_are_shown(window, folder):
    model = moving("gru", 1, hidden_size=5)
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.zero_()
        model.head.bias[7] = 1
    found = opened(window, folder, model).ask("view", text="ab")["next"]["symbols"]
    names = model.vocabulary.names
    assert found[1] == found[2] == [names[7], *names[:7], *names[8:10]]


@pytest.mark.parametrize("name", ["rnn", "relu", "lstm of two layers", "gru", "gru embedded"])
def test_gradients_are_those_of_the_views(window, folder, name):
    model, text = small(name, framed=False, dtype=torch.float32), "abcacbbacab"
    page = opened(window, folder, model)

    def norms(**asked):
        answer = page.ask("gradients", text=text, **asked)
        return {each["by"]: each["norms"] for each in answer["gradients"]}, answer

    np.testing.assert_allclose(norms(of="symbols")[0]["x"], saliency(model, text)[::-1], rtol=1e-4, atol=1e-6)
    whole = gradients(model, text, position=-1)
    for k, layer in enumerate(whole.layers):
        found, _ = norms(of="loss", layer=k)
        np.testing.assert_allclose(found["h"], layer.h_norms[::-1], rtol=1e-4, atol=1e-6)
        if layer.c_norms is not None:
            np.testing.assert_allclose(found["c"], layer.c_norms[::-1], rtol=1e-4, atol=1e-6)
        exact = jacobians(model, text, layer=k)
        found, answer = norms(of="state", layer=k)
        np.testing.assert_allclose(found["h"], exact.h, rtol=1e-4, atol=1e-6)
        if exact.c is not None:
            np.testing.assert_allclose(found["c"], exact.c, rtol=1e-4, atol=1e-6)
        assert answer["singular"] == pytest.approx(exact.singular, rel=1e-4)
        assert not answer["cut"]


OPTIONS = [
    {},
    {"seed": 2**40 + 5},
    {"temperature": 0.4},
    {"temperature": 2.0, "top_k": 3},
    {"top_p": 0.6},
    {"min_p": 0.3},
    {"strategy": "greedy"},
    {"allow_unk": True},
]


@pytest.mark.parametrize("name", KINDS)
def test_page_writes_what_the_runtime_writes(window, folder, name):
    model = of_kind(name)
    page = opened(window, folder, model)
    for options in OPTIONS:
        for prompt in ("", "a bc é"):
            text, end = page.generate(prompt=prompt, max_length=60, **options)
            [want] = model.runtime().generate(prompt, max_length=60, **options)
            if name in ("words", "symbols") and prompt:
                want = " " + want  # which the page shows behind its prompt; generate returns what is new alone
            assert text == want, (options, prompt)
            assert end["reason"] == ("length" if end["symbols"] == 60 else "EOS")


def test_page_never_writes_what_training_never_had_as_a_target(window, folder):
    model = small("gru", framed=False, dtype=torch.float32)
    with torch.no_grad():
        model.start.copy_(torch.tensor([0.3, 0.3, 0.4, 1e-7, 1e-7]).log())
    page = opened(window, folder, model)
    text, end = page.generate(prompt="ab", max_length=300, temperature=3.0)
    assert (text, end["reason"]) == (model.runtime().generate("ab", max_length=300, temperature=3.0)[0], "length")


def test_stream_keeps_its_pace_and_stops_when_told(page):
    page.run("document.querySelector('[name=symbols_per_second]').value = 100")
    page.find("#generate").click()
    page.until("document.querySelector('.fresh')?.textContent.length > 10")
    page.find("#stop").click()
    page.until("document.querySelector('.text-written .note').textContent.includes('stopped')")
    text = page.find(".fresh").text
    assert len(text) < 300
    symbols, seconds = re.match(r"(\d+) symbols? in ([\d.]+) s", page.find(".text-written .note").text).groups()
    assert int(symbols) <= 100 * (float(seconds) + 0.1) + 2
    page.find(".text-written button").click()
    shown(page, TEXT + page.run("return document.querySelector('.fresh').textContent"))


def test_bars_follow_the_typing_and_the_caret(page):
    check_bars(page, lstm(), TEXT)
    type_at_end(page, " t")
    shown(page, TEXT + " t")
    check_bars(page, lstm(), TEXT + " t")
    page.find("#text").send_keys(Keys.CONTROL, Keys.HOME)
    page.find("#text").send_keys(Keys.RIGHT * 5)
    page.until("document.querySelector('.after').textContent === 'after “l”'")
    check_bars(page, lstm(), TEXT[:5])


def test_text_that_changes_in_the_middle_is_read_anew_from_there(page):
    for text in (TEXT, TEXT[:9] + "x" + TEXT[10:], TEXT[:4], "", TEXT + TEXT):
        found = page.ask("view", text=text, layer=1, array="h", units=[5])
        want = trace(lstm(), text).values("h", 1)[:, 5] if text else []
        np.testing.assert_allclose(found["lines"][0]["values"], want, atol=1e-5)


def test_page_without_a_link_shows_the_models_own_words(window, folder):
    page = opened(window, folder, lstm(), "")
    text = page.find("#text").get_attribute("value")
    shown(page, text)
    assert text == lstm().runtime().generate("", max_length=80, temperature=0.7, seed=1)[0]
    assert page.find("h2").text == "network"


def test_empty_text_shows_how_texts_start(page):
    page.find("#text").clear()
    page.find("#text").send_keys("x", Keys.BACKSPACE)
    shown(page, "")
    assert page.find(".after").text == "at the start of a text"
    assert len(bars(page)) == 10


def test_text_that_is_too_long_is_refused_and_forgotten(page):
    put = "const t = document.getElementById('text'); t.value = arguments[0]; t.dispatchEvent(new Event('input'))"
    page.run(put, "a" * 4001)
    page.until("document.querySelector('.pane .trouble').textContent !== ''")
    said = "the text has 4,001 symbols, and this page reads at most 4,000; shorten it"
    assert page.find(".pane .trouble").text == said
    page.run(put, "ab")
    shown(page, "ab")
    page.until("document.querySelector('.pane .trouble').textContent === ''")


def test_state_that_overflows_is_said(window, folder):
    model = small("relu", framed=False, dtype=torch.float32)
    with torch.no_grad():
        model.rnn.weight_hh_l0.fill_(1000.0)
        model.rnn.weight_ih_l0.fill_(1.0)
    page = opened(window, folder, endless(model), "#text=a")
    type_at_end(page, "b" * 40)
    page.until("document.querySelector('.pane .trouble').textContent.includes('is no longer finite')")
    page.find("#generate").click()
    page.until("document.querySelector('.text-written .note').textContent.includes('is no longer finite')")


def test_page_loads_nothing(page):
    assert page.run("return performance.getEntriesByType('resource').filter((e) => !e.name.startsWith('data:'))") == []


@pytest.mark.parametrize("width", [360, 768, 1440])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_page_is_readable(page, width, dark):
    page.open(f"#text={TEXT.replace(' ', '+')}&a.units=3,40&b=lstm&b.array=f", width=width, dark=dark)
    shown(page, TEXT, 1)
    page.find("#generate").click()
    page.until("document.querySelectorAll('.fresh')[1]?.textContent.length > 30")
    page.find("#stop").click()
    page.until("document.getElementById('stop').disabled")
    assert page.run("return document.documentElement.scrollWidth") <= width
    assert page.looks("outside()") == []
    assert page.looks("pale(4.5)") == []
    page.size(width, page.run("return document.documentElement.scrollHeight"))
    page.picture(PICTURES / f"alone-{width}-{'dark' if dark else 'light'}.png")


def test_every_control_is_reached_with_the_keyboard_and_has_a_name(page):
    page.run("document.activeElement.blur(); scrollTo(0, 0)")
    page.run(f"{driver.LOOKS} window.unvisited = new Set(controls())")
    count = page.run("return window.unvisited.size")
    assert count > 18
    for _ in range(count + 3):
        ActionChains(page.driver).send_keys(Keys.TAB).perform()
        page.run("window.unvisited.delete(document.activeElement)")
    assert page.run("return [...window.unvisited].map((e) => e.outerHTML)") == []
    assert page.looks("unnamed()") == []
