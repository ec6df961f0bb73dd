"""checkpoint_steps: the same bits, less memory, on every route and for everything a layer takes."""

import copy
import pickle

import pytest
import torch
from torch.func import functional_call, grad, vmap
from torch.nn.utils.rnn import pack_padded_sequence

import unrolled.nn
from tests.nn.layers import LAYERS, as_tuple, gradients

T, B, I, H = 37, 20, 5, 7  # a block of the core's sums has 12 steps
STEPS = [1, 13, "auto"]


def outputs_and_gradients(layer, steps, input, hx=None, **options):
    """Outputs and gradients by name, with checkpoint_steps set for one call."""
    layer.checkpoint_steps = steps
    data = input.data if isinstance(input, torch.nn.utils.rnn.PackedSequence) else input
    states = () if hx is None else as_tuple(hx)
    leaves = {name: t for name, t in {"x": data, **dict(enumerate(states))}.items() if t.requires_grad}
    leaves |= dict(layer.named_parameters())
    torch.manual_seed(7)  # for dropout
    y, end = layer(input, hx, **options)
    y = y.data if isinstance(y, torch.nn.utils.rnn.PackedSequence) else y
    loss = y.sin().sum() + sum(s.cos().sum() for s in as_tuple(end))
    return {"y": y.detach(), **gradients(loss, leaves)}


def assert_same(got, want):
    assert list(got) == list(want)
    for name in want:
        assert torch.equal(got[name], want[name]), name


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=["f32", "f64", "bf16"])
@pytest.mark.parametrize("form", ["plain", "batch_first", "single", "lengths", "reset", "packed", "one-hot"])
def test_gradients_have_the_bits_of_a_call_that_saves_all_gates(name, form, dtype, steps):
    options = {"num_layers": 2, "bidirectional": True, "dropout": 0.3, "batch_first": form == "batch_first"}
    options |= {"proj_size": 3} if name == "LSTM" else {}
    layer = getattr(unrolled.nn, name)(I, H, dtype=dtype, **options)
    x = torch.randn(*((B, T) if form == "batch_first" else (T, B)), I, dtype=dtype)
    states = [torch.randn(4, B, w, dtype=dtype) for w in ([3, H] if name == "LSTM" else [H])]
    lengths, more = torch.randint(0, T + 1, (B,)), {}
    if form == "single":
        x, states = x[:, 0], [s[:, 0] for s in states]
    elif form == "lengths":
        more = {"lengths": lengths}
    elif form == "reset":
        to = tuple(torch.randn_like(s) for s in states)
        more = {"lengths": lengths, "reset": torch.rand(T, B) < 0.1, "reset_state": to if name == "LSTM" else to[0]}
    elif form == "one-hot":
        x = torch.randint(0, I, (T, B))
    states = [s.requires_grad_() for s in states]
    x = x.requires_grad_() if x.is_floating_point() else x
    given = pack_padded_sequence(x, lengths.clamp(min=1), enforce_sorted=False) if form == "packed" else x
    if form == "packed":
        given.data.retain_grad()
    call = (given, tuple(states) if name == "LSTM" else states[0])
    assert_same(outputs_and_gradients(layer, steps, *call, **more), outputs_and_gradients(layer, None, *call, **more))


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_of_a_checkpointed_layer_under_torch_func_have_the_same_bits(name):
    layer = getattr(unrolled.nn, name)(I, H)
    parameters = {key: w.detach() for key, w in layer.named_parameters()}
    x = torch.randn(3, T, B, I)

    def loss(parameters, x):
        return functional_call(layer, parameters, (x,))[0].sin().sum()

    want = vmap(grad(loss), in_dims=(None, 0))(parameters, x)
    layer.checkpoint_steps = 13
    assert_same(vmap(grad(loss), in_dims=(None, 0))(parameters, x), want)
    slopes = vmap(grad(loss, argnums=1), in_dims=(None, 0))(parameters, x)
    assert torch.equal(slopes, torch.stack([grad(loss, argnums=1)(parameters, one) for one in x]))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("steps", [13, "auto"])
def test_gradients_of_a_checkpointed_layer_that_is_compiled_have_the_same_bits(name, steps):
    torch._dynamo.reset()
    layer = getattr(unrolled.nn, name)(I, H, bidirectional=True)
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    for length in (T, 2 * T):
        x = torch.randn(length, B, I, requires_grad=True)
        want = outputs_and_gradients(layer, None, x)
        layer.checkpoint_steps = steps
        y, end = compiled(x)
        loss = y.sin().sum() + sum(s.cos().sum() for s in as_tuple(end))
        found = gradients(loss, {"x": x, **dict(layer.named_parameters())})
        assert_same({"y": y.detach(), **found}, want)


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_checkpointed_layer_can_be_differentiated_twice(name):
    layer = getattr(unrolled.nn, name)(2, 3, dtype=torch.float64, checkpoint_steps=2)
    x = torch.randn(5, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], (x,))
    assert torch.autograd.gradgradcheck(lambda x: layer(x)[0], (x,))


def test_trace_of_a_checkpointed_layer_has_every_gate():
    layer, x = unrolled.nn.LSTM(I, H, checkpoint_steps=2), torch.randn(T, B, I)
    got = layer(x, trace=True)[2]
    layer.checkpoint_steps = None
    want = layer(x, trace=True)[2]
    assert all(torch.equal(got.gates[name], want.gates[name]) for name in want.gates)


def test_checkpoint_steps_stay_with_a_copy_and_show_in_the_repr():
    layer = unrolled.nn.GRU(I, H, checkpoint_steps="auto")
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert other.checkpoint_steps == "auto"
    assert repr(layer) == "GRU(5, 7, checkpoint_steps='auto')"
    assert repr(layer.to_torch()) == "GRU(5, 7)"
    swapped = unrolled.nn.swap(torch.nn.GRU(I, H))
    assert swapped.checkpoint_steps is None
    assert "checkpoint_steps" not in vars(unrolled.nn.GRU(I, H))


@pytest.mark.parametrize("wrong", [0, -3, 2.0, True, "sqrt"])
def test_checkpoint_steps_that_mean_nothing_are_refused_at_once_and_when_set_later(wrong):
    with pytest.raises(ValueError, match=r"checkpoint_steps is .*, expected None, \"auto\" or the steps of a segment"):
        unrolled.nn.LSTM(I, H, checkpoint_steps=wrong)
    layer = unrolled.nn.RNN(I, H)
    layer.checkpoint_steps = wrong
    with pytest.raises(ValueError, match="checkpoint_steps is"):
        layer(torch.randn(T, B, I))


def test_functional_layer_takes_checkpoint_steps():
    layer, x = unrolled.nn.LSTM(I, H), torch.randn(T, B, I, requires_grad=True)
    weights = [(*layer.parameters(), None)]
    found = []
    for steps in (None, 4):
        y, *_ = unrolled.nn.functional.layer("LSTM", x, None, None, weights, checkpoint_steps=steps)
        found.append(dict(enumerate(torch.autograd.grad(y.sin().sum(), [x, *layer.parameters()]))))
    assert_same(*found)
