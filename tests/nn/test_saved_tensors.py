"""What the backward pass keeps: hooks that move or change it, checkpoints, and tools that walk the graph."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import grad
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

import unrolled.nn
from tests.nn.compare import assert_all_close, assert_close
from tests.nn.layers import LAYERS, as_tuple, pair

T, B, I, H = 5, 2, 4, 6


def penalty(layer, x):
    (slope,) = grad(layer(x)[0].square().sum(), x, create_graph=True)
    return slope.square().sum()


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("around", ["hooks", "checkpoint", "checkpoint in hooks"])
def test_a_gradient_penalty_works_inside_hooks_and_checkpoints(name, around):
    found = []
    for layer in pair(name, I, H, dtype=torch.float64):
        x = torch.ones(T, B, I, dtype=torch.float64, requires_grad=True)
        if around == "hooks":
            with save_on_cpu():
                loss = penalty(layer, x)
        elif around == "checkpoint":
            loss = checkpoint(penalty, layer, x, use_reentrant=False)
        else:
            with save_on_cpu():
                loss = checkpoint(penalty, layer, x, use_reentrant=False)
        leaves = {"x": x, **dict(layer.named_parameters())}
        found.append(dict(zip(leaves, grad(loss, list(leaves.values()), allow_unused=True), strict=True)))
    got, want = found[1], {k: torch.zeros_like(found[1][k]) if d is None else d for k, d in found[0].items()}
    assert_all_close(got, want)


def laid_out_anew(t):
    return t.mT.contiguous().mT if t.dim() > 1 else t


def every_other(t):
    return torch.stack([t, t], dim=-1)[..., 0]


@pytest.mark.parametrize("hook", [torch.clone, laid_out_anew, every_other])
@pytest.mark.parametrize("name", [*LAYERS, "LSTMCell", "GRUCell"])
def test_what_a_hook_lays_out_anew_gives_the_same_gradients(name, hook):
    module = getattr(unrolled.nn, name)(I, H)
    x = torch.randn(*((B,) if name.endswith("Cell") else (T, B)), I, requires_grad=True)
    leaves = [x, *module.parameters()]
    want = grad(as_tuple(module(x))[0].sin().sum(), leaves)
    with saved_tensors_hooks(lambda t: t, hook):
        y, *_ = as_tuple(module(x))
    got = grad(y.sin().sum(), leaves)
    assert_all_close(dict(enumerate(got)), dict(enumerate(want)))


@pytest.mark.parametrize(
    "hook",
    [
        lambda t: t[..., :1].contiguous() if t.dim() > 3 else t,
        lambda t: t.double() if t.dim() > 3 else t,
        lambda t: t[:, :2].contiguous() if t.dim() > 3 else t,
        lambda t: t[:2].contiguous() if t.shape == (T, B, H) else t,
    ],
    ids=["fewer units", "another type", "fewer steps", "a shorter y"],
)
@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_what_a_hook_cuts_off_is_refused(name, hook):
    layer, x = getattr(unrolled.nn, name)(I, H), torch.randn(T, B, I, requires_grad=True)
    with saved_tensors_hooks(lambda t: t, hook):
        y, _ = layer(x)
    with pytest.raises(ValueError, match=r"saved for the backward pass, came back as .*, expected"):
        y.sum().backward()


def nodes(of):
    """Every node of a graph, once."""
    found, todo = {}, [of]
    while todo:
        node = todo.pop()
        if node is not None and node not in found:
            found[node] = None
            todo += [before for before, _ in node.next_functions]
    return list(found)


@pytest.mark.parametrize("name", [*LAYERS, "RNNCell", "LSTMCell", "GRUCell"])
def test_tools_that_walk_the_graph_find_tensors_alone(name):
    module = getattr(unrolled.nn, name)(I, H)
    x = torch.randn(*((B,) if name.endswith("Cell") else (T, B)), I, requires_grad=True)
    y, *_ = as_tuple(module(x))
    (slope,) = grad(y.sum(), x, create_graph=True)
    saved = [
        node.saved_tensors for result in (y, slope) for node in nodes(result.grad_fn) if hasattr(node, "saved_tensors")
    ]
    assert saved
    assert all(isinstance(t, torch.Tensor) for tensors in saved for t in tensors)
    assert_close("the gradient", *(grad(y.sum(), x, retain_graph=True)[0] for _ in range(2)), 0)
