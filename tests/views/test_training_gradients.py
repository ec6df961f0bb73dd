"""The hook records what gradients() says at that moment and changes nothing; clipping is what keeps a run alive."""

import json
from dataclasses import replace

import numpy as np
import pytest

from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.sonnets import sonnets
from unrolled.lm.callbacks import Callback
from unrolled.lm.model import SequenceModel
from unrolled.lm.training import train
from unrolled.views.gradients import gradients
from unrolled.views.training_gradients import LagGradients, explosion

TEXT = "abcacbabbc" * 40
TRAINING = TrainingConfig(max_steps=6, max_epochs=0, log_every=3, batch_size=3, bptt=7)


def trained(*callbacks, **options):
    import torch

    torch.manual_seed(0)
    corpus = Corpus.from_text(TEXT)
    model = SequenceModel(ModelConfig(hidden_size=5, **options), corpus.vocabulary, framed=False)
    train(model, corpus, TRAINING, callbacks=callbacks)
    return model


class Copies(Callback):
    def __init__(self):
        self.weights = []

    def on_log(self, run, line):
        self.weights.append({name: w.copy() for name, w in run.model.tensors().items()})


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_callback_records_the_gradients_at_each_line_of_metrics(cell, tmp_path):
    watch, copies = LagGradients("abcab", path=tmp_path / "lags.jsonl"), Copies()
    trained(watch, cell=cell, num_layers=2)
    model = trained(copies, cell=cell, num_layers=2)
    assert watch.steps == [3, 6]
    for weights, norms in zip(copies.weights, watch.norms, strict=True):
        model.load_tensors(weights)
        found = gradients(model, "abca", position=3, symbol="b").layers[-1].h_norms
        np.testing.assert_allclose(norms, found[::-1], rtol=1e-5)
    records = [json.loads(line) for line in (tmp_path / "lags.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [3, 6]
    np.testing.assert_allclose([record["norms"] for record in records], watch.norms)
    assert [record["singular_value"] for record in records] == watch.singular


def test_resumed_run_records_no_step_twice(tmp_path):
    def run(resume, **options):
        corpus = Corpus.from_text(TEXT)
        model = SequenceModel(ModelConfig(hidden_size=5), corpus.vocabulary, framed=False)
        watch = LagGradients("abcab", path=tmp_path / "lags.jsonl")
        train(model, corpus, replace(TRAINING, **options), tmp_path / "run", resume=resume, callbacks=[watch])
        return [json.loads(line)["step"] for line in (tmp_path / "lags.jsonl").read_text().splitlines()]

    assert run(False, max_steps=6) == [3, 6]
    with (tmp_path / "lags.jsonl").open("a") as file:
        file.write('{"step": 9, "singular_value": 1.0, "norms": []}\n')  # of steps after the checkpoint
    assert run(True, max_steps=9) == [3, 6, 9]


def test_callback_changes_nothing_in_the_run():
    with_hook, without = trained(LagGradients("abcab"), dropout=0.3).tensors(), trained(dropout=0.3).tensors()
    for name, w in without.items():
        assert np.array_equal(w, with_hook[name]), name


def test_callback_needs_two_symbols():
    with pytest.raises(ValueError, match="the text to watch has 1 symbol;"):
        trained(LagGradients("a"))


def test_without_clipping_the_gradient_explodes():
    runs = explosion(Corpus.from_text(sonnets()[:20_000]), ModelConfig("rnn", 24, nonlinearity="relu"))
    clipped, free = runs["clipped"], runs["not clipped"]
    assert clipped.norms[0] == free.norms[0]  # the norm before clipping, from the same weights
    assert (clipped.ended, len(clipped.norms)) == ("max_steps", 150)
    assert clipped.nats[-1] < clipped.nats[0]
    assert free.ended == f"diverged at step {len(free.norms) + 1}"
    assert free.norms.max() > 10 * clipped.norms.max()
