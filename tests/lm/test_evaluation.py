"""Evaluation gives what the definitions give, symbol by symbol."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.corpus.corpus import Corpus
from unrolled.lm.evaluation import Evaluation, evaluate
from unrolled.lm.model import SequenceModel
from unrolled.lm.training import train

STRINGS = [["a"] * n + ["b"] * n for n in range(1, 10)]


def trained(corpus, steps=60, **options):
    torch.manual_seed(0)
    model = SequenceModel(
        ModelConfig(cell="gru", hidden_size=8, **options), corpus.vocabulary, framed=not corpus.stream
    )
    cut = {"bptt": 16} if corpus.stream else {}
    train(model, corpus, TrainingConfig(learning_rate=0.02, max_steps=steps, max_epochs=0, batch_size=4, **cut))
    return model


def one_by_one(model, sequences):
    """Yield (nats, hits) of the predicted symbols of each sequence, read one step at a time."""
    for ids in sequences:
        state, nats, hits = None, [], []
        for symbol, target in zip(ids[:-1].tolist(), ids[1:].tolist(), strict=True):
            logits, state = model(torch.tensor([[symbol]]), state)
            nats.append(-logits[0, 0].double().log_softmax(0)[target].item())
            hits.append(int(logits.argmax()) == target)
        yield nats, hits


def test_evaluation_of_sequences_matches_one_by_one():
    corpus = Corpus.from_sequences(STRINGS, validation=0.3, test=0)
    model = trained(corpus)
    got = evaluate(model, corpus, "validation")
    nats, hits = zip(*one_by_one(model, corpus.validation), strict=True)
    assert got.symbols == sum(map(len, nats)) == corpus.validation.predicted
    assert got.nats == pytest.approx(np.concatenate(nats).mean(), rel=1e-6)
    assert got.accuracy == pytest.approx(np.concatenate(hits).mean())
    assert got.exact_strings == pytest.approx(np.mean([all(h) for h in hits]))
    assert got.bits == pytest.approx(got.nats / math.log(2))
    assert got.perplexity == pytest.approx(math.exp(got.nats))


def test_perplexity_that_no_number_holds_is_infinite():
    of = Evaluation("test", 9, 709.0, 0.0, 0.0, None, None)
    assert of.perplexity == math.exp(709)
    assert replace(of, nats=2e38).perplexity == math.inf


def test_exact_strings_counts_whole_sequences():
    corpus = Corpus.from_sequences([["a", "b", "c"]] * 8 + [["a", "c"]] * 2, validation=0, test=0)
    model = trained(corpus, steps=150)
    assert evaluate(model, corpus, "train").exact_strings == pytest.approx(0.8)


def test_evaluation_of_a_stream_matches_one_by_one():
    corpus = Corpus.from_text("abcabdabe" * 40, validation=0.1, test=0.1)
    model = trained(corpus)
    ((nats, hits),) = one_by_one(model, corpus.test)
    got = evaluate(model, corpus)
    assert (got.symbols, got.exact_strings) == (len(nats), None)
    assert got.nats == pytest.approx(np.mean(nats), rel=1e-5)
    assert got.accuracy == pytest.approx(np.mean(hits))


def test_evaluation_reports_the_unk_rate():
    known = Corpus.from_text("abab" * 30, validation=0, test=0)
    model = trained(known, steps=1)
    other = Corpus.from_text("abxabxabx", vocabulary=known.vocabulary, validation=0, test=0)
    assert evaluate(model, other, "train").unk_rate == pytest.approx(1 / 3)


def test_evaluation_refuses_an_empty_split_and_another_vocabulary():
    corpus = Corpus.from_text("abab" * 30, validation=0, test=0)
    model = trained(corpus, steps=1)
    with pytest.raises(ValueError, match="no symbols to evaluate on in split 'test'; it has train"):
        evaluate(model, corpus)
    with pytest.raises(ValueError, match="the model knows"):
        evaluate(model, Corpus.from_text("abcd" * 30, validation=0, test=0), "train")


def test_score_is_the_evaluation_of_one_text():
    corpus = Corpus.from_sequences(STRINGS, validation=0, test=0)
    model = trained(corpus)
    score = model.score(["a", "a", "b", "b"])
    ((nats, _),) = one_by_one(model, [model.vocabulary.encode(["a", "a", "b", "b", "EOS"])])
    assert score.bits[1:] * math.log(2) == pytest.approx(nats, rel=1e-5)
    assert score.bits[0] < 0.01  # every training string starts with a
    assert [piece.strip() for piece in score.pieces] == ["a", "a", "b", "b", "EOS"]
    assert score.total == pytest.approx(score.bits.sum())
    with pytest.raises(ValueError, match="empty"):
        model.score([])


def test_exact_strings_come_with_the_most_that_any_model_can_reach():
    """After the first symbol a model that decides on one likeliest symbol each time can only follow one string."""
    rows = [["a"] * n + ["b"] * n for n in range(1, 6)]
    corpus = Corpus.from_sequences([*rows, *rows[:1], ["b"]], validation=0, test=0)
    found = evaluate(SequenceModel(ModelConfig(hidden_size=3), corpus.vocabulary), corpus, "train")
    assert found.exact_bound == pytest.approx((2 + 1) / 7)  # a b twice, and b
    stream = Corpus.from_text("abc" * 9, validation=0, test=0)
    model = SequenceModel(ModelConfig(hidden_size=3), stream.vocabulary, framed=False)
    assert evaluate(model, stream, "train").exact_bound is None


@pytest.mark.parametrize("dynamic", [False, True])
def test_evaluation_leaves_every_part_of_the_model_in_its_own_mode(dynamic):
    corpus = Corpus.from_text("abcabd" * 60)
    model = SequenceModel(ModelConfig(hidden_size=3, embedding_size=2), corpus.vocabulary, framed=False).train()
    model.rnn.eval()
    evaluate(model, corpus, dynamic=dynamic)
    assert model.training
    assert not model.rnn.training


def test_short_sequences_are_not_filled_up_to_a_long_one(monkeypatch):
    texts = [["a", "b"] * (1 + k % 4) for k in range(90)]
    texts[40] = ["b", "a"] * 500
    corpus = Corpus.from_sequences(texts, validation=0, test=0)
    model = SequenceModel(ModelConfig(hidden_size=5), corpus.vocabulary)
    seen, outputs = [], SequenceModel.outputs
    monkeypatch.setattr(
        SequenceModel, "outputs", lambda self, ids, *more: seen.append(ids.numel()) or outputs(self, ids, *more)
    )
    whole = evaluate(model, corpus, "train")
    assert max(seen) == 64 * 1000
    seen.clear()
    monkeypatch.setattr("unrolled.lm.loader.PLACES", 2000)
    parted = evaluate(model, corpus, "train")
    assert max(seen) <= 2000
    assert (parted.symbols, parted.accuracy) == (whole.symbols, whole.accuracy)
    assert parted.nats == pytest.approx(whole.nats, rel=1e-6)
