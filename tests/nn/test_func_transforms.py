"""torch.func and derivatives of derivatives: against torch's composite operations, on both routes."""

import pytest
import torch
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap

import unrolled.nn
from tests.nn.compare import assert_all_close, assert_close
from tests.nn.layers import LAYERS, as_tuple, gradients, hx

# torch scripts its own decompositions the first time forward mode is used.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")

T, B, I, H = 4, 3, 2, 5


def pair(name, **options):
    ours = getattr(unrolled.nn, name)(I, H, dtype=torch.float64, **options)
    return ours, ours.to_torch()


def loss_of(layer):
    def loss(parameters, x):
        y, end = functional_call(layer, parameters, (x,))
        return y.pow(2).sum() + as_tuple(end)[-1].sin().sum()

    return loss


def detached(layer):
    return {name: w.detach() for name, w in layer.named_parameters()}


@pytest.mark.parametrize("name", LAYERS)
def test_functional_call_uses_the_weights_it_is_given(route, name):
    ours, _ = pair(name)
    other, _ = pair(name)
    x = torch.randn(T, B, I).double()
    assert torch.equal(functional_call(ours, detached(other), (x,))[0], other(x)[0])


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True, "bias": False}], ids=str)
def test_func_grad_matches_autograd(route, name, options):
    ours, theirs = pair(name, **options)
    x = torch.randn(T, B, I).double()
    want = torch.autograd.grad(loss_of(theirs)(dict(theirs.named_parameters()), x), list(theirs.parameters()))
    assert_all_close(grad(loss_of(ours))(detached(ours), x), dict(zip(detached(ours), want, strict=True)))


@pytest.mark.parametrize("name", LAYERS)
def test_vmap_over_inputs_equals_a_loop(route, name):
    ours, _ = pair(name, bidirectional=True)
    x = torch.randn(6, T, B, I).double()
    got = vmap(lambda x: ours(x)[0])(x)
    assert_close("y", got, torch.stack([ours(one)[0] for one in x]))
    middle = vmap(lambda x: ours(x)[0], in_dims=1, out_dims=2)(x.transpose(0, 1))
    assert_close("in_dims", middle, got.movedim(0, 2))


@pytest.mark.parametrize("name", LAYERS)
def test_vmap_over_models_equals_a_loop(route, name):
    ours, _ = pair(name)
    models = [detached(pair(name)[0]) for _ in range(3)]
    stacked = {key: torch.stack([m[key] for m in models]) for key in models[0]}
    x = torch.randn(T, B, I).double()
    got = vmap(lambda parameters: functional_call(ours, parameters, (x,))[0])(stacked)
    assert_close("y", got, torch.stack([functional_call(ours, m, (x,))[0] for m in models]))


@pytest.mark.parametrize("name", LAYERS)
def test_vmap_carries_lengths_and_resets(route, name):
    ours, _ = pair(name)
    x, lengths = torch.randn(6, T, B, I).double(), torch.randint(0, T + 1, (6, B))
    reset = torch.rand(6, T, B) < 0.3
    got = vmap(lambda x, n, r: ours(x, lengths=n, reset=r)[0])(x, lengths, reset)
    want = [ours(x[v], lengths=lengths[v], reset=reset[v])[0] for v in range(6)]
    assert_close("y", got, torch.stack(want))


@pytest.mark.parametrize("name", LAYERS)
def test_per_sample_gradients_equal_a_loop(route, name):
    ours, _ = pair(name)
    x = torch.randn(6, T, 1, I).double()
    got = vmap(grad(loss_of(ours)), in_dims=(None, 0))(detached(ours), x)
    want = [grad(loss_of(ours))(detached(ours), one) for one in x]
    assert_all_close(got, {key: torch.stack([w[key] for w in want]) for key in got})


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("options", [{}, {"bidirectional": True}], ids=str)
def test_gradients_pass_gradcheck_to_second_order(route, name, options):
    ours = getattr(unrolled.nn, name)(I, 3, dtype=torch.float64, **options)
    x = torch.randn(3, 2, I, dtype=torch.float64, requires_grad=True)
    D = 1 + ours.bidirectional
    states = as_tuple(hx(name, D, 2, 3, dtype=torch.float64, requires_grad=True))
    to = as_tuple(hx(name, D, 2, 3, dtype=torch.float64, requires_grad=True))
    reset = torch.tensor([[False, False], [True, False], [False, True]])

    def call(x, *states):
        before, to = (states[:2], states[2:]) if name == "LSTM" else states
        y, end = ours(x, before, lengths=torch.tensor([3, 2]), reset=reset, reset_state=to)
        return y, *as_tuple(end)

    assert torch.autograd.gradcheck(call, (x, *states, *to))
    assert torch.autograd.gradgradcheck(call, (x, *states, *to))


@pytest.mark.parametrize("name", LAYERS)
def test_double_backward_matches_torch_for_every_parameter(route, name):
    found = []
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    for layer in pair(name, num_layers=2):
        leaves = {"x": x, **dict(layer.named_parameters())}
        loss = loss_of(layer)(dict(layer.named_parameters()), x)
        penalty = sum(g.pow(2).sum() for g in gradients(loss, leaves, create_graph=True).values())
        found.append(gradients(penalty, leaves))
    assert_all_close(*found)


@pytest.mark.parametrize("name", LAYERS)
def test_shared_weights_are_counted_once_in_the_second_derivative(route, name):
    ours, theirs = pair(name, bidirectional=True)
    for layer in (ours, theirs):
        layer.weight_hh_l0_reverse = layer.weight_hh_l0
    x = torch.randn(T, B, I).double()
    found = []
    for layer in (ours, theirs):
        w = layer.weight_hh_l0
        (first,) = torch.autograd.grad(layer(x)[0].pow(2).sum(), [w], create_graph=True)
        found.append({"first": first, "second": torch.autograd.grad(first.pow(2).sum(), [w])[0]})
    assert_all_close(*found)


@pytest.mark.parametrize("name", LAYERS)
def test_nested_transforms_agree_with_each_other(route, name):
    ours, _ = pair(name)
    x = torch.randn(2, 1, I).double()

    def f(x):
        return ours(x)[0].pow(2).sum()

    assert_close("grad of grad", grad(lambda x: grad(f)(x).sum())(x), jacfwd(jacrev(f))(x).sum((0, 1, 2)))
    assert_close("hessian", hessian(f)(x), jacrev(jacrev(f))(x))
    third = grad(lambda x: grad(lambda x: grad(f)(x).sum())(x).sum())(x)
    assert third.shape == x.shape


@pytest.mark.parametrize("name", LAYERS)
def test_forward_mode_agrees_with_backward_mode(route, name):
    ours, _ = pair(name)
    x, v = torch.randn(T, B, I).double(), torch.randn(T, B, I).double()
    slope = grad(lambda x: ours(x)[0].sum())(x)
    assert_close("jvp", jvp(lambda x: ours(x)[0].sum(), (x,), (v,))[1], (slope * v).sum())
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, v)
        tangent = torch.autograd.forward_ad.unpack_dual(ours(dual)[0].sum()).tangent
    assert_close("dual", tangent, (slope * v).sum())


@pytest.mark.parametrize("name", LAYERS)
def test_backward_twice_needs_and_honours_retain_graph(route, name):
    ours, _ = pair(name)
    loss = ours(torch.randn(T, B, I).double())[0].pow(2).sum()
    first, second = (torch.autograd.grad(loss, list(ours.parameters()), retain_graph=keep) for keep in (True, False))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(loss, list(ours.parameters()))


def test_changing_a_weight_between_forward_and_backward_is_refused(route):
    ours, _ = pair("GRU")
    loss = ours(torch.randn(T, B, I).double())[0].sum()
    with torch.no_grad():
        ours.weight_hh_l0.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("transform", [vmap, lambda f: lambda x: grad(lambda x: f(x).sum())(x)], ids=["vmap", "grad"])
def test_trace_comes_through_transforms(route, transform):
    ours, _ = pair("LSTM")
    x = torch.randn(2, T, I).double()
    seen = []

    def call(x):
        y, _, trace = ours(x, trace=True)
        seen.append(trace.gates["i"])
        return y

    transform(call)(x)
    assert seen[0].shape[-1] == H
