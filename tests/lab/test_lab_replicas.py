"""A net among others takes the same steps as the net alone, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unrolled.config.lab import LabConfig
from unrolled.lab import training
from unrolled.lab.examples import language_examples
from unrolled.lab.experiment import new_model
from unrolled.lab.optimisers import clip
from unrolled.languages import Lengths, get


def trained(seeds, **options):
    config = LabConfig(**options)
    language = get("anbn")
    models = [new_model(language, config, seed) for seed in seeds]
    examples = language_examples(language, Lengths(config.lengths), config.samples, config.loss, seeds)
    training.train(models, examples, LabConfig(**options, seeds=len(seeds), first_seed=seeds[0]))
    return [[parameter.detach().clone() for parameter in model.parameters()] for model in models]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


SETTINGS = {
    "one string a step": {"steps": 70},
    "sets, odd sizes": {"steps": 40, "batch_size": 3, "units": 7, "loss": "sets", "lengths": "short:1-50"},
    "squared, noise": {"steps": 30, "batch_size": 16, "cell": "gru", "loss": "squared", "weight_noise": 0.01},
    "all samples, rnn": {"steps": 20, "batch_size": 0, "samples": 37, "cell": "rnn", "optimiser": "rmsprop"},
    "noise on c, mean": {"steps": 20, "batch_size": 2, "cell_noise": 0.5, "average": 0.4},
    "curriculum": {"steps": 60, "curriculum": 0.7, "batch_size": 5, "lengths": "uniform:1-30"},
    "decay, no clipping": {"steps": 25, "batch_size": 2, "units": 33, "weight_decay": 0.1, "clip_norm": 0.0},
}  # fmt: skip


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("setting", SETTINGS)
def test_net_learns_the_same_bits_alone_and_among_others(setting, threads):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        together = trained(range(5), **SETTINGS[setting])
        torch.set_num_threads(1)
        alone = [trained([s], **SETTINGS[setting])[0] for s in range(5)]
    finally:
        torch.set_num_threads(before)
    assert [same(a, b) for a, b in zip(together, alone, strict=True)] == [True] * 5
    assert not same(together[0], together[1])


def test_a_sum_over_neighbours_would_be_seen(monkeypatch):
    def clip_and_mix(gradients, most):
        gradients += gradients.mean(0)

    monkeypatch.setattr(training, "clip", clip_and_mix)
    together, alone = trained(range(2), steps=10), trained([0], steps=10)
    assert not same(together[0], alone[0])


def test_torchs_own_random_stream_is_left_alone():
    torch.manual_seed(3)
    want = torch.rand(3)
    torch.manual_seed(3)
    new_model(get("anbn"), LabConfig(), 7)
    assert torch.equal(torch.rand(3), want)


def test_gradient_too_large_for_its_square_is_clipped():
    gradients = np.full((2, 4), 1e30, np.float32)
    gradients[1] = 0.1
    clip(gradients, 1.0)
    np.testing.assert_allclose(gradients, [[0.5] * 4, [0.1] * 4], rtol=1e-6)
