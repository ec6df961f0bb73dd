"""Dynamic evaluation: it adapts, it measures before it learns, and it leaves the model as it is."""

from itertools import pairwise

import pytest
import torch

from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.corpus.corpus import Corpus
from unrolled.lm import dynamic
from unrolled.lm.evaluation import evaluate
from unrolled.lm.model import SequenceModel
from unrolled.lm.training import train

FIRST, SECOND = "abcabcabd" * 300, "dcbadcba" * 150


@pytest.fixture(scope="module")
def trained():
    """A model of one text, and a corpus whose test split is another one."""
    corpus = Corpus.from_text(FIRST + SECOND, validation=0, test=len(SECOND) / len(FIRST + SECOND))
    torch.manual_seed(0)
    config = ModelConfig(hidden_size=24, embedding_size=8, num_layers=2, dropout=0.3)
    model = SequenceModel(config, corpus.vocabulary, framed=False)
    train(model, corpus, TrainingConfig(max_steps=60, batch_size=4, bptt=16, learning_rate=0.01))
    return model, corpus


def test_a_model_that_learns_while_it_reads_predicts_another_text_better(trained):
    model, corpus = trained
    static, found = (evaluate(model, corpus, dynamic=dynamic) for dynamic in (False, True))
    assert found.symbols == static.symbols
    assert found.nats < static.nats - 0.05


def test_the_first_chunk_is_measured_before_anything_is_learned(trained):
    model, corpus = trained
    ids = torch.from_numpy(corpus.test.ids[: dynamic.CHUNK + 1].astype("int64"))[:, None]
    with torch.no_grad():
        alone = model.loss(ids[:-1], ids[1:])[0].item()
    assert evaluate(model, corpus, dynamic=True, max_symbols=1).nats == pytest.approx(alone, rel=1e-5)


def test_the_model_stays_as_it_is_and_a_second_evaluation_says_the_same(trained):
    model, corpus = trained
    before, mode = {name: t.clone() for name, t in model.state_dict().items()}, model.training
    first, second = (evaluate(model, corpus, dynamic=True, max_symbols=400) for _ in range(2))
    assert first == second
    assert model.training == mode
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_mode_of_the_caller_changes_nothing(trained, mode):
    corpus = trained[1]
    model = SequenceModel(ModelConfig(hidden_size=3, learned_initial_state=True), corpus.vocabulary, framed=False)
    plain = evaluate(model, corpus, dynamic=True, max_symbols=400)
    with mode():
        assert evaluate(model, corpus, dynamic=True, max_symbols=400) == plain


def test_each_chunk_is_learned_from_the_state_before_it(trained, monkeypatch):
    model, corpus = trained
    begun = []

    class Noting(dynamic.DynamicModel):
        def learn(self, batch, state):
            begun.append((batch.reset, None if state is None else state[0].clone(), self.model(batch.ids, state)[1][0]))
            super().learn(batch, state)

    monkeypatch.setattr(dynamic, "DynamicModel", Noting)
    evaluate(model, corpus, dynamic=True, max_symbols=4 * dynamic.CHUNK)
    assert begun[0][0]
    assert begun[0][1] is None
    for (_, _, after), (_, before, _) in pairwise(begun):
        assert torch.equal(before, after.detach())


def test_frozen_weights_do_not_learn(trained):
    model, corpus = trained
    model.head.weight.requires_grad_(False)
    try:
        learner = dynamic.DynamicModel(model)
        before = learner.model.head.weight.clone()
        ids = torch.from_numpy(corpus.test.ids[:33].astype("int64"))[:, None]
        learner.learn(dynamic.Batch(ids[:-1], ids[1:], None, True, 32), None)
        assert torch.equal(learner.model.head.weight, before)
        assert not torch.equal(learner.model.rnn.weight_hh_l0, model.rnn.weight_hh_l0)
    finally:
        model.head.weight.requires_grad_(True)


def test_dynamic_evaluation_of_sequences_is_refused():
    corpus = Corpus.from_sequences(["ab", "aabb"] * 10, validation=0, test=0.2)
    with pytest.raises(ValueError, match="dynamic evaluation reads one stream"):
        evaluate(SequenceModel(ModelConfig(hidden_size=3), corpus.vocabulary), corpus, dynamic=True)
