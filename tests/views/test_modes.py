"""Views inside torch's modes, of frozen models, and of models that are being trained."""

import copy
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from tests.views.small_models import CONFIGS, small
from unrolled.views.explain import explain
from unrolled.views.gradients import connectivity, gradients, saliency
from unrolled.views.jacobians import jacobians, singular_values
from unrolled.views.report import report
from unrolled.views.traces import trace

TEXT = "abcabba"
VIEWS = {
    "trace": lambda model: [trace(model, TEXT).logits],
    "gradients": lambda model: [layer.dh for layer in gradients(model, TEXT).layers],
    "saliency": lambda model: [saliency(model, TEXT)],
    "connectivity": lambda model: [connectivity(model, TEXT)],
    "jacobians": lambda model: [jacobians(model, TEXT).h],
    "singular values": lambda model: list(singular_values(model).values()),
    "explain": lambda model: [
        line.values for table in explain(model, TEXT[:4]).tables for line in table.lines if len(line.values)
    ],
    "report": lambda model: [report(model, TEXT).lags.h],
}


def as_it_is(model):
    return model


def frozen(model):
    return model.requires_grad_(False)


@torch.inference_mode()
def made_in_inference_mode(model):
    return copy.deepcopy(model)


MODES = {
    "inference_mode": (torch.inference_mode, as_it_is),
    "no_grad": (torch.no_grad, as_it_is),
    "default device": (lambda: torch.device("meta"), as_it_is),
    "frozen": (nullcontext, frozen),
    "of inference": (nullcontext, made_in_inference_mode),
    "inference in inference_mode": (torch.inference_mode, made_in_inference_mode),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("config", CONFIGS)
def test_view_has_the_same_numbers(config, view, mode):
    want = VIEWS[view](small(config))
    context, changed = MODES[mode]
    model = changed(small(config))
    with context():
        got = VIEWS[view](model)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("config", CONFIGS)
def test_view_leaves_a_model_in_training_as_it_is(config, view):
    model = small(config).train()
    model.outputs(torch.from_numpy(model.vocabulary.encode(TEXT))[:, None])[0].sum().backward()
    before = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    stream = torch.get_rng_state()
    VIEWS[view](model)
    for p, grad in zip(model.parameters(), before, strict=True):
        assert p.requires_grad
        assert p.grad is grad is None or torch.equal(p.grad, grad)
    assert all(part.training for part in model.modules())
    assert torch.equal(torch.get_rng_state(), stream)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("view", VIEWS)
def test_model_of_a_half_type_is_refused_with_the_remedy(view, dtype):
    with pytest.raises(ValueError, match=f"views read models of float32 and float64, this one is {dtype}"):
        VIEWS[view](small("lstm", dtype=dtype))
