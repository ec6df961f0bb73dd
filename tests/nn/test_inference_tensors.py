"""Tensors made inside torch.inference_mode and used outside of it, and the reverse."""

import itertools

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence
from torch.utils.flop_counter import FlopCounterMode

import unrolled.nn as unn


def ragged():
    return {"lengths": torch.tensor([5, 2, 0])}


def with_reset():
    return {"reset": torch.tensor([[False, True, False]] * 5)}


def packed():
    return {"batch_sizes": torch.tensor([3, 1])}


def one_hot():
    return {"ids": torch.tensor([[0, 3, 1]] * 5)}


def embedded():
    return {"ids": torch.tensor([[0, 3, 1]] * 5), "embedding": torch.ones(99, 4)}


#: What has no gradient in a call, by the form of the call.
FORMS = [ragged, with_reset, packed, one_hot, embedded]


def run(layer, x, hx, given):
    """The output of a call with these arguments."""
    given = dict(given)
    x = given.pop("ids", x)
    if "batch_sizes" in given:
        return layer(PackedSequence(x[0].repeat(2, 1)[:4], given.pop("batch_sizes")), hx)[0].data
    return layer(x, hx, **given)[0]


def plainly(layer, f):
    f(layer).square().sum().backward()


def under_a_mode(layer, f):
    with FlopCounterMode(display=False):
        plainly(layer, f)


def transformed(layer, f):
    def loss(weights):
        return f(lambda *x, **more: torch.func.functional_call(layer, weights, x, more)).square().sum()

    weights = dict(layer.named_parameters())
    for name, d in torch.func.grad(loss)(weights).items():
        weights[name].grad = d


def twice(layer, f):
    weights = list(layer.parameters())
    first = torch.autograd.grad(f(layer).square().sum(), weights, create_graph=True)
    sum(d.square().sum() for d in first).backward()


@pytest.mark.parametrize("way", [plainly, under_a_mode, transformed, twice])
@pytest.mark.parametrize("form", FORMS)
def test_what_has_no_gradient_may_come_from_inference_mode(route, form, way):
    gru, x, hx = unn.GRU(4, 6), torch.randn(5, 3, 4), torch.randn(1, 3, 6)
    found = []
    for inside in (True, False):
        with torch.inference_mode(inside):
            given = form()
        if "embedding" in given:
            given["embedding"] = torch.ones(99, 4)
        gru.zero_grad()
        way(gru, lambda layer, given=given: run(layer, x, hx, given))
        found.append([w.grad.clone() for w in gru.parameters()])
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("made", list(itertools.product([False, True], repeat=3)), ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_inside_inference_mode_it_does_not_matter_where_tensors_were_made(route, form, made):
    gru, found = unn.GRU(4, 6), []
    for where in (made, (False, False, False)):
        torch.manual_seed(1)
        makers = (lambda: torch.randn(5, 3, 4), lambda: torch.randn(1, 3, 6), form)
        tensors = []
        for inside, maker in zip(where, makers, strict=True):
            with torch.inference_mode(inside):
                tensors.append(maker())
        with torch.inference_mode():
            found.append(run(gru, *tensors))
        with torch.no_grad():
            found.append(run(gru, *tensors))
    assert all(torch.equal(y, found[0]) for y in found)


@pytest.mark.parametrize("which", [0, 1], ids=["x", "hx"])
@pytest.mark.parametrize("form", [ragged, with_reset])
def test_what_has_a_gradient_is_refused_as_torch_refuses_it(form, which):
    tensors = [torch.randn(5, 3, 4), torch.randn(1, 3, 6)]
    with torch.inference_mode():
        tensors[which] = tensors[which].clone()
    for layer, given in ((torch.nn.GRU(4, 6), {}), (unn.GRU(4, 6), form())):
        with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
            layer(*tensors, **given)


@pytest.mark.parametrize("form", [ragged, with_reset, one_hot])
def test_compiled_call_that_is_trained_refuses_them_in_a_sentence(form):
    gru, x, hx = unn.GRU(4, 6), torch.randn(5, 3, 4), torch.randn(1, 3, 6)
    with torch.inference_mode():
        given = form()
    compiled = torch.compile(lambda: run(gru, x, hx, given), backend="aot_eager", fullgraph=True)
    with pytest.raises(RuntimeError, match=r"Inference tensors cannot be saved for backward.* make a clone"):
        compiled()


@pytest.mark.parametrize("call", ["step", "cell"])
def test_reset_of_one_step_may_come_from_inference_mode(route, call):
    gru = unn.GRU(4, 6) if call == "step" else unn.GRUCell(4, 6)
    x, h = torch.randn(3, 4), torch.randn(*((1,) if call == "step" else ()), 3, 6)
    with torch.inference_mode():
        reset = torch.tensor([True, False, True])
    found = gru.step(x, h, reset=reset)[0] if call == "step" else gru(x, h, reset=reset)
    found.sum().backward()
    assert all(w.grad is not None for w in gru.parameters())
