"""One step of time: the cells against torch's, in numbers, gradients and words."""

import pytest
import torch

import unrolled.nn
from tests.nn.compare import assert_all_close, assert_close
from tests.nn.layers import as_tuple, gradients, hx, pair

CASES = ["RNNCell", "LSTMCell", "GRUCell"]
I, H = 3, 9


def run(cell, x, state):
    after = as_tuple(cell(x, state))
    loss = sum((s * torch.arange(s.numel()).reshape(s.shape)).sum().abs() for s in after)
    leaves = {"x": x, **{f"state {k}": s for k, s in enumerate(as_tuple(state)) if s is not None}}
    leaves.update(cell.named_parameters())
    return {**{f"after {k}": s for k, s in enumerate(after)}, **gradients(loss, leaves)}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(), (1,), (5,), (0,)], ids=str)
@pytest.mark.parametrize("with_state", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_cell_matches_torch(route, name, bias, shape, with_state, dtype):
    theirs, ours = pair(name, I, H, bias=bias, dtype=dtype)
    x = torch.randn(*shape, I, dtype=dtype, requires_grad=True)
    state = hx(name, *shape, H, dtype=dtype, requires_grad=True) if with_state else None
    assert_all_close(run(ours, x, state), run(theirs, x, state))


@pytest.mark.parametrize("name", CASES)
def test_cell_without_input_features_has_torchs_gradients(route, name, new_memory_is_nan):
    theirs, ours = pair(name, 0, H, dtype=torch.float64)
    x, state = torch.zeros(5, 0, dtype=torch.float64, requires_grad=True), hx(name, 5, H, dtype=torch.float64)
    for s in as_tuple(state):
        s.requires_grad_()
    assert_all_close(run(ours, x, state), run(theirs, x, state))


def test_relu_cell_matches_torch(route):
    theirs, ours = pair("RNNCell", I, H, nonlinearity="relu", dtype=torch.float64)
    x = torch.randn(5, I, dtype=torch.float64, requires_grad=True)
    assert_all_close(run(ours, x, None), run(theirs, x, None))
    assert repr(ours) == repr(theirs) == "RNNCell(3, 9, nonlinearity=relu)"


@pytest.mark.parametrize("name", CASES)
def test_cell_equals_the_layer(route, name):
    cell = getattr(unrolled.nn, name)(I, H)
    layer = getattr(unrolled.nn, name.removesuffix("Cell"))(I, H)
    layer.load_state_dict({f"{key}_l0": w for key, w in cell.state_dict().items()})
    x, state = torch.randn(7, 5, I), None
    y, _ = layer(x)
    for t in range(7):
        state = cell(x[t], state)
        assert_close(f"h[{t}]", as_tuple(state)[0], y[t], 0 if route == "fused" else None)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_types_return_what_torch_returns(route, name, dtype):
    theirs, ours = pair(name, I, H, dtype=dtype)
    x = torch.randn(5, I, dtype=dtype)
    for got, want in zip(as_tuple(ours(x)), as_tuple(theirs(x)), strict=True):
        assert_close("h", got, want)


@pytest.mark.parametrize("name", CASES)
def test_autocast_returns_what_torch_returns(route, name):
    theirs, ours = pair(name, I, H)
    x = torch.randn(5, I)
    with torch.autocast("cpu", torch.bfloat16):
        for got, want in zip(as_tuple(ours(x)), as_tuple(theirs(x)), strict=True):
            assert got.dtype == want.dtype
            assert_close("h", got.float(), want.float(), tolerance=2e-2)


@pytest.mark.parametrize("name", CASES)
def test_one_hot_symbols_equal_their_dense_form(route, name):
    cell = getattr(unrolled.nn, name)(I, H)
    ids = torch.tensor([2, 0, 0, 1])
    for got, want in zip(as_tuple(cell(ids)), as_tuple(cell(torch.eye(I)[ids])), strict=True):
        assert_close("h", got, want)
    assert as_tuple(cell(ids[0]))[0].shape == (H,)
    with pytest.raises(IndexError, match="one-hot index 3 at input"):
        cell(torch.tensor([3]))


X = torch.zeros(5, I)
CALLS = {
    "input 3-D": lambda name: (torch.zeros(1, 5, I),),
    "hx 3-D": lambda name: (X, hx(name, 1, 5, H)),
    "width": lambda name: (X[:, :2],),
    "width of hx": lambda name: (X, hx(name, 5, 4)),
    "batch of hx": lambda name: (X, hx(name, 2, H)),
    "hx 2-D for one": lambda name: (X[0], hx(name, 1, H)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("arguments", CALLS.values(), ids=CALLS)
def test_wrong_call_says_what_torch_says(name, arguments):
    said = []
    for module in (torch.nn, unrolled.nn):
        torch.manual_seed(0)
        with pytest.raises((ValueError, RuntimeError)) as caught:
            getattr(module, name)(I, H)(*arguments(name))
        said.append((type(caught.value), str(caught.value)))
    assert said[0] == said[1]


@pytest.mark.parametrize("name", CASES)
def test_wrong_types_are_refused_with_the_remedy(name):
    cell = getattr(unrolled.nn, name)(I, H)
    with pytest.raises(RuntimeError, match=r"Convert input: input.to\(torch.float32\)"):
        cell(X.double())
    with pytest.raises(RuntimeError, match=r"Convert hx: hx.to\(torch.float32\)"):
        cell(X, hx(name, 5, H, dtype=torch.float64))
    with pytest.raises(RuntimeError, match="not at the same device"):
        cell(X.to("meta"))


def test_lstm_state_that_is_no_pair_is_named():
    with pytest.raises(TypeError, match=r"LSTMCell: Expected hx to be a pair of tensors \(h_0, c_0\), got Tensor"):
        unrolled.nn.LSTMCell(I, H)(X, torch.zeros(5, H))


def test_unknown_nonlinearity_is_refused_at_the_call_as_torch_does():
    for module in (torch.nn, unrolled.nn):
        with pytest.raises(RuntimeError, match="Unknown nonlinearity: gelu"):
            module.RNNCell(I, H, nonlinearity="gelu")(X)


@pytest.mark.parametrize("name", CASES)
def test_other_devices_go_to_torchs_own_cell(name):
    cell = getattr(unrolled.nn, name)(I, H).to("meta")
    x = X.to("meta")
    assert unrolled.nn.explain_backend(cell, x).path == "torch"
    assert [s.shape for s in as_tuple(cell(x))] == [(5, H)] * (1 + (name == "LSTMCell"))


@pytest.mark.parametrize("name", CASES)
def test_cell_compiles_whole(name):
    cell = getattr(unrolled.nn, name)(I, H)
    compiled = torch.compile(cell, fullgraph=True, backend="aot_eager")
    x = torch.randn(5, I)
    for got, want in zip(as_tuple(compiled(x)), as_tuple(cell(x)), strict=True):
        assert torch.equal(got, want)
