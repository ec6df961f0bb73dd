"""`init_` fills every gate of a layer or a cell as it says, in every type, or refuses before anything is filled."""

import pytest
import torch
from torch.nn.utils import parametrizations, prune

import unrolled.nn
from tests.nn.compare import assert_close
from tests.nn.test_swap import LAYERS


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("recurrent", ["orthogonal", "identity", "glorot"])
def test_init_sets_every_gate_as_it_says(make, recurrent):
    layer = make(unrolled.nn)
    assert unrolled.nn.init_(layer, recurrent=recurrent, forget_bias=1.5) is layer
    for name, w in layer.named_parameters():
        blocks = w.split(5)
        if name.startswith("bias_hh"):
            assert not w.any()
        elif name.startswith("bias_ih"):
            forget = [1.5 * (layer.kind == "LSTM" and k == 1) for k in range(len(blocks))]
            assert [b.unique().tolist() for b in blocks] == [[value] for value in forget]
        elif name.startswith("weight_hh") and recurrent == "identity":
            assert all(torch.equal(b, torch.eye(*b.shape)) for b in blocks)
        elif name.startswith("weight_hh") and recurrent == "orthogonal":
            for b in blocks:
                assert_close(name, b.t() @ b, torch.eye(b.shape[1]))
        else:
            for b in blocks:
                assert b.abs().max() <= (6 / sum(b.shape)) ** 0.5
                assert b.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_init_of_halves_is_that_of_floats_rounded(dtype):
    made = {}
    for to in (torch.float32, dtype):
        torch.manual_seed(0)
        made[to] = unrolled.nn.init_(unrolled.nn.LSTM(3, 5).to(to))
    for (name, half), w in zip(made[dtype].named_parameters(), made[torch.float32].parameters(), strict=True):
        assert torch.equal(half, w.to(dtype)), name


def test_init_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="recurrent is 'lecun', expected one of 'orthogonal', 'identity', 'glorot'"):
        unrolled.nn.init_(unrolled.nn.GRU(3, 5), recurrent="lecun")
    with pytest.raises(TypeError, match=r"init_ expected a layer or cell of unrolled.nn, got GRU"):
        unrolled.nn.init_(torch.nn.GRU(3, 5))
    for forget_bias in (float("nan"), float("inf"), "1", None):
        with pytest.raises(ValueError, match=r"forget_bias is .*; it must be a number in "):
            unrolled.nn.init_(unrolled.nn.LSTM(3, 5), forget_bias=forget_bias)


@pytest.mark.parametrize("make", [unrolled.nn.GRU, unrolled.nn.LSTMCell])
def test_init_refuses_a_weight_that_is_computed_from_others(make):
    """Such a weight is no parameter: it was left as it was, in silence."""
    for change in (parametrizations.weight_norm, lambda layer, name: prune.random_unstructured(layer, name, 0.5)):
        layer = make(3, 5)
        change(layer, next(name for name, _ in layer.named_parameters() if name.startswith("weight_hh")))
        with pytest.raises(ValueError, match=r"weight_hh.* is computed from others.*; call init_ before"):
            unrolled.nn.init_(layer)
