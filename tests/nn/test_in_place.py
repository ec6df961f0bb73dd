"""Writing into what a layer or cell returned, as policies with masks and residual connections do."""

from contextlib import nullcontext
from functools import partial

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import unrolled.nn
from tests.nn.compare import assert_close
from tests.nn.layers import LAYERS, as_tuple, gradients, pair
from unrolled.nn import PeepholeLSTM

SETTINGS = {
    "plain": {},
    "stacked": {"num_layers": 2},
    "bidirectional": {"bidirectional": True},
    "batch_first": {"batch_first": True},
    "no bias": {"bias": False},
    "double": {"dtype": torch.float64},
}
CALLS = {
    "dense": lambda layer, x: layer(x),
    "one sequence": lambda layer, x: layer(x[:, 0]),
    "packed": lambda layer, x: unpacked(layer(torch.nn.utils.rnn.pack_padded_sequence(x, [5, 5, 2]))),
    "lengths": lambda layer, x: layer(x, lengths=torch.tensor([5, 0, 2])),
    "reset": lambda layer, x: layer(x, reset=torch.eye(5, 3).bool(), reset_state=layer(x)[1]),
    "recomputed": lambda layer, x: segmented(layer)(x),
}
WRITES = {
    "sum": lambda y: y.add_(1.5),
    "relu": lambda y: y.relu_(),
    "mask": lambda y: y.masked_fill_(torch.arange(y.shape[-1]) % 2 == 0, 0.0),
    "view": lambda y: y[1:3].mul_(3),
    "detached": lambda y: y.detach().mul_(1),
}


def unpacked(output):
    y, state = output
    return y.data, state  # of a tensor, the tensor


def segmented(layer):
    layer.checkpoint_steps = 2
    return layer


def named_gradients(layer, output, *inputs):
    """Gradients of a loss over an output and its states, by name."""
    y, state = output
    loss = y.square().sum() + sum(s.sin().sum() for s in as_tuple(state))
    return gradients(loss, {f"input {k}": t for k, t in enumerate(inputs)} | dict(layer.named_parameters()))


def copied(output):
    """The output apart from the memory that the layer returned."""
    y, state = output
    return y.clone(), state


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("name", LAYERS)
def test_output_may_be_written_to_before_the_backward_pass(name, call, write):
    layer = getattr(unrolled.nn, name)(4, 4)
    x = torch.randn(5, 3, 4, requires_grad=True)
    want_output, got_output = copied(call(layer, x)), call(layer, x)
    write(want_output[0])
    write(got_output[0])
    want, got = named_gradients(layer, want_output, x), named_gradients(layer, got_output, x)
    assert all(torch.equal(got[k], want[k]) for k in want)


@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("name", LAYERS)
def test_residual_sum_in_place_has_torchs_gradients(name, options):
    theirs, ours = pair(name, 4, 4, **options)
    x = torch.randn(5, 3, 4, dtype=options.get("dtype"), requires_grad=True)

    def with_residual(layer, in_place):
        y, state = layer(x)
        twice = torch.cat((x, x), -1) if layer.bidirectional else x
        if in_place:
            y += twice
        else:
            y = y + twice
        return named_gradients(layer, (y, state), x)

    want = with_residual(theirs, in_place=False)  # torch's own float32 LSTM refuses the other
    for key, gradient in with_residual(ours, in_place=True).items():
        assert_close(key, gradient, want[key])


@pytest.mark.parametrize("make", [lambda: unrolled.nn.LSTM(4, 5, proj_size=4), lambda: PeepholeLSTM(4, 4)])
def test_residual_sum_works_for_every_cell(make):
    layer, x = make(), torch.randn(5, 3, 4, requires_grad=True)
    y, state = layer(x)
    want = named_gradients(layer, (y + x, state), x)
    y, state = layer(x)
    y += x
    got = named_gradients(layer, (y, state), x)
    assert all(torch.equal(got[k], want[k]) for k in want)


@pytest.mark.parametrize("name", LAYERS)
def test_final_state_and_trace_may_be_written_to(name):
    layer, x = getattr(unrolled.nn, name)(4, 4), torch.randn(5, 3, 4, requires_grad=True)
    y, state, _ = layer(x, trace=True)
    want = named_gradients(layer, (y, tuple(s * 2 for s in as_tuple(state))), x)
    y, state, trace = layer(x, trace=True)
    for gate in trace.gates.values():
        gate.zero_()
    got = named_gradients(layer, (y, tuple(s.mul_(2) for s in as_tuple(state))), x)
    assert all(torch.equal(got[k], want[k]) for k in want)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("gradient", [True, False])
def test_trace_and_results_share_no_memory(route, name, gradient):
    layer, x = getattr(unrolled.nn, name)(4, 4, num_layers=2), torch.randn(5, 3, 4)

    def values(*parts):
        return [t.detach().clone() for part in parts for t in part]

    with torch.set_grad_enabled(gradient):
        y, state, trace = layer(x, trace=True)
        results = [y, *as_tuple(state)]
        records = [t for each in trace.layers for t in (each.h, each.c, *each.gates.values()) if t is not None]
        recorded = values(records)
        for result in results:
            result.mul_(2)
        assert all(map(torch.equal, records, recorded))
        returned = values(results)
        for record in records:
            record.zero_()
    assert all(map(torch.equal, results, returned))


@pytest.mark.parametrize("how", [nullcontext, partial(FlopCounterMode, display=False)], ids=["eager", "operator"])
@pytest.mark.parametrize("call", ["dense", "packed", "lengths", "recomputed"])
@pytest.mark.parametrize("name", [*LAYERS, "PeepholeLSTM"])
def test_gradients_do_not_see_what_numpy_writes_into_a_trace(name, call, how):
    layer, x = getattr(unrolled.nn, name)(4, 4, dtype=torch.float64), torch.randn(5, 3, 4, dtype=torch.float64)

    def after_write(value):
        def traced(*given, **options):
            y, state, trace = layer(*given, trace=True, **options)
            for part in (trace.h, trace.c, *trace.gates.values()):
                if part is not None and value is not None:
                    unpacked((part, None))[0].numpy()[...] = value
            return y, state

        with how():
            y, _ = CALLS[call](traced, x)
        return torch.autograd.grad(y.square().sum(), list(layer.parameters()))

    if call == "recomputed":
        layer.checkpoint_steps, call = 2, "dense"
    assert all(map(torch.equal, after_write(7.0), after_write(None)))


@pytest.mark.parametrize("name", LAYERS)
def test_second_derivatives_follow_a_write(name):
    layer, x = getattr(unrolled.nn, name)(4, 4).double(), torch.randn(5, 3, 4).double().requires_grad_()

    def penalty(in_place):
        y, _ = layer(x)
        y = y.add_(x) if in_place else y + x
        (g,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        return torch.autograd.grad(g.square().sum(), x)[0]

    assert_close("penalty", penalty(True), penalty(False))


@pytest.mark.parametrize("name", LAYERS)
def test_input_that_was_written_to_is_still_refused(name):
    layer, x = getattr(unrolled.nn, name)(4, 4), torch.randn(5, 3, 4)
    y, _ = layer(x)
    x.zero_()
    y.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize("written", ["input", "weight_ih_l0", "weight_hh_l0"])
@pytest.mark.parametrize("name", LAYERS)
def test_gradients_after_a_write_of_numpy_are_torchs(name, written):
    """Autograd counts the writes of torch alone: with torch's layers too, the backward pass reads the new numbers."""
    x = torch.randn(5, 3, 4, dtype=torch.float64)

    def after_write(layer):
        given = x.clone().requires_grad_()
        output = layer(given)
        parts = {"input": given} | dict(layer.named_parameters())
        parts[written].detach().numpy()[...] *= 3
        return named_gradients(layer, output, given)

    theirs, ours = pair(name, 4, 4, dtype=torch.float64)
    want = after_write(theirs)
    for key, gradient in after_write(ours).items():
        assert_close(key, gradient, want[key])


def test_second_backward_pass_is_refused_in_torchs_words():
    y, _ = unrolled.nn.GRU(4, 4)(torch.randn(5, 3, 4))
    y.sum().backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.sum().backward()


@pytest.mark.parametrize("batch", [(), (3,)], ids=["one row", "batch"])
@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_state_of_a_cell_may_be_masked_in_a_loop(name, batch):
    theirs, ours = pair(name, 4, 5)
    x = torch.randn(6, *batch, 4)
    masks = (torch.rand(6, *batch, 1) > 0.3).float()

    def loss(cell, in_place):
        state = None
        for x_t, mask in zip(x, masks, strict=True):
            state = cell(x_t, state)
            after = tuple(s.mul_(mask) if in_place else s * mask for s in as_tuple(state))
            state = after if len(after) == 2 else after[0]
        return sum(s.square().sum() for s in as_tuple(state))

    want = gradients(loss(theirs, in_place=False), dict(theirs.named_parameters()))
    for key, gradient in gradients(loss(ours, in_place=True), dict(ours.named_parameters())).items():
        assert_close(key, gradient, want[key])


@pytest.mark.parametrize("name", LAYERS)
def test_output_of_a_step_may_be_written_to(name):
    layer, x = getattr(unrolled.nn, name)(4, 4), torch.randn(6, 3, 4)

    def loss(in_place):
        state, total = None, 0
        for x_t in x:
            y_t, state = layer.step(x_t, state)
            total = total + (y_t.relu_() if in_place else y_t.relu()).square().sum()
        return total

    want, got = (gradients(loss(in_place), dict(layer.named_parameters())) for in_place in (False, True))
    assert all(torch.equal(got[k], want[k]) for k in want)


class Subclass(torch.Tensor):
    """A tensor that is not a plain one."""


ROUTES = {
    "func": lambda loss, x: torch.func.grad(loss)(x),
    "vmap": lambda loss, x: torch.vmap(torch.func.grad(loss))(x[None])[0],
    "subclass": lambda loss, x: torch.autograd.grad(loss(z := x.as_subclass(Subclass).requires_grad_()), z)[0],
    "compiled": lambda loss, x: torch.autograd.grad(
        torch.compile(loss, backend="aot_eager", fullgraph=True)(z := x.clone().requires_grad_()), z
    )[0],
    "checkpoint": lambda loss, x: torch.autograd.grad(
        torch.utils.checkpoint.checkpoint(loss, z := x.clone().requires_grad_(), use_reentrant=False), z
    )[0],
}


@pytest.mark.parametrize("through", ROUTES.values(), ids=ROUTES)
@pytest.mark.parametrize("name", LAYERS)
def test_output_may_be_written_to_on_every_route(name, through):
    layer, x = getattr(unrolled.nn, name)(4, 4), torch.randn(5, 3, 4)

    def loss(x):
        y, _ = layer(x)
        y.add_(x)
        return y.square().sum()

    z = x.clone().requires_grad_()
    (want,) = torch.autograd.grad((layer(z)[0] + z).square().sum(), z)
    assert torch.equal(through(loss, x).as_subclass(torch.Tensor), want)


@pytest.mark.parametrize("name", LAYERS)
def test_hooks_keep_what_nobody_writes_to(name):
    layer, x = getattr(unrolled.nn, name)(4, 4), torch.randn(5, 3, 4, requires_grad=True)
    want = named_gradients(layer, copied(layer(x)), x)
    with torch.autograd.graph.save_on_cpu():
        y, state, trace = layer(x, trace=True)
    output = y.clone(), state
    y.zero_()
    for gate in trace.gates.values():
        gate.zero_()
    got = named_gradients(layer, output, x)
    assert all(torch.equal(got[k], want[k]) for k in want)
