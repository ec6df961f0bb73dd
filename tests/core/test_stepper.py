"""Single steps in the core: the bits of the whole-sequence layers, and no address of anything that does not fit."""

import numpy as np
import pytest
import torch

import unrolled.nn as unn
from unrolled import _core, notation
from unrolled.core.fields import LayerTensors, Linear
from unrolled.core.stepper import CoreStepper

CELLS = {"LSTM": unn.LSTM, "GRU": unn.GRU, "RNN_TANH": unn.RNN}


def weights_of(layer):
    flat = [p.detach().numpy() for p in layer.parameters()]
    return [(*flat[k : k + 4], None) for k in range(0, len(flat), 4)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize(("B", "V", "H", "L"), [(1, 5, 9, 1), (3, 60, 33, 2)])
def test_steps_have_the_bits_of_the_whole_sequence(kind, dtype, B, V, H, L):
    layer = CELLS[kind](V, H, L, dtype=dtype)
    ids = torch.randint(0, V, (11, B))
    with torch.no_grad():
        y, _ = layer(ids)
    stepper = CoreStepper(kind, weights_of(layer), B)
    for t, symbols in enumerate(ids.numpy()):
        np.testing.assert_array_equal(stepper.step(symbols), y[t].numpy(), err_msg=f"step {t}")


def test_state_that_is_written_is_where_the_next_step_starts():
    layer = unn.LSTM(4, 7)
    first, second = CoreStepper("LSTM", weights_of(layer), 1), CoreStepper("LSTM", weights_of(layer), 1)
    first.step(np.array([1]))
    for to, what in zip(second.states[0], first.states[0], strict=True):
        to[...] = what
    np.testing.assert_array_equal(first.step(np.array([2])), second.step(np.array([2])))


@pytest.mark.parametrize("symbol", [-1, 4, 10**12])
def test_symbol_outside_the_vocabulary_is_an_error(symbol):
    stepper = CoreStepper("GRU", weights_of(unn.GRU(4, 7)), 1)
    with pytest.raises(IndexError, match=rf"symbol {symbol} .* V - 1 = 3"):
        stepper.step(np.array([symbol]))


@pytest.mark.parametrize(("which", "name"), list(enumerate(["W_ih", "W_hh", "b_ih", "b_hh"])))
def test_weight_that_does_not_fit_is_an_error_that_names_it(which, name):
    good = weights_of(unn.GRU(4, 7, num_layers=2))
    wrong = list(good[1])
    wrong[which] = wrong[which][:-1]
    with pytest.raises(ValueError, match=f"{name} of layer 1"):
        CoreStepper("GRU", [good[0], tuple(wrong)], 1)


def test_what_would_write_past_an_array_is_an_error():
    weights, head = weights_of(unn.GRU(4, 7)), (np.zeros((4, 7), np.float32), np.zeros(4, np.float32))
    choice = _core.Choice(-1, 1.0, 0, 1.0, 0.0, False)
    with pytest.raises(ValueError, match=r"u is \(5, 3\), written \(5, 3\), expected \(N, B = 2\)"):
        CoreStepper("GRU", weights, 2, head=head).write(choice, -1, np.zeros((5, 3)))
    with pytest.raises(ValueError, match="no head to choose symbols from, or reads no symbols"):
        CoreStepper("GRU", weights, 2, symbols=False, head=head).write(choice, -1, np.zeros((5, 2)))
    with pytest.raises(ValueError, match=r"x is int64 \(2\), expected float32 vectors \(B, I\) = \(2, 4\)"):
        CoreStepper("GRU", weights, 2, symbols=False).step(np.zeros(2, np.int64))


@pytest.mark.parametrize("V", [3, 5, 24])
def test_head_must_have_the_symbols_that_the_first_layer_reads(V):
    head = (np.zeros((V, 7), np.float32), np.zeros(V, np.float32))
    with pytest.raises(ValueError, match=rf"W_hy is float32 \({V}, 7\), expected float32 \(4, 7\)"):
        CoreStepper("GRU", weights_of(unn.GRU(4, 7)), 2, head=head)


@pytest.mark.parametrize("V", [5, 24])
def test_core_itself_writes_no_symbol_that_the_first_layer_lacks(V):
    [weights] = weights_of(unn.GRU(4, 7))
    h, y, logits = (np.zeros(shape, np.float32) for shape in ((1, 2, 7), (1, 2, 7), (2, V)))
    layer = LayerTensors(np.zeros((1, 2), np.int64), h, None, [notation.Weights(*weights)], y, h, None)
    b_y = np.full(V, -1, np.float32)
    b_y[V - 1] = 1  # the likeliest symbol is one that the layer lacks
    head = Linear(np.zeros((V, 7), np.float32), b_y, y[0], logits)
    stepper = _core.Stepper("float32", notation.CELLS["GRU"].number, [layer], head)
    choice = _core.Choice(-1, 1.0, 0, 1.0, 0.0, True)
    with pytest.raises(ValueError, match=rf"the head chooses from V = {V} symbols, the first layer reads I = 4"):
        stepper.write(choice, -1, np.zeros((5, 2)), np.empty((5, 2), np.int64))


@pytest.mark.parametrize(
    "x",
    [np.zeros(3, np.int64), np.zeros((2, 1), np.int64), np.zeros(2, np.int32), np.zeros(2), None, [0, 1],
     torch.zeros(2, dtype=torch.int64, device="meta")],
    ids=lambda x: f"{type(x).__name__} {getattr(x, 'dtype', '')}",
)  # fmt: skip
def test_step_on_what_are_no_symbols_of_the_batch_is_an_error(x):
    with pytest.raises(ValueError, match=r"step: x is .*, expected int64 symbols \(B\) = \(2\)"):
        CoreStepper("GRU", weights_of(unn.GRU(4, 7)), 2).step(x)


def test_stepper_keeps_its_arrays_alive():
    steps = []
    for _ in range(3):
        torch.manual_seed(1)
        layer = unn.LSTM(4, 7)
        stepper = CoreStepper("LSTM", weights_of(layer), 1)._core
        del layer
        steps.append([np.random.default_rng(k).random(1000) for k in range(3)])  # memory that was freed is written to
        stepper.step(np.array([1]))


def test_half_precision_weights_are_an_error():
    half = [tuple(w if w is None else w.astype(np.float16) for w in layer) for layer in weights_of(unn.GRU(4, 7))]
    with pytest.raises(ValueError, match="float16, expected float32 or float64"):
        CoreStepper("GRU", half, 1)
