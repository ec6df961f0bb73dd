"""The measuring tool is measured: a planted fault must be seen, by name and place."""

import pytest
import torch

from tests.nn.compare import assert_all_close, assert_close


@pytest.mark.parametrize(("dtype", "fault"), [(torch.float32, 2e-5), (torch.float64, 2e-12)])
def test_assert_close_sees_one_wrong_element(dtype, fault):
    want = torch.rand(3, 7, dtype=dtype)
    got = want.clone()
    got[1, 4] += fault
    with pytest.raises(AssertionError, match=r"dW_ih\[1, 4\].*off by"):
        assert_close("dW_ih", got, want)


def test_assert_close_lets_rounding_pass():
    want = torch.rand(3, 7)
    assert_close("y", want * (1 + 1e-6), want)


@pytest.mark.parametrize(
    ("got", "said"),
    [
        (torch.zeros(3), "shape"),
        (torch.zeros(2, dtype=torch.float64), "float64"),
        (torch.tensor([0.0, float("nan")]), "NaN"),
        (torch.tensor([0.0, float("inf")]), "off by"),
    ],
)
def test_assert_close_sees_shape_type_nan_and_inf(got, said):
    with pytest.raises(AssertionError, match=said):
        assert_close("y", got, torch.zeros(2))


def test_assert_all_close_sees_a_missing_gradient():
    with pytest.raises(AssertionError, match="W_hh"):
        assert_all_close({"W_hh": None}, {"W_hh": torch.zeros(1)})
