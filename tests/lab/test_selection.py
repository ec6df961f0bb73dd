"""Checkpoint selection."""

from dataclasses import replace

import numpy as np
import torch

from unrolled.config.lab import LabConfig
from unrolled.lab import experiment, selection
from unrolled.lab.golden import golden
from unrolled.lab.predictors import margins
from unrolled.lab.selection import CheckpointSelection
from unrolled.languages import get

SMALL = LabConfig(seeds=2, steps=60, lengths="uniform:1-5", samples=20)


def test_best_checkpoint_is_restored():
    language, config = get("anbn"), replace(SMALL, choose_up_to=10)
    exact, spoilt = golden("anbn", "lstm"), golden("anbn", "lstm")
    selected, called = CheckpointSelection([spoilt], language, config, "sets"), []
    callback = selected.callback(lambda step, losses: called.append(step))
    callback(config.steps, np.zeros(1))
    with torch.no_grad():
        spoilt.head.weight.zero_()
    callback(config.steps, np.zeros(1))
    assert called == [config.steps] * 2
    assert not (margins([spoilt], language, [6], "sets") > 0).any()
    selected.restore()
    assert torch.equal(spoilt.head.weight, exact.head.weight)


def test_selection_uses_no_size_beyond_its_limit(monkeypatch):
    tried = []
    monkeypatch.setattr(selection, "margins", lambda m, lg, sizes, r: tried.extend(sizes) or np.zeros((len(m), 1)))
    experiment.experiment(get("anbn"), replace(SMALL, choose_up_to=9), limit=20)
    assert {*tried} == {6, 7, 8, 9}
