"""Steps without a gradient: the fast path to the core, when it is taken, and that it never uses old weights."""

from __future__ import annotations

import pytest
import torch
from torch.testing._internal.two_tensor import TwoTensor

import unrolled.nn as unn
from unrolled.core.fields import Layout, Weights
from unrolled.nn import dispatch, fused, reference

I, H = 7, 19


def layer_and_state(name, B, L=1, **options):
    layer = getattr(unn, name)(I, H, num_layers=L, **options)
    rows = () if B is None else (B,)
    P = options.get("proj_size") or H
    states = (torch.randn(L, *rows, P), torch.randn(L, *rows, H))
    return layer, torch.randn(*rows, I), states if name == "LSTM" else states[0]


@pytest.fixture
def fast_path(monkeypatch):
    """A list that says for each call of the fast path whether it answered."""
    taken, step = [], fused.step

    def watched(*arguments, **options):
        found = step(*arguments, **options)
        taken.append(found is not None)
        return found

    monkeypatch.setattr(fused, "step", watched)
    return taken


def flat(found):
    return [t for part in found for t in (part if isinstance(part, tuple) else (part,))]


@pytest.mark.parametrize(
    ("name", "options"),
    [("RNN", {"nonlinearity": "relu"}), ("GRU", {"bias": False}), ("LSTM", {}), ("LSTM", {"proj_size": 5})],
    ids=str,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("B", [None, 1, 3, 4, 5])
@pytest.mark.parametrize("L", [1, 3])
def test_fast_step_has_the_bits_of_the_layer(name, options, dtype, B, L, fast_path):
    layer, x, state = layer_and_state(name, B, L, dtype=dtype, **options)
    x, state = x.to(dtype), tuple(s.to(dtype) for s in state) if name == "LSTM" else state.to(dtype)
    slow, after = layer(x[None], state)  # with a gradient: the slow path
    with torch.no_grad():
        found = layer.step(x, state)
    assert fast_path == [True]
    for got, want in zip(flat(found), flat((slow[0], after)), strict=True):
        assert got.shape == want.shape
        assert torch.equal(got, want)


@pytest.mark.parametrize("name", ["RNNCell", "GRUCell", "LSTMCell"])
@pytest.mark.parametrize("B", [None, 1, 3, 6])
def test_fast_step_of_a_cell_has_the_bits_of_the_slow_one(name, B, fast_path):
    cell, rows = getattr(unn, name)(I, H), () if B is None else (B,)
    x, h, c = torch.randn(*rows, I), torch.randn(*rows, H), torch.randn(*rows, H)
    hx = (h, c) if name == "LSTMCell" else h
    with torch.no_grad():
        fast = cell(x, hx)
    assert fast_path == [True]
    for got, want in zip(flat([fast]), flat([cell(x, hx)]), strict=True):
        assert got.shape == want.shape
        assert torch.equal(got, want)


def written_in_place(layer):
    layer.weight_hh_l0.mul_(2)


def written_behind_the_version(layer):
    layer.weight_hh_l0.data.mul_(2)


def written_through_numpy(layer):
    layer.weight_hh_l0.detach().numpy()[...] *= 2


def given_other_data(layer):
    layer.weight_hh_l0.data = layer.weight_hh_l0.data * 2


def given_other_strides(layer):
    layer.weight_hh_l0.data = (layer.weight_hh_l0.data * 2).t().contiguous().t()


def replaced(layer):
    layer.weight_hh_l0 = torch.nn.Parameter(layer.weight_hh_l0 * 2)


def parametrized(layer):
    class Twice(torch.nn.Module):
        def forward(self, w):
            return w * 2

    torch.nn.utils.parametrize.register_parametrization(layer, "weight_hh_l0", Twice())


@pytest.mark.parametrize(
    "change",
    [
        written_in_place,
        written_behind_the_version,
        written_through_numpy,
        given_other_data,
        given_other_strides,
        replaced,
        parametrized,
    ],
)
@torch.no_grad()
def test_step_reads_the_weights_as_they_are_now(change):
    layer, x, state = layer_and_state("GRU", 2)
    layer.step(x, state)
    want = unn.GRU(I, H)
    want.load_state_dict(layer.state_dict())
    want.weight_hh_l0 *= 2
    change(layer)
    assert torch.equal(layer.step(x, state)[0], want(x[None], state)[0][0])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", ["GRU", "LSTM"])
def test_results_of_a_step_share_no_memory(mode, name):
    layer, x, state = layer_and_state(name, 3)
    with mode():
        found = flat(layer.step(x, state))
    assert all(t.is_inference() == (mode is torch.inference_mode) for t in found)
    assert (
        len({t.untyped_storage().data_ptr() for t in (*found, *flat([state]), x)})
        == len(found) + len(flat([state])) + 1
    )


@torch.no_grad()
def test_what_is_not_plain_takes_the_slow_path(fast_path):
    gru, x, h = layer_and_state("GRU", 3)
    cases = {
        "a list": lambda: unn.LSTMCell(I, H)(x, [h[0], h[0]]),
        "no state": lambda: gru.step(x),
        "another type": lambda: gru.step(TwoTensor(x, x.clone()), h),
        "columns": lambda: gru.step(x.t().contiguous().t(), h),
        "negated": lambda: gru.step(torch._neg_view(x), h),
        "one-hot": lambda: gru.step(torch.tensor([0, 6, 2]), h),
        "half": lambda: gru.half().step(x.half(), h.half()),
    }
    for why, call in cases.items():
        call()
        assert fast_path == [False], why
        fast_path.clear()


@torch.no_grad()
def test_modes_and_hooks_take_the_slow_path(fast_path, monkeypatch):
    gru, x, h = layer_and_state("GRU", 3)
    with torch.autocast("cpu", torch.bfloat16):
        gru.step(x, h)
    torch.vmap(lambda x: gru.step(x, h)[0])(x[None])
    with torch.enable_grad():
        gru.step(x, h)
    called = []
    handle = gru.register_forward_hook(lambda *_: called.append(True))
    gru.step(x, h)
    handle.remove()
    gru.forward = lambda *_: (x[None], called.append(False))
    gru.step(x, h)
    del gru.forward
    monkeypatch.setenv("UNROLLED_BACKEND", "reference")
    gru.step(x, h)
    assert called == [True, False]
    assert fast_path == []
    assert dispatch.step("GRU", x, h, gru.weights(), stacked=True) is None
    monkeypatch.delenv("UNROLLED_BACKEND")
    gru.step(x, h)
    assert fast_path == [True]


@pytest.mark.parametrize(
    "bad",
    [
        lambda x, h: (x[:, 1:], h),
        lambda x, h: (x, h[:1]),
        lambda x, h: (x, h[:, 1:]),
        lambda x, h: (x.double(), h),
        lambda x, h: (x, h.double()),
        lambda x, h: (x[None, None], h),
        lambda x, h: (x, h[None, None]),
        lambda x, h: (x.to("meta"), h),
        lambda x, h: (x, "h"),
        lambda x, h: (None, h),
    ],
    ids=range(10),
)
@pytest.mark.parametrize("name", ["GRUCell", "GRU"])
def test_bad_input_has_the_same_message_with_and_without_gradients(name, bad):
    cell = unn.GRUCell(I, H)
    layer = unn.GRU(I, H)
    x, h = bad(torch.randn(3, I), torch.randn(3, H))
    if name == "GRU" and isinstance(h, torch.Tensor):
        h = h[None]

    def call():
        return cell(x, h) if name == "GRUCell" else layer.step(x, h)

    with pytest.raises(Exception, match=r"\w") as with_gradients:
        call()
    with pytest.raises(type(with_gradients.value)) as without, torch.no_grad():
        call()
    assert str(without.value) == str(with_gradients.value)


@pytest.mark.parametrize("grad", [True, False])
def test_half_an_lstm_state_is_refused(grad):
    cell, x, h = unn.LSTMCell(I, H), torch.randn(3, I), torch.randn(3, H)
    with torch.set_grad_enabled(grad):
        for state in ((h, None), (None, None), (h,)):
            with pytest.raises(TypeError, match="pair of tensors"):
                cell(x, state)


def test_layer_without_input_features_runs_on_its_state_alone():
    weights = Weights(torch.zeros(3 * H, 0), torch.randn(3 * H, H))
    x, h = torch.zeros(5, 3, 0), torch.randn(1, 3, H)
    y, *_ = dispatch.layer("GRU", x, h, None, [weights])
    want, *_ = reference.layer("GRU", Layout(), x, h, None, [weights])
    assert torch.allclose(y, want, atol=1e-6)
    assert torch.equal(dispatch.step("GRU", x[0], h, [weights], stacked=True)[0], y[0])
