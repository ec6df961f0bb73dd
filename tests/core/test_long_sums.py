"""Sums over thousands of terms stay within the documented error, in every order that the bits must not depend on."""

import pytest
import torch

import unrolled.nn
from tests.core.cases import assert_same_bits, from_equations, make
from tests.nn.compare import assert_all_close, assert_close
from unrolled.core.fields import Layout, Weights
from unrolled.nn import fused
from unrolled.notation import has_cell_state

pytestmark = pytest.mark.usefixtures("instruction_set")

KINDS = ["RNN_TANH", "LSTM", "LSTM projected", "GRU"]
#: Sizes that make a sum long: over I in the forward pass, over rows in the weight gradients; how many times as large as
#: W_hh h to make W_ih x; and the error allowed, which a single chain would exceed.
LONG = {
    "I = 20,000": ({"T": 3, "B": 5, "I": 20_000, "H": 33}, 3, 4e-6),
    "I = 5,000": ({"T": 3, "B": 2, "I": 5_000, "H": 33}, 3, 4e-6),  # so few rows that a step's weights are not packed
    "B = 5,000": ({"T": 2, "B": 5_000, "I": 5, "H": 7}, 1, 1.5e-6),
}


@pytest.mark.parametrize("size", LONG)
@pytest.mark.parametrize("kind", KINDS)
def test_long_sums_keep_outputs_and_gradients_near_those_of_float64(kind, size):
    sizes, scale, tolerance = LONG[size]
    case = make(kind, torch.float32, **sizes)
    scale *= (case.weights[0].W_hh.shape[1] / sizes["I"]) ** 0.5
    case.weights = [w._replace(W_ih=w.W_ih * scale) for w in case.weights]
    assert_all_close(case.run(), from_equations(case), tolerance)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_error_of_a_long_sum_is_a_share_of_the_sum(name):
    """With torch's initial weights W_ih x grows with the root of I: at I = 20,000 it is 50, and its rounding 1e-5."""
    torch.manual_seed(0)
    layer, x = getattr(torch.nn, name)(20_000, 33), torch.randn(7, 5, 20_000)
    weights = [Weights(*(w.detach() for w in layer.all_weights[0]))]
    kind = "RNN_TANH" if name == "RNN" else name
    with torch.no_grad():
        y, double = fused.forward(kind, Layout(), x, None, None, weights).y, layer.double()
        want = double(x.double())[0]
        largest = (x.double() @ double.weight_ih_l0.T).abs().max()
    assert largest > 40
    assert (y - want).abs().max() < 4e-7 * largest


def test_three_thousand_units_stay_near_those_of_float64():
    case = make("RNN_TANH", torch.float32, T=2, B=2, I=7, H=3_000)
    assert_all_close(case.run(), from_equations(case), 3e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("kind", KINDS)
def test_long_sums_have_the_same_bits_alone_in_steps_and_on_any_number_of_threads(kind, dtype):
    case = make(kind, dtype, T=3, B=7, I=1_571, H=520)
    whole = case.run()
    for threads in (2, 3):
        torch.set_num_threads(threads)
        assert_same_bits(case.run(), whole)
    row = {name: whole[name][:, 6:] for name in ("y", "h_n", "c_n", "dx", "dh0", "dc0") if whole[name] is not None}
    assert_same_bits(case.rows([6]).run(), row)
    h, c, steps = case.h0[:, 6:], case.c0[:, 6:] if has_cell_state(case.kind) else None, []
    for x in case.x[:, 6:].split(1):
        one = fused.forward(case.kind, Layout(), x, h.contiguous(), c if c is None else c.contiguous(), case.weights)
        h, c = one.h_n, one.c_n
        steps.append(one.y)
    assert_same_bits({"y": torch.cat(steps)}, {"y": row["y"]})


def test_symbol_of_most_rows_has_a_gradient_near_that_of_float64():
    torch.manual_seed(0)
    ids = (torch.rand(2_000, 100) < 0.1).long() * torch.randint(0, 4, (2_000, 100))
    single, double = unrolled.nn.GRU(4, 7), torch.nn.GRU(4, 7).double()
    double.load_state_dict(single.state_dict())
    single(ids)[0].square().sum().backward()
    double(torch.nn.functional.one_hot(ids, 4).double())[0].square().sum().backward()
    assert_close("dW_ih", single.weight_ih_l0.grad, double.weight_ih_l0.grad.float(), 4e-6)


def head_and_that_of_float64(x, W, b, targets):
    """Return each gradient of a head in training, and what it is in float64; the loss is compared here."""
    leaves = [t.double().requires_grad_() for t in (x, W, b)]
    loss = torch.nn.functional.cross_entropy(leaves[0] @ leaves[1].T + leaves[2], targets, reduction="sum")
    loss.backward()
    dW, db = torch.zeros_like(W), torch.zeros_like(b)
    nats, dx = fused.head(x, W, b, targets, dW, db)
    assert nats == pytest.approx(loss.item(), rel=1e-6)
    return {"dx": (dx, leaves[0].grad), "dW": (dW, leaves[1].grad), "db": (db, leaves[2].grad)}


@pytest.mark.parametrize(("H", "V"), [(9, 20_000), (20_000, 3)])
def test_head_with_long_sums_stays_near_that_of_float64(H, V):
    torch.manual_seed(3)
    x, W, b = torch.randn(3, H), torch.randn(V, H) / H**0.5, torch.randn(V)
    targets = torch.tensor([0, V - 1, 1])
    for name, (got, want) in head_and_that_of_float64(x, W, b, targets).items():
        assert_close(name, got, want.float(), 2e-6)


@pytest.mark.parametrize("logit", [-2.3026, -0.1, -7.0])
def test_softmax_of_many_equal_logits_stays_near_that_of_float64(logit):
    """Equal numbers are rounded alike, so that the error of one chain grows with its length."""
    V = 40_000
    x, W, b = torch.ones(3, 1), torch.zeros(V, 1), torch.full((V,), logit)
    b[0] = 0
    targets = torch.tensor([0, 1, V - 1])
    db, want = head_and_that_of_float64(x, W, b, targets)["db"]
    assert_close("db", db[2:-1], want[2:-1].float(), 4e-6 * want[2].item())
