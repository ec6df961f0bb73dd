"""The head in training: loss and every gradient against torch in float64, and the same bits with any team."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.core.cases import assert_same_bits
from unrolled.nn import fused

SIZES = [(1, 1, 2), (7, 3, 4), (129, 9, 33), (300, 33, 96), (1100, 20, 1000), (64, 128, 5000)]  # N, H, V


def arrays(N, H, V, dtype=torch.float32):
    torch.manual_seed(N + H + V)
    x, W, b = torch.randn(N, H), torch.randn(V, H) / H**0.5, torch.randn(V)
    targets = torch.randint(0, V, (N,))
    targets[::5] = -100
    return x.to(dtype), W.to(dtype), b.to(dtype), targets


def run(x, W, b, targets):
    dW, db = torch.zeros_like(W), torch.zeros_like(b)
    nats, dx = fused.head(x, W, b, targets, dW, db)
    return {"nats": torch.tensor(nats, dtype=torch.float64), "dx": dx, "dW": dW, "db": db}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize(("N", "H", "V"), SIZES)
def test_head_matches_torch_in_float64(instruction_set, N, H, V, dtype, tolerance):
    x, W, b, targets = arrays(N, H, V, dtype)
    leaves = [t.double().requires_grad_() for t in (x, W, b)]
    loss = cross_entropy(torch.addmm(leaves[2], leaves[0], leaves[1].t()), targets, reduction="sum", ignore_index=-100)
    loss.backward()
    want = dict(zip(("nats", "dx", "dW", "db"), (loss.detach(), *(t.grad for t in leaves)), strict=True))
    for name, got in run(x, W, b, targets).items():
        torch.testing.assert_close(
            got.double(), want[name], atol=tolerance, rtol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize(("N", "H", "V"), SIZES[2:])
def test_head_has_the_same_bits_with_any_number_of_threads(instruction_set, N, H, V):
    given = arrays(N, H, V)
    one = run(*given)
    for threads in (2, 3, 7):
        torch.set_num_threads(threads)
        assert_same_bits(run(*given), one)


def test_head_gives_a_row_the_same_bits_in_any_batch():
    x, W, b, targets = arrays(300, 33, 96)
    dx = run(x, W, b, targets)["dx"]
    for n in (0, 1, 150, 299):
        assert torch.equal(run(x[n : n + 1], W, b, targets[n : n + 1])["dx"][0], dx[n])


def test_head_adds_to_the_gradients_it_is_given():
    x, W, b, targets = arrays(7, 3, 4)
    once = run(x, W, b, targets)
    dW, db = torch.ones_like(W), torch.ones_like(b)
    fused.head(x, W, b, targets, dW, db)
    torch.testing.assert_close(dW, once["dW"] + 1)
    torch.testing.assert_close(db, once["db"] + 1)


@pytest.mark.parametrize("scale", [1e3, 1e30])
def test_head_of_huge_logits_does_not_overflow(scale):
    W, b = torch.eye(3) * scale, torch.zeros(3)
    nats, dx = fused.head(torch.eye(3), W, b, torch.tensor([0, 1, 0]), torch.zeros(3, 3), torch.zeros(3))
    assert nats == pytest.approx(scale)  # the third row wants what is e^scale less likely
    assert dx.isfinite().all()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_head_of_logits_that_are_no_numbers_has_no_finite_loss(bad):
    x = torch.ones(4, 2)
    x[2, 1] = bad
    assert not math.isfinite(run(x, torch.ones(3, 2), torch.zeros(3), torch.zeros(4, dtype=torch.int64))["nats"])


def test_head_refuses_a_target_outside_the_vocabulary():
    with pytest.raises(IndexError, match="target 4 of row 1, expected less than V = 4"):
        run(torch.zeros(2, 3), torch.zeros(4, 3), torch.zeros(4), torch.tensor([0, 4]))
