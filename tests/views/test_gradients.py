"""Gradients against autograd through a chain of single steps, and against finite differences."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.views.small_models import CONFIGS, small, unrolled
from unrolled.views.gradients import connectivity, gradients, saliency

TEXT = "abacabbc?"


@pytest.mark.parametrize("framed", [True, False])
@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_of_states_match_autograd_through_single_steps(name, framed):
    model = small(name, framed=framed)
    logits, nodes = unrolled(model, TEXT)
    ids = torch.from_numpy(model.vocabulary.encode(TEXT))
    targets = torch.cat([ids[1:], torch.tensor([model.vocabulary.eos_id])])
    loss = cross_entropy(logits if framed else logits[:-1], targets if framed else targets[:-1])
    found = gradients(model, TEXT)
    assert found.nats == pytest.approx(loss.item(), abs=1e-12)
    for layer, steps in zip(found.layers, nodes, strict=True):
        for k, got in enumerate([layer.dh] if layer.dc is None else [layer.dh, layer.dc]):
            wanted = torch.autograd.grad(
                loss, [states[k] for states in steps], retain_graph=True, allow_unused=True, materialize_grads=True
            )
            np.testing.assert_allclose(got, torch.cat(wanted).numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CONFIGS)
def test_gradient_of_pre_activations_adds_up_to_that_of_the_bias(name):
    model = small(name)
    found = gradients(model, TEXT)
    loss, _ = model.loss(*(torch.from_numpy(each)[:, None] for each in frame(model, TEXT)))
    loss.backward()
    for k, layer in enumerate(found.layers):
        bias = getattr(model.rnn, f"bias_ih_l{k}").grad
        np.testing.assert_allclose(layer.da.sum(0), bias.numpy(), rtol=0, atol=1e-12)


def frame(model, text):
    ids = model.vocabulary.encode(text)
    return ids, np.append(ids[1:], model.vocabulary.eos_id)


def test_probe_changes_no_bit_of_the_forward_pass():
    model = small("gru", dtype=torch.float32)
    logits, _ = model(torch.from_numpy(model.vocabulary.encode(TEXT))[:, None])
    symbol = model.vocabulary.names[int(logits[4, 0].argmax())]
    wanted = -logits[4, 0].log_softmax(0).max()
    assert gradients(model, TEXT, position=4, symbol=symbol).nats == wanted.item()


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_saliency_is_the_finite_difference_of_the_logit(name):
    model = small(name)
    ids = model.vocabulary.encode(TEXT)
    position, step = 5, 1e-6
    V, aim = len(model.vocabulary), ids[position + 1]
    x = torch.nn.functional.one_hot(torch.from_numpy(ids[: position + 1]), V).double()[:, None]

    def logit(x):
        y, _ = model.rnn(x)
        return model.head(y)[-1, 0, aim].item()

    wanted = np.zeros((position + 1, V))
    for s in range(position + 1):
        for v in range(V):
            for sign in (1, -1):
                moved = x.clone()
                moved[s, 0, v] += sign * step
                wanted[s, v] += sign * logit(moved) / (2 * step)
    found = saliency(model, TEXT, position)
    np.testing.assert_allclose(found, np.linalg.norm(wanted, axis=1), rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", ["relu", "lstm of two layers", "gru embedded"])
def test_connectivity_is_the_saliency_at_every_position(name):
    model = small(name)
    found = connectivity(model, TEXT)
    for t in range(len(TEXT)):
        np.testing.assert_allclose(found[t, : t + 1], saliency(model, TEXT, t), rtol=0, atol=1e-12)
        assert not found[t, t + 1 :].any()


def test_connectivity_of_a_text_that_is_too_long_for_memory_is_refused_with_a_remedy():
    with pytest.raises(MemoryError, match=r"900,000 symbols, .* takes about .* are free; take a shorter text"):
        connectivity(small("gru embedded"), "abc" * 300_000)


def test_gradients_of_a_long_text_stop_early_and_warn():
    model = small("lstm")
    with pytest.warns(RuntimeWarning, match="30 symbols.* the last 7"):
        found = gradients(model, "abc" * 10, position=-1, at_most=7)
    whole = gradients(model, "abc" * 10, position=-1)
    assert (found.first, len(found.symbols)) == (23, 7)
    np.testing.assert_allclose(found.layers[0].dh, whole.layers[0].dh[23:], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m: gradients(m, ""), "the text is empty"),
        (lambda m: saliency(m, ""), "the text is empty"),
        (lambda m: connectivity(m, ""), "the text is empty"),
        (lambda m: gradients(m, "a"), "predicts nothing"),
        (lambda m: gradients(m, "abc", position=3), "position is 3, expected 0 to 2"),
        (lambda m: saliency(m, "abc", -4), "position is -4"),
        (lambda m: gradients(m, "abc", position=1, symbol="z"), "no symbol 'z'"),
    ],
)
def test_gradients_of_what_is_not_there_are_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call(small(framed=False))
