"""bfloat16: errors no larger than torch's own, and numbers that are not finite where torch has them.

Bits and shapes are tested with those of the other types, in tests/core.
"""

import copy

import pytest
import torch
from torch.utils._pytree import tree_leaves

import unrolled.nn
from tests.core.cases import KINDS, assert_same_bits, make
from tests.nn.compare import assert_all_close, assert_close
from tests.nn.layers import LAYERS, as_tuple, pair
from unrolled.core import _core
from unrolled.nn import from_torch

#: Shapes (T, B, I, H), with odd sums over k and without, options of the layer, and seeds: enough that the roundings of
#: a gradient, which are few where it is small, do not decide by chance.
SHAPES = {
    "odd": ((11, 3, 5, 9), {}, 100),
    "rows": ((13, 33, 16, 64), {}, 8),
    "stack": ((9, 8, 31, 47), {"num_layers": 2, "bidirectional": True}, 8),
}


def everything(layer, x, upstream):
    """Outputs, states and gradients by name, in float64."""
    x = x.to(next(layer.parameters()).dtype).detach().requires_grad_()
    y, state = layer(x)
    y.backward(upstream.to(y.dtype))
    results = {"y": y, "dx": x.grad, **{f"state {k}": s for k, s in enumerate(as_tuple(state))}}
    results |= {name: w.grad for name, w in layer.named_parameters()}
    return {name: t.detach().double() for name, t in results.items()}


def squared_errors(got, exact):
    return {name: float(((got[name] - t) ** 2).sum()) for name, t in exact.items()}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", LAYERS)
def test_errors_are_no_larger_than_those_of_torch(name, shape):
    """Of each output and gradient, over some seeds: a single rounding may fall either way."""
    (T, B, I, H), options, seeds = SHAPES[shape]
    ours, theirs = {}, {}
    for seed in range(seeds):
        stock, layer = pair(name, I, H, dtype=torch.bfloat16, **options)
        torch.manual_seed(seed)
        x = torch.randn(T, B, I).bfloat16()
        exact_layer = copy.deepcopy(stock).double()
        upstream = torch.randn_like(exact_layer(x.double())[0]).bfloat16()
        exact = everything(exact_layer, x, upstream)
        for total, one in ((ours, layer), (theirs, stock)):
            for result, error in squared_errors(everything(one, x, upstream), exact).items():
                total[result] = total.get(result, 0) + error
    assert {result: (error, theirs[result]) for result, error in ours.items() if error > 1.05 * theirs[result]} == {}


@pytest.mark.parametrize("name", LAYERS)
def test_autocast_is_bfloat16_where_it_is_for_torch(name):
    stock, layer = pair(name, 5, 9)
    x = torch.randn(7, 3, 5)
    with torch.autocast("cpu", torch.bfloat16):
        got, _ = layer(x)
        if name != "LSTM" or torch.ops.mkldnn._is_mkldnn_bf16_supported():  # else oneDNN has no LSTM of bfloat16
            want, _ = stock(x)
            assert got.dtype == want.dtype
    assert got.dtype == (torch.float32 if name == "GRU" else torch.bfloat16)
    if name != "GRU":
        narrow = copy.deepcopy(layer).bfloat16()
        assert_same_bits({"y": got}, {"y": narrow(x.bfloat16())[0]})
    got.float().sum().backward()
    assert layer.weight_hh_l0.grad.dtype == torch.float32  # of the weights, which stay wide


@pytest.mark.parametrize("name", LAYERS)
def test_mixed_types_are_an_error_of_torch(name):
    stock, layer = pair(name, 5, 9)
    with pytest.raises(ValueError) as theirs:
        stock(torch.randn(7, 3, 5).bfloat16())
    with pytest.raises(ValueError, match="does not match weight dtype") as ours:
        layer(torch.randn(7, 3, 5).bfloat16())
    assert str(ours.value).startswith(str(theirs.value).split(".")[0])


@pytest.mark.parametrize("name", LAYERS)
def test_state_of_another_type_is_refused_by_name(name):
    """torch refuses it too, for an LSTM with a text that names neither."""
    stock, layer = pair(name, 5, 9, dtype=torch.bfloat16)
    x, h = torch.randn(7, 3, 5).bfloat16(), torch.randn(1, 3, 9)
    hx = (h, h.bfloat16()) if name == "LSTM" else h
    with pytest.raises(RuntimeError):
        stock(x, hx)
    with pytest.raises(RuntimeError, match=r"hx dtype \(torch\.float32\) does not match weight dtype"):
        layer(x, hx)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("I", [4, 5])  # the last pair of a sum is whole, or half of one
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", LAYERS)
def test_numbers_that_are_not_finite_stay_in_their_row(name, value, I):
    _, layer = pair(name, I, 9, dtype=torch.bfloat16)

    def run(x):
        leaf = x.clone().requires_grad_()
        y, _ = layer(leaf)
        y.sum().backward()
        return y.detach(), leaf.grad

    x = torch.randn(6, 3, I).bfloat16()
    clean, dx_clean = run(x)
    x[2, 1, -1] = value
    y, dx = run(x)
    others = [0, 2]
    assert_same_bits({"y": y[:, others], "dx": dx[:, others]}, {"y": clean[:, others], "dx": dx_clean[:, others]})
    assert_same_bits({"y": y[:2]}, {"y": clean[:2]})
    assert bool(y[2:, 1].isnan().all()) == (value != value)


@pytest.mark.usefixtures("instruction_set")
def test_denormal_numbers_are_zero():
    W = torch.full((4, 5), 1e-39).bfloat16()
    x = torch.full((3, 2, 5), 1e20).bfloat16()
    layer = unrolled.nn.RNN(5, 4, bias=False, nonlinearity="relu").bfloat16()
    with torch.no_grad():
        layer.weight_ih_l0.copy_(W)
        assert W.float().abs().max() > 0
        assert layer(x)[0].abs().max() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_products_have_the_same_bits_with_and_without_units_for_them(kind):
    """Both add the upper numbers of a pair first, rounding twice: a sum is the same on every set that fuses."""
    sets = [name for name in ("avx512_bf16", "avx512", "avx2", "neon_bf16", "neon") if name in _core.instruction_sets()]
    before, results = _core.active_instruction_set(), {}
    case = make(kind, torch.bfloat16, T=7, B=9, I=17, H=33, D=2)
    try:
        for name in sets:
            _core.force_instruction_set(name)
            results[name] = case.run()
    finally:
        _core.force_instruction_set(before)
    for name in sets[1:]:
        assert_same_bits(results[name], results[sets[0]])


@pytest.mark.usefixtures("instruction_set")
def test_gradients_of_rectified_units_follow_the_rounded_h():
    case = make("RNN_RELU", torch.bfloat16, T=7, B=9, I=17, H=33)
    got = case.run()
    W, y = case.weights[0], got["y"].double()
    da, dx, dW_hh = [None] * 7, [None] * 7, 0
    dh = case.dh_n[0].double()
    for t in reversed(range(7)):
        da[t] = (case.dy[t].double() + dh) * (y[t] > 0)
        dh, dx[t] = da[t] @ W.W_hh.double(), da[t] @ W.W_ih.double()
        dW_hh = dW_hh + da[t].T @ (y[t - 1] if t else case.h0[0].double())
    want = {"dx": torch.stack(dx), "dh0": dh[None], "dW_hh 0": dW_hh, "db_ih 0": sum(da).sum(0)}
    assert_all_close({name: got[name] for name in want}, {name: t.bfloat16() for name, t in want.items()})


@pytest.mark.parametrize("name", LAYERS)
def test_stepper_has_the_bits_of_the_sequence_and_keeps_c_in_float32(name):
    layer = getattr(unrolled.nn, name)(5, 19, num_layers=2).bfloat16()
    x, reset = torch.randn(40, 3, 5).bfloat16(), torch.rand(40, 3) < 0.1
    with torch.no_grad():
        want, after = layer(x, reset=reset)
    step = unrolled.nn.Stepper(layer, 3)
    y = torch.stack([step(x_t, reset=r) for x_t, r in zip(x, reset, strict=True)])
    assert_same_bits({"y": y}, {"y": want})
    for s, w in zip(as_tuple(step.state), as_tuple(after), strict=True):
        assert_same_bits({"state": s}, {"state": w})
    with pytest.raises(ValueError, match=r"x is torch\.float32"):
        step(x[0].float())


def test_cell_states_are_saved_in_float32_and_gates_in_bfloat16():
    layer = unrolled.nn.LSTM(5, 19).bfloat16()
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        layer(torch.randn(4, 3, 5).bfloat16())
    kept = {(t.dtype, t.dim()) for t in saved}
    assert (torch.float32, 4) in kept
    assert (torch.bfloat16, 5) in kept


def test_derivatives_of_derivatives_are_those_of_the_equations():
    layer, x = unrolled.nn.GRU(3, 5).bfloat16(), torch.randn(4, 2, 3).bfloat16().requires_grad_()
    wide, x_wide = copy.deepcopy(layer).double(), x.detach().double().requires_grad_()
    found = []
    for model, leaf in ((layer, x), (wide, x_wide)):
        (first,) = torch.autograd.grad(model(leaf)[0].sum(), leaf, create_graph=True)
        found.append(torch.autograd.grad((first**2).sum(), leaf)[0])
    assert_close("second derivative", found[0], found[1].bfloat16())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["GRU", "GRUCell", "LSTMCell", "RNNCell"])
def test_under_autocast_a_result_has_the_type_that_torchs_has(name, dtype):
    stock = getattr(torch.nn, name)(5, 7)
    ours, lead = from_torch(stock), () if "Cell" in name else (4,)
    for of_x in (torch.float32, dtype):
        for of_h in (None, torch.float32, dtype):
            x = torch.randn(*lead, 3, 5).to(of_x)
            h = None if of_h is None else torch.randn(*(1,) * len(lead), 3, 7).to(of_h)
            hx = (h, h) if name == "LSTMCell" and h is not None else h
            with torch.autocast("cpu", dtype):
                expected, found = (tree_leaves(module(x, hx)) for module in (stock, ours))
            assert [t.dtype for t in found] == [t.dtype for t in expected], (of_x, of_h)
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one, other, atol=2e-2, rtol=2e-2)
