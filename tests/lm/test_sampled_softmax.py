"""The sampled softmax: that of all symbols where all are candidates, the right correction, and what it learns."""

import math

import numpy as np
import pytest
import torch

from tests.lm.test_gradients import MODELS, gradients, large, ragged_batch
from unrolled.config.model import ModelConfig
from unrolled.corpus.batching import IGNORED
from unrolled.corpus.corpus import Corpus
from unrolled.lm import evaluation
from unrolled.lm.evaluation import affordable, evaluate
from unrolled.lm.gradients import by_autograd, by_hand, gradient_function
from unrolled.lm.model import SequenceModel
from unrolled.lm.sampled_softmax import SampledSoftmax
from unrolled.saved.vocabulary import Vocabulary

V = 40


def sampled(samples, often=None):
    return SampledSoftmax(torch.arange(V, 0, -1.0) if often is None else often, samples)


def sampled_by(function, softmax):
    return lambda *given: function(*given, sampled=softmax)


@pytest.mark.parametrize("function", [by_hand, by_autograd])
@pytest.mark.parametrize("name", MODELS)
def test_sample_of_every_symbol_gives_the_softmax_over_all(name, function):
    model, batch = large(name, V), ragged_batch(V)
    want = gradients(by_hand, model, batch, None)
    got = gradients(sampled_by(function, sampled(100_000)), model, batch, None)
    for key, value in want.items():
        torch.testing.assert_close(got[key], value, rtol=1e-4, atol=5e-5, msg=lambda m, key=key: f"{key}: {m}")


@pytest.mark.parametrize("narrow", [None, torch.bfloat16])
def test_gradient_by_hand_on_a_sample_matches_autograd(narrow):
    model, batch, softmax = large("gru-embedded", V), ragged_batch(V), sampled(9)
    got = gradients(lambda *given: by_hand(*given, narrow=narrow, sampled=softmax), model, batch, None)
    want = gradients(sampled_by(by_autograd, softmax), model, batch, None)
    tolerance = {"rtol": 1e-5, "atol": 2e-5} if narrow is None else {"rtol": 0.1, "atol": 0.1}
    for key, value in want.items():
        torch.testing.assert_close(got[key], value, **tolerance, msg=lambda m, key=key: f"{key}: {m}")
    rows = got["head.weight"].abs().sum(1) > 0
    assert len({*batch.targets[batch.targets >= 0].tolist()}) <= rows.sum() <= 9 + 12


def test_candidates_are_distinct_and_hold_every_target():
    targets = torch.tensor([3, 39, IGNORED, 3, 0, IGNORED])
    torch.manual_seed(0)
    for _ in range(50):
        chosen, places = sampled(5).candidates(targets)
        assert len({*chosen.tolist()}) == len(chosen) <= 5 + 3
        assert torch.equal(places == IGNORED, targets == IGNORED)
        assert torch.equal(chosen[places[targets >= 0]], targets[targets >= 0])


def test_probability_of_a_candidate_is_how_often_it_is_one():
    often, N, samples, tries = torch.tensor([500.0, 100, 30, 5, 0]), 7, 4, 20_000
    softmax, rng = SampledSoftmax(often, samples), np.random.default_rng(0)
    torch.manual_seed(0)
    share = (often + 1).numpy() / float((often + 1).sum())
    found = np.zeros(5)
    for _ in range(tries):
        others = rng.choice(5, N - 1, p=share)  # the targets beside the one in question
        chosen, _ = softmax.candidates(torch.from_numpy(others))
        found[chosen.numpy()] += 1
    expected = softmax.log_probabilities(torch.arange(5), torch.zeros(N, dtype=torch.int64)).exp().numpy()
    np.testing.assert_allclose(found / tries, expected, atol=0.012)


def test_symbol_that_training_never_has_is_drawn_now_and_then():
    torch.manual_seed(0)
    softmax, none = sampled(50, torch.tensor([1000.0] * 39 + [0])), torch.empty(0, dtype=torch.int64)
    assert any(39 in softmax.candidates(none)[0] for _ in range(1000))


def test_what_is_learned_on_samples_is_the_probability_of_each_of_all_symbols():
    share = 1 / torch.arange(1.0, V + 1)
    share /= share.sum()
    torch.manual_seed(0)
    softmax, b = SampledSoftmax(1e5 * share, samples=5), torch.nn.Parameter(torch.zeros(V))
    optimiser, steps = torch.optim.Adam([b], 0.05), 3000
    x, W = torch.zeros(6, 1), torch.zeros(V, 1)  # so that the bias alone predicts
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 0.05 * (1 - step / steps)
        optimiser.zero_grad()
        softmax.loss(x, W, b, torch.multinomial(share, 6, replacement=True)).backward()
        optimiser.step()
    divergence = (share * (share.log() - b.log_softmax(0))).sum()
    assert divergence < 0.03  # nats


def test_model_with_a_loss_of_its_own_is_refused_by_the_name_of_the_option():
    class Own(SequenceModel):
        def loss(self, *given, **options):
            return super().loss(*given, **options)

    model = Own(ModelConfig(hidden_size=3), Vocabulary("abc"))
    corpus = Corpus.from_text("abcabc" * 30)
    softmax = SampledSoftmax.of(corpus.train, 5, 3)
    with pytest.raises(
        ValueError, match="softmax_samples runs the head of a SequenceModel on a sample, but this model"
    ):
        gradient_function(model, "float32", softmax)


def test_hooks_count_where_the_sample_would_leave_them_out():
    model = SequenceModel(ModelConfig(hidden_size=5, embedding_size=4), Vocabulary("abc"))
    sampled = SampledSoftmax.of(Corpus.from_text("abc" * 50, validation=0, test=0).train, len(model.vocabulary), 3)
    for part in model.parts[:2]:  # which are called
        part.register_forward_pre_hook(lambda *_: None)
    assert gradient_function(model, sampled=sampled).func is by_autograd
    model.head.register_forward_pre_hook(lambda *_: None)
    with pytest.raises(ValueError, match="hooks of its own; leave it out"):
        gradient_function(model, sampled=sampled)


def test_frozen_layers_are_trained_by_autograd_on_the_same_sample():
    model, softmax = large("rnn", V), sampled(9)
    model.rnn.weight_hh_l0.requires_grad_(False)
    function = gradient_function(model, "float32", softmax)
    assert function.func is by_autograd
    assert function.keywords == {"sampled": softmax}


@pytest.mark.parametrize("stream", [True, False])
def test_measurement_makes_few_logits_at_a_time_and_finds_the_same(stream, monkeypatch):
    text = "so long lives this and this gives life to thee\n" * 60
    corpus = Corpus.from_text(text, lines=not stream, validation=0, test=0.3)
    torch.manual_seed(0)
    model, made = SequenceModel(ModelConfig(hidden_size=7), corpus.vocabulary, framed=not stream), []
    whole = evaluate(model, corpus)
    model.head.register_forward_hook(lambda head, given, logits: made.append(logits.numel()))
    monkeypatch.setattr(evaluation, "LOGITS", 100)
    parts = evaluate(model, corpus)
    assert max(made) <= 100
    assert parts.nats == pytest.approx(whole.nats, rel=1e-6)
    assert (parts.accuracy, parts.exact_strings, parts.symbols) == (whole.accuracy, whole.exact_strings, whole.symbols)


def test_large_heads_are_measured_on_fewer_symbols():
    small, many = ModelConfig(hidden_size=16), Vocabulary(map(str, range(30_000)))
    assert affordable(SequenceModel(small, Vocabulary("ab")), 500_000) == 500_000
    model = SequenceModel(small, many)
    model.config = ModelConfig(hidden_size=1024)
    assert affordable(model, 500_000) == pytest.approx(1e12 / (30_002 * 1024), rel=1e-3)
    model.config = ModelConfig(hidden_size=10**6)
    assert affordable(model, 500_000) == evaluation.LEAST
    assert math.isclose(affordable(model, 100), 100)
