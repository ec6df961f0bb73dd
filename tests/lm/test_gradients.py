"""The gradient by hand against autograd's, by name, for every option of the model."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn.utils import prune

from tests.core.cases import assert_same_bits
from tests.nn.compare import TOLERANCE, assert_all_close, assert_close
from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.corpus.batching import IGNORED
from unrolled.corpus.corpus import Corpus
from unrolled.lm import gradients as lm_gradients
from unrolled.lm.gradients import by_autograd, by_hand, gradient_function
from unrolled.lm.loader import Batch
from unrolled.lm.model import SequenceModel
from unrolled.lm.training import train
from unrolled.nn import LSTM, fused
from unrolled.saved.vocabulary import Vocabulary

MODELS = {
    "rnn": ModelConfig(cell="rnn", hidden_size=7),
    "rnn-relu-tied": ModelConfig(cell="rnn", nonlinearity="relu", hidden_size=9, embedding_size=9, tied=True),
    "lstm-learned-2-layers": ModelConfig(cell="lstm", hidden_size=7, num_layers=2, learned_initial_state=True),
    "gru-embedded": ModelConfig(cell="gru", hidden_size=9, embedding_size=5),
    "lstm-3-layers-dropout": ModelConfig(cell="lstm", hidden_size=9, num_layers=3, embedding_size=3, dropout=0.4),
    "lstm-2-layers-weight-dropout": ModelConfig(hidden_size=9, num_layers=2, dropout=0.2, weight_dropout=0.1),
    "gru-embedded-weight-dropout": ModelConfig(cell="gru", hidden_size=9, embedding_size=3, weight_dropout=0.5),
    "rnn-weight-dropout": ModelConfig(cell="rnn", hidden_size=9, weight_dropout=0.5),
    "gru-tied-learned-dropout": ModelConfig(
        cell="gru", hidden_size=7, embedding_size=7, tied=True, learned_initial_state=True, dropout=0.2
    ),
}


def ragged_batch(V, T=7, B=3):
    rng = np.random.default_rng(0)
    lengths = np.array([T, 4, 1])
    targets = np.where(np.arange(T)[:, None] < lengths, rng.integers(0, V, (T, B)), IGNORED)
    ids = torch.from_numpy(rng.integers(0, V, (T, B)))
    return Batch(ids, torch.from_numpy(targets), torch.from_numpy(lengths), True, int(lengths.sum()))


def gradients(function, model, batch, state):
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    torch.manual_seed(5)  # of dropout
    nats, after = function(model, batch, state)
    found = {name: p.grad.clone() for name, p in model.named_parameters()}
    return found | {"loss": torch.tensor(nats)} | {f"state {k}": s for k, s in enumerate(after)}


def large(name, V):
    """Return a model whose weights are so large that no gradient is zero by chance."""
    torch.manual_seed(1)
    model = SequenceModel(MODELS[name], Vocabulary([f"s{k}" for k in range(V - 2)]))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return model


def carried_state(model, B=3):
    return tuple(torch.randn(model.config.num_layers, B, model.config.hidden_size) for _ in range(model.state_count))


@pytest.mark.parametrize(
    ("V", "looked_up"), [(5, 0), (5, 1 << 15), (40, 0)], ids=["through W_ih E^T", "looked up", "V>T*B"]
)
@pytest.mark.parametrize("carried", [False, True], ids=["fresh", "carried"])
@pytest.mark.parametrize("name", MODELS)
def test_gradient_by_hand_matches_autograd(name, carried, V, looked_up, monkeypatch):
    monkeypatch.setattr(lm_gradients, "LOOKED_UP", looked_up)
    model = large(name, V)
    state, batch = carried_state(model) if carried else None, ragged_batch(V)
    got, want = gradients(by_hand, model, batch, state), gradients(by_autograd, model, batch, state)
    for key, value in want.items():
        torch.testing.assert_close(got[key], value, rtol=1e-5, atol=2e-5, msg=lambda m, key=key: f"{key}: {m}")
    expected_zero = {f"initial.{k}" for k in range(2)} if carried else set()
    for key, value in got.items():
        assert (value.abs().max() == 0) == (key in expected_zero), key


@pytest.mark.parametrize("function", [by_hand, by_autograd])
@pytest.mark.parametrize("T", [7, 40], ids=["T*B<V", "T*B>V"])
@pytest.mark.parametrize("carried", [False, True], ids=["fresh", "carried"])
@pytest.mark.parametrize("name", MODELS)
def test_gradient_in_bfloat16_is_that_of_float32_but_for_roundings(name, carried, T, function, monkeypatch):
    # Rows that are looked up are rounded too, and the unit of a relu near zero may switch by that.
    monkeypatch.setattr(lm_gradients, "LOOKED_UP", 0 if "relu" in name else lm_gradients.LOOKED_UP)
    model = large(name, V=40)
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    state, batch = carried_state(model) if carried else None, ragged_batch(40, T)
    got = gradients(partial(function, narrow=torch.bfloat16), model, batch, state)
    want = gradients(by_hand, model, batch, state)
    errors = {key: float((got[key] - value).norm() / value.norm().clamp_min(1e-9)) for key, value in want.items()}
    assert {key: error for key, error in errors.items() if error > TOLERANCE[torch.bfloat16]} == {}
    assert errors["rnn.weight_hh_l0"] > 2**-12  # what float32 would stay below
    assert_same_bits(dict(model.named_parameters()), before)
    for key, value in want.items():
        assert got[key].dtype == value.dtype, key


def test_precision_chooses_the_type_of_the_pass():
    model, batch = large("gru-embedded", V=40), ragged_batch(40)
    wide, narrow = (gradients(f, model, batch, None) for f in (by_hand, partial(by_hand, narrow=torch.bfloat16)))
    assert_same_bits(gradients(gradient_function(model, "float32"), model, batch, None), wide)
    assert_same_bits(gradients(gradient_function(model, "bfloat16"), model, batch, None), narrow)


@pytest.mark.usefixtures("instruction_set")
def test_gradient_in_bfloat16_needs_no_units_for_it():
    model = large("lstm-learned-2-layers", V=40)
    got = gradients(gradient_function(model, "bfloat16"), model, ragged_batch(40), None)
    want = gradients(by_hand, model, ragged_batch(40), None)
    for key, value in want.items():
        assert_close(key, got[key], value, TOLERANCE[torch.bfloat16])


@pytest.mark.parametrize("function", [by_hand, by_autograd])
def test_gradients_are_added_to_what_is_there(function):
    torch.manual_seed(1)
    model = SequenceModel(MODELS["rnn"], Vocabulary("abc"))
    once = gradients(function, model, ragged_batch(5), None)["head.weight"]
    function(model, ragged_batch(5), None)
    torch.testing.assert_close(model.head.weight.grad, 2 * once)


@pytest.mark.filterwarnings("ignore:precision='bfloat16' brings no speed here")
@pytest.mark.parametrize("steps", [2, "auto"])
@pytest.mark.parametrize("frozen", [False, True], ids=["by hand", "by autograd"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_with_checkpoint_steps_ends_with_the_same_bits(precision, cell, frozen, steps):
    corpus = Corpus.from_text("abcab" * 300, validation=0, test=0)
    ends = []
    for checkpoint_steps in (None, steps):
        options = {"num_layers": 2, "embedding_size": 3, "dropout": 0.2, "checkpoint_steps": checkpoint_steps}
        torch.manual_seed(1)
        model = SequenceModel(ModelConfig(cell, 9, **options), corpus.vocabulary, framed=False)
        assert model.rnn.checkpoint_steps == checkpoint_steps
        model.head.bias.requires_grad_(not frozen)
        assert gradient_function(model) is (by_autograd if frozen else by_hand)
        config = TrainingConfig(max_steps=4, batch_size=8, bptt=40, precision=precision)
        train(model, corpus, config)  # segments end at blocks of 16 steps
        ends.append(model.state_dict())
    for name, want in ends[0].items():
        assert torch.equal(ends[1][name], want), name


def test_by_hand_saves_no_gates_with_checkpoint_steps(monkeypatch):
    saved, forward = [], fused.forward

    def watched(*arguments):
        net = forward(*arguments)
        saved.append(net.gates.numel())
        return net

    monkeypatch.setattr(fused, "forward", watched)
    for steps in (None, 2):
        model = SequenceModel(ModelConfig(hidden_size=9, checkpoint_steps=steps), Vocabulary("abc"))
        gradients(by_hand, model, ragged_batch(5), None)
    assert saved[0] > 0
    assert saved[1] == 0


@pytest.mark.parametrize("module", ["rnn", ""], ids=["rnn", "model"])
def test_module_with_hooks_is_left_to_autograd_and_its_hooks_are_called(module):
    model, called = SequenceModel(MODELS["lstm-3-layers-dropout"], Vocabulary("abc")), []
    hooked = model.get_submodule(module)
    handle = hooked.register_forward_hook(lambda *_: called.append(True))
    model(torch.zeros(4, 2, dtype=torch.int64))
    assert called == [True]
    assert gradient_function(model) is by_autograd
    handle.remove()
    assert gradient_function(model) is by_hand


def test_frozen_and_computed_weights_are_left_to_autograd():
    model = SequenceModel(MODELS["gru-embedded"], Vocabulary("abc"))
    assert gradient_function(model) is by_hand
    torch.nn.utils.parametrizations.weight_norm(model.rnn, "weight_hh_l0")
    assert gradient_function(model) is by_autograd
    frozen = SequenceModel(MODELS["gru-embedded"], Vocabulary("abc"))
    frozen.embedding.weight.requires_grad_(False)
    assert gradient_function(frozen) is by_autograd
    corpus = Corpus.from_sequences([["a", "b"], ["c", "a"]], validation=0, test=0)
    before = frozen.E.clone()
    train(frozen, corpus, TrainingConfig(max_steps=3))
    assert torch.equal(frozen.E, before)


def test_methods_and_layers_of_a_models_own_are_left_to_autograd_and_used():
    """A hand-written gradient is that of this package's own methods; any other would be ignored in silence."""
    corpus = Corpus.from_text("abcab" * 30, validation=0, test=0)
    called = []

    class Forward(SequenceModel):
        def forward(self, *args, **kwargs):
            called.append(True)
            return super().forward(*args, **kwargs)

    class Loss(SequenceModel):
        def loss(self, *args, **kwargs):
            called.append(True)
            return super().loss(*args, **kwargs)

    class Layer(LSTM):
        def forward(self, *args, **kwargs):
            called.append(True)
            return super().forward(*args, **kwargs)

    config, V = ModelConfig(hidden_size=5), corpus.vocabulary
    changed = [Forward(config, V), Loss(config, V), *(SequenceModel(config, V) for _ in range(3))]
    changed[2].rnn = Layer(len(V), 5)
    made = changed[3].forward
    changed[3].forward = lambda *args, **kwargs: called.append(True) or made(*args, **kwargs)
    changed[4].rnn = LSTM(len(V), 5, num_layers=2)
    for model in changed:
        called.clear()
        before = [w.clone() for w in model.parameters()]
        train(model, corpus, TrainingConfig(max_steps=2))
        assert len(called) == 2 or model is changed[4]
        assert not any(map(torch.equal, before, model.parameters()))  # both layers of the last one
        with pytest.warns(UserWarning, match="generate, stream and score read only the weights"):
            model.runtime() if model is not changed[4] else model.score("ab")


def test_models_that_cannot_be_trained_are_refused_in_a_sentence():
    corpus = Corpus.from_text("abcab" * 30, validation=0, test=0)
    model = SequenceModel(ModelConfig(hidden_size=5), corpus.vocabulary)
    with pytest.raises(ValueError, match="every weight of the model is frozen, so there is nothing to train"):
        train(model.requires_grad_(False), corpus)
    with pytest.raises(ValueError, match=r"the weights are torch\.bfloat16, expected float32 or float64; precision="):
        train(model.requires_grad_().bfloat16(), corpus)
    with pytest.raises(ValueError, match=r"bfloat16, which numpy lacks; convert the model, model\.float\(\)"):
        model.generate("a")


@pytest.mark.parametrize("part", ["head", "embedding"])
@pytest.mark.parametrize("how", ["pruned", "parametrized", "hooked", "another"])
def test_part_that_computes_more_is_trained_as_it_computes(how, part):
    corpus, called = Corpus.from_text("abcab" * 30, validation=0, test=0), []
    model = SequenceModel(ModelConfig(hidden_size=5, embedding_size=4), corpus.vocabulary)
    changed = getattr(model, part)

    class Another(type(changed)):
        def forward(self, x):
            called.append(True)
            return super().forward(x)

    if how == "pruned":
        prune.l1_unstructured(changed, "weight", 0.5)
    elif how == "parametrized":
        torch.nn.utils.parametrizations.weight_norm(changed)
    elif how == "hooked":
        changed.register_forward_hook(lambda *_: called.append(True))
    else:
        setattr(model, part, changed := Another(*(5, 5) if part == "head" else (5, 4)))
    before = changed.weight.detach().clone()
    train(model, corpus, TrainingConfig(max_steps=2))
    model(torch.tensor([[0]]))
    assert not torch.equal(changed.weight, before)
    assert bool(called) == (how in ("hooked", "another"))
    if how == "pruned":
        assert torch.equal(changed.weight == 0, before == 0)


@pytest.mark.parametrize("option", [{"padding_idx": 1}, {"max_norm": 0.5}, {"scale_grad_by_freq": True}, {}], ids=str)
def test_embedding_that_does_more_is_trained_as_torch_trains_it(option):
    class Tripled(torch.nn.Embedding):
        def forward(self, ids):
            return 3 * super().forward(ids)

    model = large("gru-embedded", V=6)
    cls = torch.nn.Embedding if option else Tripled
    model.embedding = cls(*model.E.shape, _weight=model.E.detach().clone(), **option)
    batch, other = ragged_batch(6), copy.deepcopy(model)
    want = gradients(by_autograd, other, batch, None)
    assert_all_close(gradients(gradient_function(model), model, batch, None), want)
