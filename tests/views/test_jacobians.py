"""Jacobians against autograd through a chain of single steps, and where float32 would underflow."""

import numpy as np
import pytest
import torch

from tests.views.small_models import CONFIGS, small, unrolled
from unrolled.config.model import ModelConfig
from unrolled.lm.model import SequenceModel
from unrolled.saved.vocabulary import Vocabulary
from unrolled.views.jacobians import jacobians, singular_values

TEXT = "abacabbc?"


@pytest.mark.parametrize("name", CONFIGS)
def test_jacobians_match_the_whole_matrix_from_autograd(name):
    model = small(name)
    _, nodes = unrolled(model, TEXT)
    found = jacobians(model, TEXT, position=-2)
    assert len(found.h) == len(TEXT) - 1
    last = nodes[-1][-2][0][0]  # h (H,) after the last symbol but one
    for k, norm in enumerate(found.h):
        state = nodes[-1][len(TEXT) - 2 - k]
        rows = [
            torch.autograd.grad(unit, state, retain_graph=True, allow_unused=True, materialize_grads=True)
            for unit in last
        ]
        wanted = [float(torch.linalg.matrix_norm(torch.cat(each), 2)) for each in zip(*rows, strict=True)]
        got = [norm] if found.c is None else [norm, found.c[k]]
        assert got == pytest.approx(wanted, rel=1e-9, abs=1e-12)


def test_jacobian_norms_survive_where_float32_does_not():
    """A linear network with W_hh = 1e-3 I: the Jacobian over a lag k is exactly 10^(-3 k)."""
    model = small("relu", hidden_size=3, dtype=torch.float32)
    with torch.no_grad():
        model.rnn.weight_hh_l0.copy_(1e-3 * torch.eye(3))
        model.rnn.bias_ih_l0.fill_(5.0)
        model.rnn.weight_ih_l0.fill_(0.0)
    found = jacobians(model, "abc" * 20, lags=50)
    np.testing.assert_allclose(np.log10(found.h), -3.0 * np.arange(51), atol=1e-4)
    assert found.singular["h"] == pytest.approx(1e-3)


def test_singular_values_are_those_of_each_gate():
    model = small("gru")
    found = singular_values(model)
    for gate in "rzn":
        block = getattr(model.rnn, f"W_h{gate}").detach().numpy()
        assert found[gate] == pytest.approx(np.linalg.svd(block)[1][0])


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [("", {}, "the text is empty"), ("abc", {"layer": 1}, "layer is 1; the model has layers 0 to 0")],
)
def test_jacobians_of_what_is_not_there_are_refused(text, options, said):
    with pytest.raises(ValueError, match=said):
        jacobians(small(framed=False), text, **options)


@pytest.mark.parametrize("gain", [0.0, 1e4])
def test_jacobians_of_gradients_that_are_exactly_zero_are_zero(gain):
    model = SequenceModel(ModelConfig(cell="rnn", hidden_size=5), Vocabulary("ab", "characters"))
    with torch.no_grad():
        model.rnn.weight_hh_l0.copy_(gain * torch.eye(5))
        model.rnn.bias_hh_l0.fill_(gain)
    assert jacobians(model, "abbaab").h.tolist()[1:] == [0.0] * 5


@pytest.mark.parametrize("lags", [0, -3, 10**6, 2.5])
def test_lags_that_would_take_too_long_are_refused(lags):
    with pytest.raises(ValueError, match=rf"lags is {lags}; it must be a whole number from 1 to 10,000"):
        jacobians(small("gru"), "ab", lags=lags)


def test_state_before_the_lags_takes_no_logits(monkeypatch):
    model, text = small("gru"), "abc" * 4000
    want = jacobians(model, text, lags=5)
    monkeypatch.setattr(SequenceModel, "forward", lambda *_: pytest.fail("it made logits"))
    found = jacobians(model, text, lags=5)
    np.testing.assert_array_equal(found.h, want.h)
