"""Large results lie in memory that is used again; nobody may notice."""

import pytest
import torch

from tests.nn.compare import assert_close
from unrolled.nn import GRU, LSTM, RNN

T, B, I, H = 65, 63, 9, 70  # y has more than a megabyte


@pytest.mark.parametrize("layer", [LSTM(I, H), GRU(I, H, bidirectional=True)])
def test_large_result_may_be_written_to(layer):
    x = torch.randn(T, B, I, requires_grad=True)
    y = layer(x)[0]
    assert not y._is_view()  # a view that a Function returns may not be written to
    with torch.no_grad():
        expected = y + 1
        assert torch.equal(y.add_(1), expected)


def test_large_result_stays_as_long_as_it_is_held():
    layer = LSTM(I, H)
    with torch.no_grad():
        first = layer(torch.randn(T, B, I))[0]
        was = first.clone()
        for _ in range(3):
            layer(torch.randn(T, B, I))
    assert torch.equal(first, was)


def test_rows_past_the_end_are_zeros_in_memory_used_before():
    layer, lengths = LSTM(I, H), torch.arange(B) + 1
    ended = (torch.arange(T)[:, None] >= lengths)[..., None]
    for _ in range(3):
        x = torch.randn(T, B, I, requires_grad=True)
        layer(x)[0].sum().backward()  # leaves its numbers behind
        x = torch.randn(T, B, I, requires_grad=True)
        y = layer(x, lengths=lengths)[0]
        y.sum().backward()
        assert not (y * ended).any()
        assert not (x.grad * ended).any()


@pytest.mark.parametrize("layer_class", [RNN, LSTM, GRU])
def test_rows_further_apart_than_two_to_the_31_elements_are_found(route, layer_class):
    """The memory between the two steps is never touched, so it is never there."""
    storage = torch.empty(2**31 + 4)
    x = storage.as_strided((2, 1, 4), (2**31, 4, 1))
    x.copy_(torch.randn(2, 1, 4))
    layer = layer_class(4, 6)
    assert_close("y", layer(x)[0], layer(x.clone())[0])
