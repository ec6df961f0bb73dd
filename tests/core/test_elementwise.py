"""Dropout, rounding, norms and AdamW in the core: against NumPy and torch, with the same bits for any threads."""

import math

import numpy as np
import pytest
import torch

from unrolled.core import _core, elementwise
from unrolled.core.fields import AdamStep

SIZES = [1, 7, 16, 33, 100_003]  # the last is shared by threads, and ends inside a vector


def drawn(seed, places):
    """Numbers below 2^32, by the finisher of MurmurHash3."""
    word = np.uint32
    with np.errstate(over="ignore"):
        key, high = np.uint64(seed & (2**64 - 1)), (places >> 32).astype(np.uint64) * np.uint64(0x9E3779B9)
        h = places.astype(word) * word(0x9E3779B1) + word(key & np.uint64(0xFFFFFFFF))
        h = ((h ^ (h >> word(16))) * word(0x85EBCA6B)) ^ (word(key >> np.uint64(32)) ^ high.astype(word))
        h = (h ^ (h >> word(13))) * word(0xC2B2AE35)
    return h ^ (h >> word(16))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sum_of_squares_is_numpys(instruction_set, dtype, n):
    x = torch.randn(n, dtype=dtype)
    want = float((x.double() ** 2).sum())
    for threads in (1, 2, 3):
        assert elementwise.sum_of_squares(x, threads) == elementwise.sum_of_squares(x, 1)
    assert elementwise.sum_of_squares(x, 1) == pytest.approx(want, rel=1e-6 if dtype == torch.float32 else 1e-14)


def test_sum_of_squares_passes_on_what_is_not_finite():
    x = torch.ones(99)
    x[77] = math.nan
    assert math.isnan(elementwise.sum_of_squares(x, 1))
    x[77] = math.inf
    assert elementwise.sum_of_squares(x, 1) == math.inf


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adam_takes_the_steps_of_torch(instruction_set, dtype, n):
    torch.manual_seed(n)
    w = torch.nn.Parameter(torch.randn(n, dtype=dtype))
    own, copy = ([t.detach().clone(), torch.zeros(n, dtype=dtype)] for t in (w, w))
    moments, others = ([torch.zeros(n, dtype=dtype) for _ in range(2)] for _ in range(2))
    rule = torch.optim.AdamW([w], lr=0.01, weight_decay=0.1)
    for t in range(1, 6):
        g = torch.randn(n, dtype=dtype) * 10.0 ** -(t % 4)
        w.grad = 0.25 * g
        rule.step()
        numbers = {"scale": 0.25, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "keep": 1 - 0.01 * 0.1}
        numbers |= {"rate": 0.01 / (1 - 0.9**t), "root": math.sqrt(1 - 0.999**t)}
        for (values, gradients), state, threads in ((own, moments, 1), (copy, others, 3)):
            gradients.copy_(g)
            elementwise.adam(AdamStep(values, gradients, *state), **numbers, threads=threads)
            assert not gradients.any()
    tolerance = 2e-6 if dtype == torch.float32 else 1e-14
    torch.testing.assert_close(own[0], w.detach(), rtol=tolerance, atol=tolerance)
    assert torch.equal(own[0], copy[0])
    assert all(map(torch.equal, moments, others))


@pytest.mark.parametrize("shape", [(1,), (7, 33), (3, 5, 16), (41, 2467)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_drop_keeps_what_is_drawn_at_its_place(instruction_set, dtype, shape):
    x, seed, p = torch.randn(shape, dtype=dtype), -123_456_789_012_345, 0.3
    least = int(p * 2**32)
    stays = torch.from_numpy(drawn(seed, np.arange(x.numel())) >= least).view(shape)
    scale = torch.tensor(2**32 / (2**32 - least), dtype=torch.float32).to(torch.float64)
    want = torch.where(stays, x.double() * scale, 0.0).to(dtype)
    for threads in (1, 3):
        y = torch.full_like(x, math.nan)
        elementwise.drop(x, y, seed, p, threads)
        torch.testing.assert_close(y, want, rtol=1e-2 if dtype == torch.bfloat16 else 1e-6, atol=0)
        assert torch.equal(y == 0, want == 0)
    elementwise.drop(x, y, seed, p, 1, add=True)
    torch.testing.assert_close(y, 2 * want, rtol=1e-2 if dtype == torch.bfloat16 else 1e-6, atol=0)


def test_rows_of_a_mask_lie_where_they_start(instruction_set):
    x, starts = torch.ones(4, 21), torch.tensor([5 * 21, 0, 2**32 + 7, 21])
    got, whole = torch.empty_like(x), torch.empty(6, 21)
    elementwise.drop(x, got, 9, 0.5, 1, starts=starts)
    elementwise.drop(torch.ones(6, 21), whole, 9, 0.5, 1)
    assert torch.equal(got[[0, 1, 3]], whole[[5, 0, 1]])
    far = torch.from_numpy(drawn(9, 2**32 + 7 + np.arange(21)) >= 2**31)
    assert torch.equal(got[2] != 0, far)


@pytest.mark.parametrize("n", SIZES)
def test_drop_of_nothing_rounds_as_torch(instruction_set, n):
    x = torch.randn(n)
    y = torch.empty(n, dtype=torch.bfloat16)
    elementwise.drop(x, y, 0, 0.0, 2)
    assert torch.equal(y, x.bfloat16())


@pytest.mark.parametrize(
    ("x", "y", "starts"),
    [
        (torch.ones(3), torch.ones(4), None),
        (torch.ones(3, dtype=torch.float64), torch.ones(3), None),
        (torch.ones(3, dtype=torch.bfloat16), torch.ones(3), None),
        (torch.ones(3), torch.ones(6)[::2], None),
        (torch.ones(2, 3), torch.ones(2, 3), torch.zeros(3, dtype=torch.int64)),
        (torch.ones(()), torch.ones(()), None),
    ],
)
def test_arrays_that_do_not_fit_are_refused(x, y, starts):
    with pytest.raises(ValueError, match="expected"):
        elementwise.drop(x, y, 0, 0.5, 1, starts=starts)


def test_arrays_that_overlap_are_refused():
    x = torch.ones(8)
    with pytest.raises(ValueError):
        elementwise.drop(x, x, 0, 0.5, 1)
    with pytest.raises(ValueError, match="overlaps"):
        _core.adam(AdamStep(x, x, torch.ones(8), torch.ones(8)), 1.0, 0.9, 0.999, 1e-8, 1.0, 1.0, 1.0, 1)
    with pytest.raises(ValueError, match="expected"):
        elementwise.sum_of_squares(torch.ones(2, 4), 1)
