"""POST /gradients gives the gradients of the views."""

import numpy as np
import pytest

from tests.views.browser.serving import serving
from tests.views.served import MODELS, SMALL
from unrolled.views import gradients, jacobians
from unrolled.views.page import gradients as endpoint

TEXT = "abcabba"


@pytest.fixture(scope="module")
def server():
    with serving(MODELS, **SMALL) as running:
        yield running


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
    monkeypatch.setattr(endpoint, "JACOBIAN_WORK", 1.0)
    _, answer = server.ask("gru", "gradients", text=TEXT, of="state")
    assert (len(answer["gradients"][0]["norms"]), answer["cut"]) == (6, True)
