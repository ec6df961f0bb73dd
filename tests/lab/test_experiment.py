"""Experiments: what is learned, and what the trained models are."""

from dataclasses import replace

import torch

from unrolled.config.lab import LabConfig
from unrolled.lab.experiment import experiment, new_model
from unrolled.lab.predictors import ModelPredictor
from unrolled.languages import get, scan


def test_lstm_counts_far_beyond_training_and_plain_training_does_not():
    config = LabConfig(seeds=3, first_seed=70, steps=2500, lengths="uniform:1-20")
    result, models = experiment(get("anbn"), config, limit=300)
    plain, _ = experiment(get("anbn"), replace(config, gain=1.0), limit=300)
    assert sum(result.first_failing) > sum(plain.first_failing)
    assert result.first_failing[1] > 200
    assert scan(ModelPredictor(models[0]), get("anbn"), [20]).shape == (1,)


def test_trained_models_are_ordinary_models(tmp_path):
    _, models = experiment(get("anbn"), LabConfig(seeds=2, steps=5, lengths="uniform:1-5", samples=20), limit=6)
    models[0].save_pretrained(tmp_path / "model")
    assert type(models[0]).from_pretrained(tmp_path / "model").start.argmax() == 0


def test_random_state_of_torch_is_left_unchanged():
    torch.manual_seed(3)
    want = torch.rand(3)
    torch.manual_seed(3)
    new_model(get("anbn"), LabConfig(), 7)
    assert torch.equal(torch.rand(3), want)
