"""Derivatives of derivatives, up to the fourth order: torch's numbers, whatever the loss and whoever asks for them."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call

from tests.nn.compare import assert_all_close
from tests.nn.layers import as_tuple, pair

T, B, I, H, ORDER = 3, 2, 2, 3, 4
RELU = {"nonlinearity": "relu"}
MODULES = {
    "RNN": ("RNN", {}),
    "RNN relu": ("RNN", RELU),
    "LSTM": ("LSTM", {}),
    "LSTM projected": ("LSTM", {"proj_size": 2}),
    "LSTM of two layers": ("LSTM", {"num_layers": 2, "bidirectional": True}),
    "GRU": ("GRU", {}),
    "GRU without bias": ("GRU", {"bias": False}),
    "RNNCell": ("RNNCell", {}),
    "RNNCell relu": ("RNNCell", RELU),
    "LSTMCell": ("LSTMCell", {}),
    "GRUCell": ("GRUCell", {}),
}
#: From a tensor to a number: the gradient that flows back is constant, or depends on the tensor.
HEADS = {
    "linear": lambda t: (torch.arange(t.numel(), dtype=t.dtype).reshape(t.shape).cos() * t).sum(),
    "square": lambda t: t.square().sum(),
}


def by_autograd(f, heads, tensors):
    """The slopes of every order, each of which is the loss of the next."""
    found, results = [], f(*tensors)
    for head in heads:
        slopes = torch.autograd.grad(sum(map(head, results)), tensors, create_graph=True, materialize_grads=True)
        found.append(slopes)
        results = slopes
    return found


def by_func(f, heads, tensors):
    """The same by torch.func.grad, nested as often."""
    found, results = [], f
    for head in heads:
        results = torch.func.grad(
            lambda *tensors, head=head, of=results: sum(map(head, of(*tensors))), tuple(range(len(tensors)))
        )
        found.append(results(*tensors))
    return found


WAYS = {"autograd": by_autograd, "torch.func": by_func}


def problem(module, x, learned):
    """A function of x, or of x and the weights, that returns everything the module does; and these tensors."""
    module.requires_grad_(learned)
    names = [name for name, _ in module.named_parameters()] if learned else []
    tensors = (x, *(module.get_parameter(name) for name in names))

    def f(x, *weights):
        output = as_tuple(functional_call(module, dict(zip(names, weights, strict=True)), x))
        return [t for part in output for t in as_tuple(part)]

    return f, tensors


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("name", "options"), MODULES.values(), ids=MODULES)
@settings(max_examples=12)
@given(
    heads=st.lists(st.sampled_from(list(HEADS)), min_size=ORDER, max_size=ORDER),
    learned=st.booleans(),
    only=st.sampled_from([slice(None), slice(1), slice(-1, None)]),
)
def test_derivatives_of_every_order_are_torchs(name, options, way, heads, learned, only):
    cell = name.endswith("Cell")
    x = torch.randn(*(() if cell else (T,)), B, I, dtype=torch.float64, requires_grad=True)
    orders = []
    for module in pair(name, I, H, dtype=torch.float64, **options):
        f, tensors = problem(module, x, learned)
        found = WAYS[way](lambda *t, f=f: f(*t)[only], [HEADS[head] for head in heads], tensors)
        orders.append(dict(enumerate(itertools.chain(*found))))
    assert_all_close(*orders)
