"""Single steps of a layer: the bits of the whole sequence, its state, and what is refused."""

import copy
import pickle

import pytest
import torch

import unrolled.nn as unn

LAYERS = {
    "lstm": lambda **kw: unn.LSTM(5, 9, **kw),
    "lstm-projected": lambda **kw: unn.LSTM(5, 9, proj_size=3, **kw),
    "gru": lambda **kw: unn.GRU(5, 9, **kw),
    "gru-no-bias": lambda **kw: unn.GRU(5, 9, bias=False, **kw),
    "relu": lambda **kw: unn.RNN(5, 33, nonlinearity="relu", **kw),
}


@pytest.fixture(params=LAYERS)
def make(request):
    return LAYERS[request.param]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("B", "L", "one_hot"), [(1, 1, False), (3, 2, False), (2, 2, True)])
def test_steps_have_the_bits_of_the_whole_sequence(make, B, L, one_hot, dtype):
    layer = make(num_layers=L, dtype=dtype)
    x = torch.randint(0, 5, (7, B)) if one_hot else torch.randn(7, B, 5, dtype=dtype)
    with torch.no_grad():
        y, state = layer(x)
    step = unn.Stepper(layer, B, one_hot=one_hot)
    for t in range(7):
        assert torch.equal(step(x[t]), y[t]), f"step {t}"
    for got, want in zip(*(s if isinstance(s, tuple) else (s,) for s in (step.state, state)), strict=True):
        assert torch.equal(got, want)


def test_state_that_is_set_is_where_the_next_step_starts(make):
    layer = make(num_layers=2)
    x = torch.randn(6, 2, 5)
    step, other = unn.Stepper(layer, 2), unn.Stepper(layer, 2)
    first = [step(x_t) for x_t in x[:3]]
    other.state = step.state
    assert torch.equal(other(x[3]), step(x[3]))
    step.state = None
    assert torch.equal(step(x[0]), first[0])


def test_output_and_weights_are_not_shared():
    layer = unn.GRU(5, 9)
    step, x = unn.Stepper(layer), torch.randn(2, 1, 5)
    with torch.no_grad():
        want = layer(x)[0]
        y = step(x[0])
        layer.weight_hh_l0.zero_()
    assert torch.equal(step(x[1]), want[1])
    assert torch.equal(y, want[0])


def test_rows_that_lie_apart_are_read_as_they_are():
    layer, x = unn.RNN(5, 9), torch.randn(5, 3)
    assert torch.equal(unn.Stepper(layer, 3)(x.t()), layer(x.t()[None])[0][0].detach())


@pytest.mark.parametrize(
    ("x", "what"),
    [
        (torch.zeros(3, 5), r"float32 \(3, 5\).* expected torch.float32 \(1, 5\)"),
        (torch.zeros(1, 5, dtype=torch.float64), "float64"),
        (torch.zeros(1, dtype=torch.int64), r"int64 .*; Stepper\(..., one_hot=True\) reads it"),
    ],
)
def test_input_that_does_not_fit_is_an_error(x, what):
    with pytest.raises(ValueError, match=what):
        unn.Stepper(unn.GRU(5, 9))(x)


def test_vectors_for_a_stepper_of_symbols_are_told_what_reads_them():
    step = unn.Stepper(unn.GRU(5, 9), one_hot=True)
    with pytest.raises(ValueError, match=r"expected torch.int64 \(1,\) on cpu; Stepper\(..., one_hot=False\) reads it"):
        step(torch.zeros(1, 5))


def test_index_outside_the_inputs_is_an_error():
    with pytest.raises(IndexError, match="symbol 5"):
        unn.Stepper(unn.GRU(5, 9), one_hot=True)(torch.tensor([5]))


def test_layer_that_has_no_next_step_is_an_error():
    with pytest.raises(ValueError, match="bidirectional"):
        unn.Stepper(unn.GRU(5, 9, bidirectional=True))
    with pytest.raises(ValueError, match="float16"):
        unn.Stepper(unn.GRU(5, 9).half())


def test_state_of_another_shape_is_an_error():
    step = unn.Stepper(unn.LSTM(5, 9))
    with pytest.raises(RuntimeError, match="hidden"):
        step.state = (torch.zeros(1, 2, 9), torch.zeros(1, 2, 9))


def test_stepper_refuses_a_state_of_another_type_and_memory_that_was_freed():
    def freed(t):
        t.untyped_storage().resize_(0)
        return t

    stepper = unn.Stepper(unn.GRU(4, 6), 2)
    for dtype in (torch.complex64, torch.float64, torch.int64):
        with pytest.raises(ValueError, match=f"the state is {dtype} on cpu, expected torch.float32 on cpu"):
            stepper.state = torch.ones(1, 2, 6, dtype=dtype)
    with pytest.raises(RuntimeError, match="h_0 has elements, but its data is not allocated"):
        stepper.state = freed(torch.randn(1, 2, 6))
    with pytest.raises(RuntimeError, match="h of reset_state has elements, but its data is not allocated"):
        stepper(torch.randn(2, 4), reset=torch.ones(2, dtype=torch.bool), reset_state=freed(torch.randn(1, 2, 6)))
    layer = unn.GRU(4, 6)
    freed(layer.weight_hh_l0.data)
    with pytest.raises(RuntimeError, match="weight_hh_l0 has elements, but its data is not allocated"):
        unn.Stepper(layer, 2)


@pytest.mark.parametrize("made", [torch.inference_mode, torch.no_grad])
@pytest.mark.parametrize("used", [torch.inference_mode, torch.no_grad])
def test_stepper_works_in_inference_mode_and_outside(make, made, used):
    layer, x, reset = make(), torch.randn(2, 3, 5), torch.tensor([True, False, True])
    with made():
        step = unn.Stepper(layer, 3)
        step(x[0])
    with used():
        _, step.state = layer(x)
        y = step(x[0], reset=reset)
        assert torch.equal(y, layer(x[:1], layer(x)[1], reset=reset[None])[0][0])


@pytest.mark.parametrize("cell", [unn.GRU, unn.LSTM])
def test_refused_step_leaves_the_state_as_it_is(cell):
    def states():
        return torch.stack([*step.state]) if cell is unn.LSTM else step.state

    step, freed = unn.Stepper(cell(4, 6), 3, one_hot=True), torch.ones(1, 3, 6)
    step(torch.tensor([1, 2, 3]))
    before, reset = states().clone(), torch.tensor([True, True, False])
    freed.untyped_storage().resize_(0)
    with pytest.raises(IndexError, match="index 9"):
        step(torch.tensor([1, 9, 2]), reset=reset)
    with pytest.raises(RuntimeError, match="has elements, but its data is not allocated"):
        step.state = (torch.ones(1, 3, 6), freed) if cell is unn.LSTM else freed
    assert torch.equal(states(), before)


@pytest.mark.parametrize("module", [torch.nn.GRU(4, 6), unn.GRUCell(4, 6), torch.nn.Sequential(unn.GRU(4, 6)), unn.GRU])
def test_stepper_of_anything_but_a_layer_is_refused(module):
    with pytest.raises(TypeError, match=r"Stepper expected an RNN, LSTM or GRU of unrolled\.nn, got "):
        unn.Stepper(module)


def test_copy_of_a_stepper_is_refused_with_what_to_copy_instead():
    step = unn.Stepper(unn.GRU(2, 3))
    for copying in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied or pickled; copy its layer and its state"):
            copying(step)


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_reset_to_a_learned_state_keeps_the_stepper_out_of_autograd(name):
    layer = getattr(unn, name)(4, 6)
    step = unn.Stepper(layer, 3)
    learned = [torch.nn.Parameter(torch.randn(1, 3, 6)) for _ in range(1 + (name == "LSTM"))]
    other = tuple(learned) if name == "LSTM" else learned[0]
    y = step(torch.randn(3, 4), reset=torch.tensor([True, False, True]), reset_state=other)
    states = step.state if name == "LSTM" else (step.state,)
    assert not any(t.requires_grad for t in (y, *states))
