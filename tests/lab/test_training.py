"""Training: gradients of autograd, the same bits for a model alone and together with others, averaged weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from unrolled.config.lab import LabConfig
from unrolled.lab import training
from unrolled.lab.examples import language_examples
from unrolled.lab.experiment import new_model
from unrolled.lab.losses import LOSSES
from unrolled.lab.stacked import StackedModels
from unrolled.languages import Lengths, get


@pytest.mark.parametrize("loss", ["softmax", "sets", "squared"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_gradients_are_those_of_autograd(cell, loss):
    language = get("anbncn")
    config = LabConfig(cell=cell, loss=loss, batch_size=3, units=5, seeds=1, lengths="uniform:1-5")
    models = [new_model(language, config, 4)]
    examples = language_examples(language, Lengths(config.lengths), 20, loss, [4])
    stacked = StackedModels(models, 3, examples.T)
    batch = examples.batch(3)
    losses = training.gradients(stacked, batch, examples.targets, LOSSES[loss])
    ids, codes = batch.ids, batch.codes

    target = torch.from_numpy(examples.targets.table.T[codes[0]])
    mask = torch.from_numpy(codes[0] != examples.targets.ignored)
    logits, _ = models[0](torch.from_numpy(ids[0].astype(np.int64)))
    if loss == "softmax":
        each = -(torch.log_softmax(logits, -1) * target).sum(-1)
    elif loss == "sets":
        each = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(-1)
    else:
        each = (torch.sigmoid(logits) - target).square().mean(-1)
    want = each[mask].mean()
    want.backward()
    assert losses[0] == pytest.approx(want.item(), rel=1e-5)
    stacked.weights[...] = stacked.gradients  # so that write_back copies them to the parameters' names
    gradients = {name: p.grad.clone() for name, p in models[0].named_parameters()}
    stacked.write_back()
    for name, got in models[0].named_parameters():
        torch.testing.assert_close(
            got.detach(), gradients[name], rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )


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
def test_model_learns_the_same_bits_alone_and_together(setting, threads):
    torch.set_num_threads(threads)
    together = trained(range(5), **SETTINGS[setting])
    torch.set_num_threads(1)
    alone = [trained([s], **SETTINGS[setting])[0] for s in range(5)]
    assert [same(a, b) for a, b in zip(together, alone, strict=True)] == [True] * 5
    assert not same(together[0], together[1])


def test_comparison_sees_models_that_affect_each_other(monkeypatch):
    def clip_and_mix(gradients, most):
        gradients += gradients.mean(0)

    monkeypatch.setattr(training, "clip", clip_and_mix)
    together, alone = trained(range(2), steps=10), trained([0], steps=10)
    assert not same(together[0], alone[0])


def weights_over_steps(config):
    """Return a model's flat weights after each step, each from a training run of its own."""
    found = []
    for steps in range(1, config.steps + 1):
        models = [new_model(get("anbn"), config, 0)]
        examples = language_examples(get("anbn"), Lengths(config.lengths), config.samples, config.loss, [0])
        training.train(models, examples, replace(config, steps=steps))
        found.append(torch.cat([p.detach().flatten() for p in models[0].parameters()]))
    return torch.stack(found)


def test_average_is_the_mean_of_the_last_weights():
    config = LabConfig(seeds=1, steps=8, lengths="uniform:1-5", samples=20, schedule="constant", gain=1.0)
    each = weights_over_steps(config)
    averaged = weights_over_steps(replace(config, average=0.25))[-1]
    torch.testing.assert_close(averaged, each[-2:].mean(0))
    assert not torch.equal(averaged, each[-1])


def test_noise_on_the_weights_changes_the_gradients_and_is_removed_again():
    """Adam's first step is at most the learning rate, so larger changes would be noise that stayed."""
    options = {"steps": 1, "schedule": "constant", "gain": 1.0, "learning_rate": 0.03}
    (clean,), (noisy,) = trained([0], **options), trained([0], **options, weight_noise=1.0)
    assert not same(clean, noisy)
    for before, after in zip(new_model(get("anbn"), LabConfig(), 0).parameters(), noisy, strict=True):
        assert (after - before).abs().max() <= 0.0301
