"""What was tried to make nets count: a curriculum, averaged weights, noise on the cell state, chosen checkpoints."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from unrolled.config.lab import LabConfig
from unrolled.lab import experiment
from unrolled.lab.examples import language_examples
from unrolled.lab.golden import golden
from unrolled.lab.measuring import margins
from unrolled.lab.noise import SEGMENT, NoisyReplicas
from unrolled.lab.selection import Choice
from unrolled.lab.training import train
from unrolled.languages import Lengths, get
from unrolled.nn import dispatch
from unrolled.notation import weight_shapes

SMALL = LabConfig(seeds=2, steps=60, lengths="uniform:1-5", samples=20)


def weights_over_steps(config):
    """Return a net's flat weights after each of its steps, one run of training for each."""
    found = []
    for steps in range(1, config.steps + 1):
        models = [experiment.new_model(get("anbn"), config, 0)]
        examples = language_examples(get("anbn"), Lengths(config.lengths), config.samples, config.loss, [0])
        train(models, examples, replace(config, steps=steps))
        found.append(torch.cat([p.detach().flatten() for p in models[0].parameters()]))
    return torch.stack(found)


def test_average_is_the_mean_of_the_last_weights():
    config = replace(SMALL, steps=8, seeds=1, schedule="constant", gain=1.0)
    each = weights_over_steps(config)
    averaged = weights_over_steps(replace(config, average=0.25))[-1]
    torch.testing.assert_close(averaged, each[-2:].mean(0))
    assert not torch.equal(averaged, each[-1])


def test_curriculum_deals_from_the_shortest_strings():
    examples = language_examples(get("anbn"), Lengths("uniform:1-50"), 100, "softmax", [0, 1])
    least = [min(examples.batch(3, 0.0).steps) for _ in range(5)]
    assert least == least[:1] * 5
    tenth = [max(examples.batch(3, 0.1).steps) for _ in range(30)]
    whole = [max(examples.batch(3).steps) for _ in range(30)]
    assert max(tenth) < 30 < max(whole)


@pytest.mark.parametrize("B", [1, 3])
def test_cell_noise_has_the_gradients_of_autograd(B):
    """Against the layer run segment by segment, with the very noise that was drawn."""
    S, I, H, T = 2, 3, 5, 2 * SEGMENT + 3
    torch.manual_seed(0)
    weights = [torch.randn(S, *shape) for shape in weight_shapes("LSTM", I, H).values()]
    gradients = [torch.full_like(w, 7.0) for w in weights]
    nets = NoisyReplicas(weights, T, B, gradients, H, 1, sigma=0.5, seeds=[4, 5])
    noise = 0.5 * torch.from_numpy(np.stack([
        np.random.default_rng([seed, 3]).standard_normal((3, B, H), np.float32) for seed in (4, 5)
    ]))  # fmt: skip
    ids, dy = torch.randint(I, (S, T, B)), torch.randn(S, T, B, H)
    nets.ids[:, :T] = ids
    nets.forward([T, T])
    nets.dy[:, :T] = dy
    nets.backward([T, T])
    for s in range(S):
        own = [w[s].clone().requires_grad_() for w in weights]
        h = c = torch.zeros(1, B, H)
        ys = []
        for k in range(3):
            c = c + noise[s, k] if k else c
            y, h, c, *_ = dispatch.layer("LSTM", ids[s, k * SEGMENT : (k + 1) * SEGMENT], h, c, [(*own, None)])
            ys.append(y)
        want = torch.cat(ys)
        want.backward(dy[s])
        torch.testing.assert_close(nets.y[s, :T], want)
        for got, w in zip(gradients, own, strict=True):
            torch.testing.assert_close(got[s], w.grad)


def test_choice_keeps_the_weights_that_were_right_the_furthest():
    language, config = get("anbn"), replace(SMALL, choose_up_to=10)
    exact, spoilt = golden("anbn", "lstm"), golden("anbn", "lstm")
    choice = Choice([spoilt], language, config, "sets")
    choice.before(None)(config.steps, np.zeros(1))
    with torch.no_grad():
        spoilt.head.weight.zero_()
    choice.before(None)(config.steps, np.zeros(1))
    assert not (margins([spoilt], language, [6], "sets") > 0).any()
    choice.take()
    assert torch.equal(spoilt.head.weight, exact.head.weight)


def test_choice_looks_no_further_than_it_says(monkeypatch):
    from unrolled.lab import selection

    tried = []
    monkeypatch.setattr(selection, "margins", lambda m, lg, sizes, r: tried.extend(sizes) or np.zeros((len(m), 1)))
    experiment.experiment(get("anbn"), replace(SMALL, choose_up_to=9), limit=20)
    assert {*tried} == {6, 7, 8, 9}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"choose_up_to": 101}, "a size from 51 to 100"),
        ({"choose_up_to": 50}, "beyond the longest of training"),
        ({"cell_noise": 0.1, "cell": "gru"}, "only the cell lstm has a cell state"),
        ({"curriculum": 1.5}, "curriculum is 1.5"),
        ({"average": -0.1}, "average is -0.1"),
    ],
)
def test_what_cannot_be_tried_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        LabConfig(**options)
