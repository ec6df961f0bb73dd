"""Optimisers of the laboratory: the steps of torch's, and clipping."""

import numpy as np
import pytest
import torch

from unrolled.config.lab import LabConfig
from unrolled.lab.experiment import check
from unrolled.lab.optimisers import Adam, RMSprop, clip
from unrolled.languages import get


@pytest.mark.parametrize(("ours", "theirs"), [(Adam, torch.optim.Adam), (RMSprop, torch.optim.RMSprop)])
def test_optimisers_are_those_of_torch(ours, theirs):
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((1, 7)).astype(np.float32)
    parameter = torch.nn.Parameter(torch.from_numpy(weights[0].copy()))
    optimiser, rule = theirs([parameter], lr=0.03), ours(weights)
    for _ in range(20):
        gradient = rng.standard_normal((1, 7)).astype(np.float32)
        weights -= rule(gradient, np.float32(0.03))
        parameter.grad = torch.from_numpy(gradient[0])
        optimiser.step()
    np.testing.assert_allclose(weights[0], parameter.detach().numpy(), rtol=1e-4, atol=1e-6)


def test_gradient_too_large_for_its_square_is_clipped():
    gradients = np.full((2, 4), 1e30, np.float32)
    gradients[1] = 0.1
    clip(gradients, 1.0)
    np.testing.assert_allclose(gradients, [[0.5] * 4, [0.1] * 4], rtol=1e-6)


def test_unknown_optimiser_is_refused_before_training():
    with pytest.raises(ValueError, match="optimiser is 'sgd'; it must be one of adam, rmsprop"):
        check(get("anbn"), LabConfig(optimiser="sgd"))
