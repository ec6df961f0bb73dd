"""bfloat16 in numpy has the bits of torch's."""

import numpy as np
import torch

from unrolled.core.bfloat16 import narrowed, rounded

#: The upper halves of all numbers, each followed by what decides how it is rounded: below a tie, a tie, above it.
EVERY = (np.arange(2**16, dtype=np.uint32)[:, None] << 16) | np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)


def assert_bits_of_torch(values):
    with np.errstate(over="ignore"):
        got = narrowed(values)
    want = torch.from_numpy(values).bfloat16().view(torch.uint16).numpy()
    there = ~np.isnan(values)
    np.testing.assert_array_equal(got[there], want[there])
    assert torch.from_numpy(got).view(torch.bfloat16).isnan().numpy()[~there].all()


def test_every_number_is_rounded_as_torch_rounds_it():
    assert_bits_of_torch(EVERY.view(np.float32))


def test_float64_is_rounded_as_torch_rounds_it_in_any_order_of_memory():
    values = np.random.default_rng(0).standard_normal((300, 70))
    assert_bits_of_torch(values)
    assert_bits_of_torch(values.T)
    np.testing.assert_array_equal(rounded(values.T), torch.from_numpy(values.T).bfloat16().float().numpy())
    assert narrowed(values.T).flags.c_contiguous


def test_rounding_twice_changes_nothing():
    once = rounded(EVERY.view(np.float32))
    np.testing.assert_array_equal(rounded(once), once)
