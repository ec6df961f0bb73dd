"""What the core would read wrongly by its address: caught before, or told by autograd."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence
from torch.testing._internal.two_tensor import TwoTensor

import unrolled.nn as unn
from unrolled.nn import ops


@pytest.mark.parametrize(
    "sizes",
    [torch.tensor([2, 1], dtype=torch.int32), torch.tensor([2.0, 1.0]), torch.tensor([4, -1]), torch.tensor([[2, 1]])],
    ids=["int32", "float", "negative", "matrix"],
)
def test_packed_sequence_rejects_sizes_that_are_not_counts(sizes):
    with pytest.raises(RuntimeError, match="batch_sizes"):
        unn.GRU(3, 5)(PackedSequence(torch.randn(3, 3), sizes))


@pytest.mark.parametrize("written", ["lengths", "reset"])
def test_layout_written_to_before_backward_is_an_error(written):
    gru = unn.GRU(3, 5)
    x = torch.randn(6, 2, 3, requires_grad=True)
    given = {"lengths": torch.tensor([6, 2]), "reset": torch.zeros(6, 2, dtype=torch.bool)}
    y, _ = gru(x, **{written: given[written]})
    given[written].zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_state_of_another_tensor_type_gives_its_own_numbers():
    gru, x, h = unn.GRU(3, 5), torch.randn(4, 2, 3), torch.randn(1, 2, 5)
    want = gru(x, h)[0]
    got = gru(x, TwoTensor(h, h.clone()))[0]
    assert torch.allclose(got.a, want, atol=1e-6)


def test_weight_of_another_tensor_type_gives_its_own_numbers():
    gru, x = unn.GRU(3, 5), torch.randn(4, 2, 3)
    with torch.no_grad():
        want = gru(x)[0]
        weights = [p.detach() for p in gru.parameters()]
        weights[1] = TwoTensor(weights[1], weights[1].clone())
        got = ops.layer("GRU", x, None, None, [(*weights, None)])[0]
    assert torch.allclose(got.a, want, atol=1e-6)


def test_negated_views_are_read_with_their_sign():
    gru, x = unn.GRU(3, 5), torch.randn(4, 2, 3)
    with torch.no_grad():
        assert torch.equal(gru(torch._neg_view(x))[0], gru(-x)[0])
        weights = [p.detach() for p in gru.parameters()]
        negated = [weights[0], torch._neg_view(weights[1]), *weights[2:], None]
        plain = [weights[0], -weights[1], *weights[2:], None]
        got, want = (ops.layer("GRU", x, None, None, [tuple(w)])[0] for w in (negated, plain))
        assert torch.equal(got, want)
