"""The model: folding, saving, loading, its repr."""

import copy

import numpy as np
import pytest
import torch
from torch.nn.utils import parametrizations, prune

from tests.saved import seal
from unrolled import runtime
from unrolled.config.model import ModelConfig
from unrolled.lm.model import SequenceModel
from unrolled.saved.atomic_files import CheckpointError
from unrolled.saved.vocabulary import Vocabulary

VOCABULARY = Vocabulary.build("the <quick> brown fox")


def model_of(**options):
    torch.manual_seed(2)
    return SequenceModel(ModelConfig(**{"hidden_size": 9, **options}), VOCABULARY, framed=False)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_embedding_folded_into_the_input_weights_changes_nothing(cell):
    model = model_of(cell=cell, embedding_size=5)
    ids = torch.randint(len(VOCABULARY), (11, 3))
    few, _ = model(ids[:1])  # 3 positions, V = 20: not folded
    folded, _ = model(ids)  # 33 positions: folded
    torch.testing.assert_close(folded[:1], few, atol=1e-6, rtol=1e-5)
    rnn = model.rnn(torch.nn.functional.embedding(ids, model.E))[0]
    torch.testing.assert_close(folded, model.head(rnn), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "learned_initial_state": True}, {"embedding_size": 4}])
def test_model_step_by_step_is_the_whole_sequence(options):
    model = model_of(**options).eval()
    ids = torch.randint(len(VOCABULARY), (7, 3))
    whole, end = model(ids)
    state = None
    for t in range(7):
        logits, state = model(ids[t : t + 1], state)
        torch.testing.assert_close(logits[0], whole[t], atol=1e-6, rtol=1e-5)
    for got, want in zip(state, end, strict=True):
        torch.testing.assert_close(got, want, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("learned", [False, True])
def test_reset_returns_to_the_initial_state_of_the_model(learned):
    model = model_of(num_layers=2, learned_initial_state=learned, embedding_size=4).eval()
    for initial in model.initial:
        torch.nn.init.normal_(initial)
    ids, reset = torch.randint(len(VOCABULARY), (7, 3)), torch.zeros(7, 3, dtype=torch.bool)
    reset[4, :2] = True
    _, carried = model(ids)
    logits, end = model(ids, carried, reset=reset)
    before, between = model(ids[:4], carried)
    after, fresh = model(ids[4:])
    on, _ = model(ids[4:], between)
    torch.testing.assert_close(logits[:4], before)
    torch.testing.assert_close(logits[4:, :2], after[:, :2])
    torch.testing.assert_close(logits[4:, 2], on[:, 2])
    torch.testing.assert_close(end[0][:, :2], fresh[0][:, :2])
    if learned:
        (found,) = torch.autograd.grad(logits[4:, 0].sum(), [model.initial[0]])
        assert found.any()


def test_head_has_the_names_of_its_equation():
    model = model_of()
    assert model.W_hy is model.head.weight
    assert model.b_y is model.head.bias


@pytest.mark.parametrize("options", [{}, {"embedding_size": 9, "tied": True}, {"num_layers": 2, "cell": "gru"}])
def test_saved_model_comes_back_the_same(options, tmp_path):
    model = model_of(**options)
    model.save_pretrained(tmp_path / "model")
    again = SequenceModel.from_pretrained(tmp_path / "model")
    assert (again.config, again.vocabulary, again.framed) == (model.config, model.vocabulary, False)
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    with pytest.raises(CheckpointError, match="a model is already there"):
        model.save_pretrained(tmp_path / "model")
    model.save_pretrained(tmp_path / "model", overwrite=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": 8}, r"'rnn.weight_ih_l0' is float32 \(36, 20\), expected float32 \(G\*H, V\) = \(32, 20\)"),
        ({"num_layers": 2}, "'rnn.weight_ih_l1' is missing"),
        ({"hidden_size": -1}, "hidden_size is -1"),
        ({"cell": "lstn"}, "not the config of a model"),
    ],
)
def test_config_that_does_not_fit_the_weights_is_refused(change, message, tmp_path):
    model_of().save_pretrained(tmp_path / "model")
    seal.change(tmp_path / "model", config=lambda config: config | {"model": config["model"] | change})
    with pytest.raises(CheckpointError, match=message):
        SequenceModel.from_pretrained(tmp_path / "model")


@pytest.mark.parametrize("backend", ["fused", "reference"])
def test_double_model_comes_back_double(backend, tmp_path, monkeypatch):
    monkeypatch.setenv("UNROLLED_BACKEND", backend)
    model = model_of(num_layers=2).double().eval()
    model.save_pretrained(tmp_path / "model")
    again = SequenceModel.from_pretrained(tmp_path / "model")
    assert again.head.weight.dtype == torch.float64
    assert torch.equal(again(torch.tensor([[3]]))[0], model(torch.tensor([[3]]))[0])
    bits = runtime.load(tmp_path / "model").score("the").bits
    np.testing.assert_allclose(bits, model.score("the").bits, rtol=1e-12)


def test_model_that_no_release_could_load_is_not_saved(tmp_path):
    model = model_of()
    model.head.bias.data[3] = float("nan")
    with pytest.raises(CheckpointError, match="has 1 non-finite number"):
        model.save_pretrained(tmp_path / "model")
    with pytest.raises(CheckpointError, match="'start' is float16"):
        model_of().half().save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_repr_has_kind_and_sizes():
    model = model_of(embedding_size=5)
    assert repr(model) == "SequenceModel(LSTM, V 20, E 5, H 9, L 1, 876 parameters)"
    assert "&lt;" in model._repr_html_()
    assert "<quick>" not in model._repr_html_()


def test_model_refuses_a_symbol_outside_its_vocabulary():
    with pytest.raises(IndexError, match="20"):
        model_of()(torch.tensor([[3], [20]]))


def test_generate_changes_neither_mode_nor_random_stream():
    model = model_of(dropout=0.5).train()
    before = torch.get_rng_state()
    first = model.generate("the", max_length=30, seed=1)
    assert model.training
    assert torch.equal(torch.get_rng_state(), before)
    assert model.generate("the", max_length=30, seed=1) == first


def test_start_is_a_distribution_and_travels_with_the_model(tmp_path):
    model = model_of()
    assert np.exp(model.start.numpy()).sum() == pytest.approx(1)
    model.start[0] = 5.0
    model.save_pretrained(tmp_path / "model")
    assert SequenceModel.from_pretrained(tmp_path / "model").start[0] == 5.0


@pytest.mark.parametrize(
    "options",
    [{}, {"embedding_size": 3}, {"embedding_size": 7, "tied": True}, {"num_layers": 2, "learned_initial_state": True}],
    ids=str,
)
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_extended_model_predicts_the_old_symbols_as_before_up_to_the_share_of_the_new(cell, options):
    torch.manual_seed(0)
    model = SequenceModel(ModelConfig(cell=cell, hidden_size=7, **options), Vocabulary("bd")).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    larger = model.extended(Vocabulary("abcde"))
    rows = [1, 3, 5, 6]  # b d EOS UNK
    ids = torch.tensor([[0], [1], [1], [0], [3]])
    with torch.no_grad():
        (logits, state), (wider, after) = model(ids), larger(torch.tensor(rows)[ids])
    torch.testing.assert_close(wider[..., rows], logits)
    torch.testing.assert_close(after, state)
    share = wider.softmax(-1)[..., [0, 2, 4]].sum(-1, keepdim=True)
    torch.testing.assert_close(wider.log_softmax(-1)[..., rows], logits.log_softmax(-1) + torch.log1p(-share))
    assert torch.equal(larger.W_hy[rows], model.W_hy)
    assert torch.equal(larger.b_y[rows], model.b_y)
    before, now = (each.E if "embedding_size" in options else each.rnn.weight_ih_l0.T for each in (model, larger))
    assert torch.equal(now[rows], before)
    assert torch.isfinite(larger.b_y).all()
    assert larger.b_y.dtype == torch.float64
    assert larger.start[[0, 2, 4]].max() <= model.start.min()


def test_extended_model_of_another_vocabulary_is_refused():
    model = SequenceModel(ModelConfig(hidden_size=3), Vocabulary("ab", "characters"), framed=False)
    with pytest.raises(ValueError, match="lacks symbols that the model knows: 'a', 'b'"):
        model.extended(Vocabulary("cd", "characters"))
    with pytest.raises(ValueError, match="expected a vocabulary of the same kind"):
        model.extended(Vocabulary("ab"))
    assert not model.extended(Vocabulary("abc", "characters")).framed


COMPUTED = {
    "pruned": lambda part, weight: prune.l1_unstructured(part, weight, 0.5),
    "weight norm": torch.nn.utils.weight_norm,
    "spectral norm": torch.nn.utils.spectral_norm,
    "parametrized": parametrizations.weight_norm,
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("part", ["rnn", "head", "embedding"])
@pytest.mark.parametrize("computed", COMPUTED.values(), ids=COMPUTED)
def test_computed_weights_are_saved_as_the_next_call_reads_them(computed, part, tmp_path):
    model = model_of(embedding_size=5).eval()
    computed(getattr(model, part), "weight_hh_l0" if part == "rnn" else "weight")
    with torch.no_grad():
        for parameter in getattr(model, part).parameters():  # as an optimiser steps, after the last call
            parameter.mul_(1 + torch.rand_like(parameter))
    model.save_pretrained(tmp_path / "model")
    again, text = SequenceModel.from_pretrained(tmp_path / "model"), model.generate("the", max_length=9, seed=1)
    assert text == again.generate("the", max_length=9, seed=1)
    ids = torch.tensor([[3], [1], [2]])
    torch.testing.assert_close(again(ids)[0], model(ids)[0])


@pytest.mark.parametrize("part", ["rnn", "head", "embedding"])
def test_saving_leaves_spectral_norm_as_it_is_in_training(part):
    model = model_of(embedding_size=5)
    torch.nn.utils.spectral_norm(getattr(model, part), "weight_hh_l0" if part == "rnn" else "weight")
    before = {name: t.clone() for name, t in model.state_dict().items()}
    model.tensors()
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


@pytest.mark.parametrize("parts", [["head"], ["embedding"], ["head", "embedding"]])
def test_tied_model_whose_matrices_became_two_is_not_saved_as_one(parts, tmp_path):
    model = model_of(embedding_size=9, tied=True).eval()
    for part in parts:
        prune.l1_unstructured(getattr(model, part), "weight", 0.5)
    if len(parts) == 1:
        with pytest.raises(ValueError, match="tied, but the matrix of its head is no longer that of its embedding"):
            model.save_pretrained(tmp_path / "model")
    else:
        model.save_pretrained(tmp_path / "model")
        again = SequenceModel.from_pretrained(tmp_path / "model")
        assert torch.equal(again(torch.tensor([[3]]))[0], model(torch.tensor([[3]]))[0])


def test_model_whose_memory_was_freed_is_not_saved(tmp_path):
    model = model_of()
    model.head.weight.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match=r"head\.weight has elements, but its data is not allocated"):
        model.save_pretrained(tmp_path / "model")


def test_model_without_numbers_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match=r"start is on the meta device, so it has no numbers"):
        model_of().to("meta").save_pretrained(tmp_path / "model")


@pytest.mark.parametrize("part", ["rnn", "head", "embedding"])
def test_hook_that_saving_leaves_out_is_warned_of(part, tmp_path):
    model = model_of(embedding_size=5)
    getattr(model, part).register_forward_pre_hook(lambda *_: None)
    with pytest.warns(UserWarning, match="save_pretrained and what loads it read only the weights, so methods"):
        model.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match="methods, layers and hooks that this model adds or replaces have no effect"):
        model.generate("the", max_length=2)


@pytest.mark.parametrize("how", ["hook", "class"])
def test_embedding_that_does_more_is_called(how):
    class Tripled(torch.nn.Embedding):
        def forward(self, ids):
            return 3 * super().forward(ids)

    model, ids = model_of(embedding_size=5).eval(), torch.tensor([[3], [1]])
    other, E = copy.deepcopy(model), model.E.detach()
    if how == "hook":
        model.embedding.register_forward_hook(lambda _, given, x: 3 * x)
    else:
        model.embedding = Tripled(*E.shape, _weight=E)
    with torch.no_grad():
        other.E.mul_(3)
    torch.testing.assert_close(model(ids)[0], other(ids)[0])


OPTIONS = {"padding_idx": 3, "max_norm": 0.5, "scale_grad_by_freq": True, "sparse": True}


@pytest.mark.parametrize("option", OPTIONS)
def test_options_of_an_embedding_of_torchs_have_effect(option):
    model, ids = model_of(embedding_size=5), torch.randint(1, 4, (11, 3))
    model.embedding = torch.nn.Embedding(len(VOCABULARY), 5, **{option: OPTIONS[option]})
    other = copy.deepcopy(model)
    logits, _ = model(ids)
    want = other.head(other.rnn(other.embedding(ids))[0])
    torch.testing.assert_close(logits, want)
    logits.square().sum().backward()
    want.square().sum().backward()
    got, expected = model.embedding.weight.grad, other.embedding.weight.grad
    assert got.is_sparse == expected.is_sparse
    torch.testing.assert_close(got.to_dense(), expected.to_dense())


def test_saving_warns_of_an_embedding_that_shortens_rows(tmp_path):
    model = model_of(embedding_size=5)
    model.embedding.max_norm = 0.5
    with pytest.warns(UserWarning, match="read only the weights"):
        model.save_pretrained(tmp_path)


IDS = torch.tensor([[3, 1], [1, 2], [2, 4]])
H = torch.zeros(1, 2, 9)


@pytest.mark.parametrize("embedded", [{}, {"embedding_size": 4, "learned_initial_state": True}], ids=str)
@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        (IDS[:, 0], ValueError, r"ids must be an int64 tensor of shape \(T, B\), got .* \(3,\); give ids\[:, None\]"),
        (IDS[..., None], ValueError, r"ids must be an int64 tensor of shape \(T, B\), got .* \(3, 2, 1\)"),
        (IDS.int(), ValueError, r"ids must be .*, got an int32 tensor of shape \(3, 2\); .* input\.long\(\)"),
        (IDS.float(), ValueError, r"ids must be .*, got a float32 tensor of shape \(3, 2\)"),
        (IDS.tolist(), TypeError, "ids must be .*, got list"),
    ],
)
def test_wrong_symbols_are_named(ids, error, message, embedded):
    with pytest.raises(error, match=message):
        model_of(**embedded)(ids)


@pytest.mark.parametrize(
    ("cell", "state", "came"),
    [
        ("gru", H, "Tensor"),
        ("gru", (H, H), "2 tensors"),
        ("gru", (H, H, H), "3"),
        ("lstm", (H,), "1"),
        ("lstm", H, "T"),
    ],
)
def test_state_of_another_form_is_named(cell, state, came):
    form = r"\(h, c\)" if cell == "lstm" else r"\(h,\)"
    with pytest.raises(TypeError, match=f"state must be a tuple, {form}, as a call returns it, got {came}"):
        model_of(cell=cell)(IDS, state)


@pytest.mark.parametrize(
    "targets", [IDS.T, IDS.flatten(), IDS[:2], IDS.tolist()], ids=["turned", "flat", "short", "list"]
)
def test_targets_of_another_shape_than_the_symbols_are_refused(targets):
    with pytest.raises(ValueError, match=r"targets must be an int64 tensor of shape \(3, 2\), like the ids, got "):
        model_of().loss(IDS, targets)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_loss_counts_nothing_past_the_length_of_a_row(reduction):
    model, lengths = model_of(), torch.tensor([3, 1])
    loss, _ = model.loss(IDS, IDS, lengths=lengths, reduction=reduction)
    rows = [model.loss(IDS[:T, b, None], IDS[:T, b, None], reduction="sum")[0] for b, T in enumerate(lengths)]
    torch.testing.assert_close(loss, sum(rows) / (4 if reduction == "mean" else 1))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_model_without_an_embedding_can_be_traced():
    model = model_of().eval()
    assert not hasattr(model, "E")
    torch.testing.assert_close(torch.jit.trace(model, (IDS,))(IDS[:2])[0], model(IDS[:2])[0])


@pytest.mark.parametrize("computed", ["pruned", "parametrized"])
def test_weight_dropout_of_a_computed_weight_is_refused_before_it_is_written_to(computed):
    model = model_of(weight_dropout=0.5).train()
    COMPUTED[computed](model.rnn, "weight_hh_l0")
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=r"weight_dropout.* weight_hh_l0, which is computed from others"):
        model(torch.tensor([[3]]))
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_loading_and_extending_a_model_take_no_number_of_the_callers(tmp_path):
    model = SequenceModel(ModelConfig(hidden_size=3), Vocabulary("ab"))
    model.save_pretrained(tmp_path)
    before = torch.get_rng_state()
    SequenceModel.from_pretrained(tmp_path)
    model.extended(model.vocabulary.extended("c"))
    assert torch.equal(torch.get_rng_state(), before)
