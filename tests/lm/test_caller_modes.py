"""Training, measuring and looking inside torch's modes and under its defaults: the numbers are those of outside."""

from contextlib import contextmanager

import pytest
import torch

from unrolled.lab.stacked import StackedModels
from unrolled.lm import Corpus, ModelConfig, SequenceModel, TrainingConfig, evaluate, train

CORPUS = Corpus.from_text("abcabcabc" * 60)
CONFIGS = {
    "by hand": ({}, None),
    "by autograd": ({}, "rnn"),
    "dropout": ({"dropout": 0.2, "weight_dropout": 0.2, "num_layers": 2}, None),
    "embedded": ({"embedding_size": 3, "learned_initial_state": True}, "head"),
}


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    yield
    torch.set_default_dtype(before)


MODES = {
    "inference_mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "default device": lambda: torch.device("meta"),
    "default float64": lambda: default_dtype(torch.float64),
    "default float16": lambda: default_dtype(torch.float16),
}


def model_of(config):
    options, frozen = CONFIGS[config]
    torch.manual_seed(0)
    model = SequenceModel(ModelConfig(hidden_size=5, **options), CORPUS.vocabulary, framed=False)
    if frozen:
        getattr(model, frozen).requires_grad_(False)
    return model


def trained(model, **options):
    train(model, CORPUS, TrainingConfig(max_steps=10, batch_size=2, bptt=5, **options))
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize("optimiser", [{"optimiser": "adamw"}, {"optimiser": "sgd", "learning_rate": 1.0}], ids=str)
@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("mode", MODES)
def test_training_is_that_of_outside(mode, config, optimiser):
    want = trained(model_of(config), **optimiser)
    model = model_of(config)
    with MODES[mode]():
        got = trained(model, **optimiser)
    assert all(map(torch.equal, got, want))
    assert not any(p.is_inference() for p in model.parameters())
    trained(model)  # and it can be trained outside


def test_model_made_in_inference_mode_is_told_what_to_do():
    with torch.inference_mode():
        model = model_of("by hand")
    with pytest.raises(ValueError, match=r"made in torch.inference_mode, so nothing .* give copy.deepcopy\(model\)"):
        train(model, CORPUS, TrainingConfig(max_steps=1))


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_measuring_is_that_of_outside(mode, dynamic):
    model = model_of("by hand")
    want = evaluate(model, CORPUS, dynamic=dynamic).bits
    with MODES[mode]():
        assert evaluate(model, CORPUS, dynamic=dynamic).bits == want


@pytest.mark.parametrize("mode", MODES)
def test_models_together_have_the_numbers_of_outside(mode):
    models = [model_of("by hand")] * 2

    def logits():
        stacked = StackedModels(models, B=1, T=5)
        stacked.ids[:, :5, 0] = 0, 0, 0, 1, 1
        return torch.from_numpy(stacked.forward([5, 5])[:, :, :5].copy())

    want = logits()
    with MODES[mode]():
        got = logits()
    assert torch.equal(got, want)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_model_is_loaded_in_its_own_type(dtype, tmp_path):
    model = model_of("embedded").to(dtype)
    model.save_pretrained(tmp_path)
    with default_dtype(torch.float64 if dtype == torch.float32 else torch.float16):
        again = SequenceModel.from_pretrained(tmp_path)
    assert {p.dtype for p in (*again.parameters(), *again.buffers())} == {dtype}
    assert all(map(torch.equal, again.parameters(), model.parameters()))
