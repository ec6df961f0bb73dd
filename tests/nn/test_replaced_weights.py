"""Weights and states whose `.data` is another between the forward and the backward pass, as of binary weights."""

import pytest
import torch

import unrolled.nn
from tests.nn.compare import assert_close
from tests.nn.layers import as_tuple, gradients

MODULES = {
    name: lambda name=name, **options: getattr(unrolled.nn, name)(4, 6, **options)
    for name in ("RNN", "LSTM", "GRU", "PeepholeLSTM", "RNNCell", "LSTMCell", "GRUCell")
}


def loss_of(module, x):
    output = module(x)
    parts = output if module.__class__.__name__.endswith("Cell") else (output[0], *as_tuple(output[1]))
    return sum(part.square().sum() for part in as_tuple(parts))


def replaced(module, change):
    """Give each weight another storage; return the old ones."""
    before = {name: p.data for name, p in module.named_parameters()}
    for p in module.parameters():
        p.data = change(p.data)
    return before


@pytest.mark.parametrize("written", [False, True], ids=["plain", "output written to"])
@pytest.mark.parametrize("name", MODULES)
def test_gradients_are_those_of_the_weights_that_were_read(name, written):
    torch.manual_seed(0)
    module, x = MODULES[name](), torch.randn(3, 4) if name.endswith("Cell") else torch.randn(5, 3, 4)
    x.requires_grad_()
    inputs = {"x": x} | dict(module.named_parameters())
    real = replaced(module, lambda w: w.sign() * 0.3)
    want = gradients(loss_of(module, x), inputs)
    loss = loss_of(module, x)
    if written and not name.endswith("Cell"):
        y, state = module(x)
        parts = [y.clone(), *as_tuple(state)]
        y.mul_(2)
        loss = sum(part.square().sum() for part in parts)
    for key, p in module.named_parameters():
        p.data = real[key]
    for key, found in gradients(loss, inputs).items():
        assert_close(key, found, want[key])


def test_gradients_of_a_module_that_was_converted_between_are_those_of_before():
    torch.manual_seed(0)
    module, x = unrolled.nn.GRU(4, 6, num_layers=2), torch.randn(5, 3, 4)
    want = gradients(loss_of(module, x), dict(module.named_parameters()))
    loss = loss_of(module, x)
    module.double()
    loss.backward()
    for name, p in module.named_parameters():
        assert_close(name, p.grad.float(), want[name])


@pytest.mark.parametrize("name", ["LSTM", "GRUCell"])
def test_second_derivatives_of_replaced_weights_are_refused(name):
    module, x = MODULES[name](), torch.randn(3, 4) if name.endswith("Cell") else torch.randn(5, 3, 4)
    x.requires_grad_()
    loss = loss_of(module, x)
    replaced(module, torch.clone)
    with pytest.raises(RuntimeError, match=r"the \.data of an input or a weight was replaced"):
        torch.autograd.grad(loss, x, create_graph=True)


def test_what_hooks_keep_of_a_weight_is_read():
    module, x = unrolled.nn.GRU(4, 6), torch.randn(5, 3, 4)
    want = gradients(loss_of(module, x), dict(module.named_parameters()))
    with torch.autograd.graph.saved_tensors_hooks(torch.clone, lambda kept: kept):
        loss = loss_of(module, x)
    replaced(module, torch.zeros_like)
    for name, found in gradients(loss, dict(module.named_parameters())).items():
        assert_close(name, found, want[name])


def test_gradients_are_those_of_the_view_that_was_read():
    torch.manual_seed(0)
    module, x = unrolled.nn.RNN(6, 6), torch.randn(5, 3, 6)
    flat = torch.randn(2, 6, 6)
    module.weight_ih_l0.data = flat[1]
    want = gradients(loss_of(module, x), dict(module.named_parameters()))
    loss = loss_of(module, x)
    module.weight_ih_l0.data, module.weight_hh_l0.data = flat[0], module.weight_hh_l0.data.mT
    for name, found in gradients(loss, dict(module.named_parameters())).items():
        assert_close(name, found, want[name])


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_gradients_are_those_of_the_state_that_was_read(name):
    """A module may keep its state in one tensor, and give that the new one's data."""
    torch.manual_seed(0)
    module, x = MODULES[name](), torch.randn(5, 3, 4)
    states = [torch.randn(1, 3, 6) for _ in range(1 + (name == "LSTM"))]

    def loss(replacing):
        mine, there = [s.clone() for s in states], x.clone()
        y, after = module(there, tuple(mine) if name == "LSTM" else mine[0])
        if replacing:
            for state, new in zip(mine, as_tuple(after), strict=True):
                state.data = new.data
            there.data = torch.zeros_like(x)
        return y.square().sum()

    want = gradients(loss(False), dict(module.named_parameters()))
    for key, found in gradients(loss(True), dict(module.named_parameters())).items():
        assert_close(key, found, want[key])


@pytest.mark.parametrize("order", [(1, 0), (0, 1)])
def test_transposed_weights_that_are_not_replaced_are_read(order):
    torch.manual_seed(0)
    module, x = unrolled.nn.GRU(4, 6), torch.randn(5, 3, 4)
    want = gradients(loss_of(module, x), dict(module.named_parameters()))
    module.weight_ih_l0.data = module.weight_ih_l0.data.permute(order).contiguous().permute(order)
    for name, found in gradients(loss_of(module, x), dict(module.named_parameters())).items():
        assert_close(name, found, want[name])
