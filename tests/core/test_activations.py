"""tanh and sigmoid of the kernels: how far from the truth, and what becomes of NaN, infinities, zeros and denormals.

`python -m tests.core.full_sweep` does the same for every float32 there is.
"""

import numpy as np
import pytest

from tests.core.ulp import WORST, activate, floats, truth, ulp_error_of_double, ulp_errors
from unrolled import _core

TYPES = [np.float32, np.float64]
FUNCTIONS = ["tanh", "sigmoid"]
LIMITS = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}


@pytest.fixture(scope="module")
def sample():
    """Finite float32 numbers: every 4001st pattern, and denser where the error is largest, on both sides of zero."""
    one_16th, quarter, hundred = (int(np.float32(v).view(np.uint32)) for v in (0.0625, 0.25, 100.0))
    above_zero = [
        floats(0, 1 << 31, 4001),
        floats(one_16th - (1 << 21), quarter, 17),
        floats(quarter, hundred, 101),
    ]
    x = np.concatenate(above_zero)
    x = x[np.isfinite(x) & ((x == 0) | (x >= np.finfo(np.float32).tiny))]
    return np.concatenate([x, -x])


@pytest.fixture(scope="module")
def truths(sample):
    return {function: truth(function, sample) for function in FUNCTIONS}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_float32_result_is_within_the_stated_ulp(instruction_set, function, sample, truths):
    errors = ulp_errors(activate(function, sample), truths[function])
    k = errors.argmax()
    assert errors[k] <= WORST, f"{function}({sample[k]!r}) is off by {errors[k]:.3f} ULP"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_float64_result_is_within_the_stated_ulp(instruction_set, function):
    rng = np.random.default_rng(0)
    magnitudes = np.concatenate(
        [10.0 ** rng.uniform(-300, 2.8, 300), rng.uniform(0, 1, 4000), rng.uniform(1, 40, 1500)]
    )
    x = magnitudes * rng.choice([-1, 1], magnitudes.size)
    y = activate(function, x)
    errors = [ulp_error_of_double(function, *pair) for pair in zip(x, y, strict=True)]
    k = int(np.argmax(errors))
    assert errors[k] <= WORST, f"{function}({x[k]!r}) is off by {errors[k]:.3f} ULP"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_result_stays_inside_its_limits(instruction_set, function, sample):
    low, high = LIMITS[function]
    y = activate(function, sample)
    assert y.min() == low
    assert y.max() == high


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_infinities_and_large_numbers_give_the_limits(instruction_set, function, dtype):
    large = np.array([800, 1e4, np.finfo(dtype).max, np.inf], dtype)
    assert (activate(function, large) == LIMITS[function][1]).all()
    assert (activate(function, -large) == LIMITS[function][0]).all()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_nan_goes_through_and_disturbs_no_neighbour(instruction_set, function, dtype):
    x = np.linspace(-3, 3, 37).astype(dtype)
    undisturbed = activate(function, x)
    for k in (0, 5, 15, 16, 36):
        poisoned = x.copy()
        poisoned[k] = -np.nan if k % 2 else np.nan
        y = activate(function, poisoned)
        assert np.flatnonzero(np.isnan(y)).tolist() == [k]
        assert (np.delete(y, k) == np.delete(undisturbed, k)).all()


@pytest.mark.parametrize("dtype", TYPES)
def test_tanh_is_odd_down_to_the_sign_of_zero(instruction_set, dtype):
    x = np.concatenate([[0.0], np.geomspace(1e-30, 50, 997)]).astype(dtype)
    up, down = activate("tanh", x), activate("tanh", -x)
    assert (up == -down).all()
    assert not np.signbit(up).any()
    assert np.signbit(down).all()


@pytest.mark.parametrize("dtype", TYPES)
def test_denormal_input_counts_as_zero(instruction_set, dtype):
    tiny = np.finfo(dtype).smallest_subnormal * np.array([1, -1, 77, -77], dtype)
    assert (activate("tanh", tiny) == 0).all()
    assert (activate("sigmoid", tiny) == 0.5).all()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_result_does_not_depend_on_the_lane(instruction_set, function, dtype):
    x = np.random.default_rng(1).normal(0, 3, 67).astype(dtype)
    alone = np.array([activate(function, x[k : k + 1])[0] for k in range(x.size)])
    assert (activate(function, x) == alone).all()
    assert (activate(function, x[3:]) == alone[3:]).all()


def test_activate_refuses_an_unknown_function_and_a_short_result():
    x = np.zeros(3, np.float32)
    with pytest.raises(ValueError, match="no function 'relu'; the legal names are sigmoid, tanh"):
        _core.activate("relu", x, x.copy())
    with pytest.raises(ValueError, match="differ in length"):
        _core.activate("tanh", x, x[:2].copy())


def test_ulp_errors_sees_a_planted_fault():
    want = np.array([0.3, 0.7])
    exact = want.astype(np.float32)
    assert (ulp_errors(exact, want) <= 0.5).all()
    off = np.nextafter(np.nextafter(exact, np.float32(1)), np.float32(1))
    assert (ulp_errors(off, want) > 1.4).all()
    assert ulp_error_of_double("tanh", 0.3, np.tanh(0.3)) <= 1
    assert ulp_error_of_double("tanh", 0.3, np.tanh(0.3) * (1 + 9e-16)) > 2
