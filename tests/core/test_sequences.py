"""Whole sequences on numpy's arrays: the bits of the layers of torch, and no address of anything that does not fit."""

import numpy as np
import pytest
import torch

import unrolled.nn as unn
from unrolled import _core
from unrolled.core.bfloat16 import narrowed, widened
from unrolled.core.fields import LayerTensors, Layout, Linear, LinearPass, Weights
from unrolled.core.sequences import linear, run_layer
from unrolled.core.stepper import CoreStepper
from unrolled.notation import CELLS, has_cell_state

LAYERS = {"LSTM": unn.LSTM, "GRU": unn.GRU, "RNN_TANH": unn.RNN, "LSTM_PEEPHOLE": unn.PeepholeLSTM}


def weights_of(layer):
    return [Weights(*(None if w is None else w.detach().numpy() for w in direction)) for direction in layer.weights()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("D", [1, 2])
@pytest.mark.parametrize("symbols", [False, True], ids=["vectors", "symbols"])
def test_sequences_have_the_bits_of_the_layer(kind, dtype, D, symbols):
    layer = LAYERS[kind](5, 9, bidirectional=D == 2, dtype=dtype)
    x = torch.randint(0, 5, (7, 3)) if symbols else torch.randn(7, 3, 5, dtype=dtype)
    lengths, h, c = torch.tensor([7, 0, 4]), torch.randn(D, 3, 9, dtype=dtype), torch.randn(D, 3, 9, dtype=dtype)
    before = (h, c) if has_cell_state(kind) else (h,)
    with torch.no_grad():
        y, after = layer(x, before if len(before) == 2 else h, lengths=lengths)
    arrays = [s.numpy() for s in before]
    got, finals = run_layer(kind, x.numpy(), arrays, weights_of(layer), lengths.numpy())
    np.testing.assert_array_equal(got, y.numpy())
    for s, want in zip(finals, after if isinstance(after, tuple) else (after,), strict=True):
        np.testing.assert_array_equal(s, want.numpy())


def test_projected_layer_has_the_bits_of_the_layer():
    layer, x = unn.LSTM(5, 9, proj_size=4), torch.randn(7, 3, 5)
    with torch.no_grad():
        y, _ = layer(x)
    before = [np.zeros((1, 3, n), np.float32) for n in (4, 9)]
    np.testing.assert_array_equal(run_layer("LSTM", x.numpy(), before, weights_of(layer))[0], y.numpy())


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16])
def test_rows_of_a_head_have_the_bits_of_each_alone(dtype):
    """So many that several threads share them."""
    N, H, V = 777, 65, 97
    rng = np.random.default_rng(0)
    W, b, x = (rng.normal(size=shape).astype(np.float32) for shape in ((V, H), (V,), (N, H)))
    W, b, x = (narrowed(a) if dtype == np.uint16 else a.astype(dtype) for a in (W, b, x))
    seen = np.float32 if dtype == np.uint16 else dtype
    together, alone = np.empty((N, V), seen), np.empty((N, V), seen)
    linear(x, Linear(W, b), together)
    for n in range(N):
        linear(x[n : n + 1], Linear(W, b), alone[n : n + 1])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_bfloat16_in_pieces_keeps_its_cell_state_in_float32(kind):
    rng = np.random.default_rng(0)
    [plain] = weights_of(LAYERS[kind](5, 9))
    w = Weights(*(None if part is None else narrowed(part) for part in plain))
    x = narrowed(rng.normal(size=(40, 2, 5)))
    zeros = [np.zeros((1, 2, 9), np.uint16), np.zeros((1, 2, 9), np.float32)][: 1 + has_cell_state(kind)]
    whole, _ = run_layer(kind, x, zeros, [w])
    stepper, state = CoreStepper(kind, [w], 2, symbols=False), zeros
    for t in range(40):
        piece, state = run_layer(kind, x[t : t + 1], state, [w])
        np.testing.assert_array_equal(piece[0], whole[t])
        np.testing.assert_array_equal(stepper.step(widened(x[t])), widened(whole[t]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16])
def test_head_on_rows_has_the_bits_of_a_steppers_head(dtype):
    rng, store = np.random.default_rng(0), narrowed if dtype == np.uint16 else np.dtype(dtype).type
    W, b, x = (store(rng.normal(size=shape)) for shape in ((24, 9), (24,), (70, 9)))
    seen = np.float32 if dtype == np.uint16 else dtype
    y = np.empty((70, 24), seen)
    linear(x, Linear(W, b), y)
    as_numbers = widened if dtype == np.uint16 else np.asarray
    np.testing.assert_allclose(y, as_numbers(x) @ as_numbers(W).T + as_numbers(b), rtol=1e-4, atol=1e-5)
    one = np.empty((1, 24), seen)
    for n in (0, 33, 69):
        linear(x[n : n + 1], Linear(W, b), one)
        np.testing.assert_array_equal(one[0], y[n])


@pytest.mark.parametrize("name", LayerTensors._fields[:7])
def test_arrays_that_do_not_fit_are_refused_and_nothing_is_written(name):
    rng = np.random.default_rng(0)
    x, h, c = (rng.normal(size=s).astype(np.float32) for s in ((7, 3, 5), (1, 3, 9), (1, 3, 9)))
    y, h_n, c_n = np.full((7, 3, 9), 5, np.float32), np.full_like(h, 5), np.full_like(c, 5)
    good = LayerTensors(x, h, c, weights_of(unn.LSTM(5, 9)), y, h_n, c_n)
    value = getattr(good, name)
    wrong = [value + value] if name == "weights" else [value[:, :2], value.astype(np.float64), value.astype(np.int32)]
    if name in ("y", "h_n", "c_n"):
        frozen = value.copy()
        frozen.setflags(write=False)
        wrong += [frozen, x.reshape(-1)[: value.size].reshape(value.shape) if value.size <= x.size else None, h, None]
    for other in wrong:
        call = good._replace(**{name: other})
        assert not _core.unroll_arrays("float32", CELLS["LSTM"].number, Layout(), call, 1)
    assert {y.min(), h_n.min(), c_n.min(), y.max()} == {5}
    assert _core.unroll_arrays("float32", CELLS["LSTM"].number, Layout(), good, 1)
    assert y.max() < 5


def test_head_that_does_not_fit_is_refused_by_name():
    W, b, x, y = (np.zeros(shape, np.float32) for shape in ((4, 7), (4,), (3, 7), (3, 4)))
    for name, other in (("W", W[:, :6]), ("b", W[0]), ("x", x.astype(float)), ("y", np.zeros((2, 4), np.float32))):
        arrays = LinearPass(W, b, x, y)._replace(**{name: other})
        with pytest.raises(ValueError, match=r"of LinearPass is .*expected float32"):
            _core.linear("float32", arrays)
    y.setflags(write=False)
    with pytest.raises(ValueError, match=r"y of LinearPass is .*to write to"):
        _core.linear("float32", LinearPass(W, b, x, y))
