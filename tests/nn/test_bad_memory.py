"""Tensors whose memory the core would misread, and tensors that change before the backward pass."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence
from torch.testing._internal.two_tensor import TwoTensor

import unrolled.nn as unn
from tests.nn.layers import LAYERS
from unrolled.core.fields import Layout, Weights
from unrolled.nn import dispatch, reference
from unrolled.notation import weight_shapes


@pytest.mark.parametrize(
    "sizes",
    [torch.tensor([2, 1], dtype=torch.int32), torch.tensor([2.0, 1.0]), torch.tensor([4, -1]), torch.tensor([[2, 1]])],
    ids=["int32", "float", "negative", "matrix"],
)
def test_packed_sequence_rejects_sizes_that_are_not_counts(sizes):
    with pytest.raises(RuntimeError, match="batch_sizes"):
        unn.GRU(3, 5)(PackedSequence(torch.randn(3, 3), sizes))


@pytest.mark.parametrize("written", ["lengths", "reset"])
def test_layout_written_to_before_backward_changes_no_gradient(written):
    gru = unn.GRU(3, 5)
    x = torch.randn(6, 2, 3, requires_grad=True)
    given = {"lengths": torch.tensor([6, 2]), "reset": torch.ones(6, 2, dtype=torch.bool)}
    (want,) = torch.autograd.grad(gru(x, **{written: given[written]})[0].sum(), x)
    y, _ = gru(x, **{written: given[written]})
    given[written].zero_()
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], want)


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
        got = dispatch.layer("GRU", x, None, None, [(*weights, None)])[0]
    assert torch.allclose(got.a, want, atol=1e-6)


def test_negated_views_are_read_with_their_sign():
    gru, x = unn.GRU(3, 5), torch.randn(4, 2, 3)
    with torch.no_grad():
        assert torch.equal(gru(torch._neg_view(x))[0], gru(-x)[0])
        weights = [p.detach() for p in gru.parameters()]
        negated = [weights[0], torch._neg_view(weights[1]), *weights[2:], None]
        plain = [weights[0], -weights[1], *weights[2:], None]
        got, want = (dispatch.layer("GRU", x, None, None, [tuple(w)])[0] for w in (negated, plain))
        assert torch.equal(got, want)


@pytest.mark.parametrize("absent", [2, 3], ids=["b_ih", "b_hh"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN_TANH"])
def test_one_bias_without_the_other_has_its_gradient(kind, absent):
    weights = [torch.randn(shape, dtype=torch.float64) for shape in weight_shapes(kind, 3, 5).values()]
    weights[absent] = None
    weights = [w if w is None else w.requires_grad_() for w in weights] + [None]
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    leaves = [w for w in weights if w is not None]
    got = torch.autograd.grad(dispatch.layer(kind, x, None, None, [tuple(weights)])[0].sum(), leaves)
    want = torch.autograd.grad(reference.layer(kind, Layout(), x, None, None, [Weights(*weights)])[0].sum(), leaves)
    for g, w in zip(got, want, strict=True):
        assert torch.allclose(g, w, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("GRU", {"W_hr": True}),
        ("GRU", {"c_0": True}),
        ("LSTM", {"directions": 3}),
        ("LSTM", {"directions": 0}),
        ("LSTM", {"lopsided": True}),
    ],
    ids=str,
)
def test_weights_that_do_not_belong_together_are_an_error(kind, change):
    P = 2 if "W_hr" in change else 0
    W = Weights(**{name: torch.zeros(shape) for name, shape in weight_shapes(kind, 3, 5, proj_size=P).items()})
    weights = [W] * change.get("directions", 1)
    if "lopsided" in change:
        weights = [W, W._replace(b_ih=None, b_hh=None)]
    c_0 = torch.zeros(1, 2, 5) if "c_0" in change else None
    with pytest.raises(ValueError, match=r"directions|has neither a cell state"):
        dispatch.layer(kind, torch.zeros(4, 2, 3), None, c_0, weights)


@pytest.mark.parametrize("name", LAYERS)
def test_padding_past_the_longest_row_changes_no_bit_of_any_gradient(name):
    layer = getattr(unn, name)(3, 6, bidirectional=True)
    lengths, found = torch.tensor([150, 90, 40]), []
    x = torch.randn(187, 3, 3)
    for T in (150, 151, 187):
        layer.zero_grad()
        y, _ = layer(x[:T], lengths=lengths)
        y.square().sum().backward()
        found.append({name: p.grad.clone() for name, p in layer.named_parameters()})
    for other in found[1:]:
        for name, g in found[0].items():
            assert torch.equal(other[name], g), name


@pytest.mark.parametrize("bidirectional", [False, True])
def test_upstream_gradient_of_another_tensor_type_is_used(bidirectional):
    gru = unn.GRU(3, 5, bidirectional=bidirectional)
    x = torch.randn(4, 2, 3)
    weights = list(gru.parameters())
    dy = torch.randn(4, 2, 10 if bidirectional else 5)
    want = torch.autograd.grad(gru(x)[0], weights, dy)
    got = torch.autograd.grad(gru(x)[0], weights, TwoTensor(dy, dy.clone()))
    for g, w in zip(got, want, strict=True):
        assert torch.allclose(g.a, w, atol=1e-5)
