"""Steps with weights in int8: the sums of whole numbers in NumPy, and the same bits on every instruction set."""

import numpy as np
import pytest

from tests.saved.networks import layer
from unrolled import _core
from unrolled.core import int8
from unrolled.core.int8 import Int8Matrix
from unrolled.core.stepper import CoreStepper
from unrolled.notation import CELLS, gate_count
from unrolled.runtime.equations import CELLS as EQUATIONS

KINDS = ("LSTM", "GRU", "RNN_TANH", "RNN_RELU", "LSTM_PEEPHOLE")


@pytest.fixture(params=_core.instruction_sets())
def instruction_set(request):
    before = _core.active_instruction_set()
    _core.force_instruction_set(request.param)
    yield request.param
    _core.force_instruction_set(before)


def random_layer(kind, I, H, P=0, seed=0):
    """Weights of a layer in int8."""
    found = layer(kind, I, H, P=P, seed=seed).directions[0]
    return found._replace(**{w: int8.quantised(m) for w, m in found._asdict().items() if m is not None and m.ndim == 2})


def product(matrix, x):
    """W x of rows x (B, K), rounded as the core rounds them."""
    largest = np.abs(x).max(axis=1, keepdims=True, initial=0)
    inverse = np.divide(np.float32(127), largest, out=np.zeros_like(largest), where=largest > 1e-30)
    q = np.rint(x * inverse).astype(np.int64)
    scale = matrix.scale * (largest / np.float32(127))
    return (q @ matrix.q.T.astype(np.int64)).astype(np.float32) * scale


def step_by_equations(kind, weights, x, states):
    """The next states of one layer that reads vectors x (B, I)."""
    a, h_a = product(weights.W_ih, x) + weights.b_ih, product(weights.W_hh, states[0]) + weights.b_hh
    wide = [np.float64(v) for v in (a, h_a)]
    after = EQUATIONS[kind](*wide, weights, *states)
    if weights.W_hr is not None:
        after = product(weights.W_hr, np.float32(after[0])), after[1]
    return after


@pytest.mark.parametrize("B", [1, 3, 9])
@pytest.mark.parametrize(("I", "H"), [(3, 5), (1, 1), (70, 33), (16, 130)])
@pytest.mark.parametrize("kind", KINDS)
def test_step_is_that_of_the_equations_on_whole_numbers(kind, I, H, B, instruction_set):
    weights, rng = random_layer(kind, I, H), np.random.default_rng(1)
    stepper = CoreStepper(kind, [weights], B, symbols=False)
    for s in stepper.states[0]:
        s[...] = rng.normal(size=s.shape)
    for _ in range(3):
        x = rng.normal(size=(B, I)).astype(np.float32) * 10
        before = [s.copy() for s in stepper.states[0]]
        want = step_by_equations(kind, weights, x, before)
        stepper.step(x)
        for s, expected in zip(stepper.states[0], want, strict=True):
            np.testing.assert_allclose(s, expected, atol=2e-6 * max(1, np.abs(expected).max()))
        np.testing.assert_array_equal(stepper.output, stepper.states[0][0])


def test_projected_layer_is_that_of_the_equations(instruction_set):
    weights, rng = random_layer("LSTM", 7, 11, P=3), np.random.default_rng(2)
    stepper = CoreStepper("LSTM", [weights], 2, symbols=False)
    x = rng.normal(size=(2, 7)).astype(np.float32)
    zeros = [np.zeros((2, 3), np.float32), np.zeros((2, 11), np.float32)]
    # m is rounded to whole numbers once more: where its last bits differ, a number may differ by one.
    np.testing.assert_allclose(stepper.step(x), step_by_equations("LSTM", weights, x, zeros)[0], atol=0.02)


def steps(kinds, layers, B, T=40, seed=0, **options):
    stepper = CoreStepper(kinds, layers, B, symbols=False, **options)
    x = np.random.default_rng(seed).normal(size=(T, B, layers[0].W_ih.q.shape[1])).astype(np.float32)
    return np.stack([stepper.step(x_t).copy() for x_t in x]), stepper.logits.copy()


def on_each_set(run):
    """The results of a function on each instruction set by name."""
    before, found = _core.active_instruction_set(), {}
    for name in _core.instruction_sets():
        _core.force_instruction_set(name)
        found[name] = run()
    _core.force_instruction_set(before)
    return found


def test_sums_have_the_same_bits_on_every_instruction_set():
    """A ReLU has no rounding of its own, so that nothing but the sums could differ, over steps and layers."""
    layers = [random_layer("RNN_RELU", 19, 45), random_layer("RNN_RELU", 45, 130, seed=1)]
    head = (int8.quantised(np.random.default_rng(3).normal(size=(21, 130))), np.arange(21, dtype=np.float32))
    for w in (layers[0].W_hh, layers[1].W_hh):
        w.scale[...] /= 8  # a power of two: the state does not grow
    found = on_each_set(lambda: steps("RNN_RELU", layers, 3, head=head))
    for name, results in found.items():
        for result, want in zip(results, found["baseline"], strict=True):
            np.testing.assert_array_equal(result, want, err_msg=name)
            assert np.isfinite(result).all()
            assert np.abs(result).max() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_sets_with_the_same_activations_have_the_same_bits(kind):
    found = on_each_set(lambda: steps(kind, [random_layer(kind, 19, 45)], 3)[0])
    fused = {name: y for name, y in found.items() if name != "baseline"}
    for name, y in fused.items():
        np.testing.assert_array_equal(y, next(iter(fused.values())), err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_row_has_the_same_bits_in_any_batch(kind, instruction_set):
    weights, rng = random_layer(kind, 9, 37), np.random.default_rng(4)
    x = rng.normal(size=(12, 11, 9)).astype(np.float32)
    together = CoreStepper(kind, [weights], 11, symbols=False)
    alone = CoreStepper(kind, [weights], 1, symbols=False)
    for x_t in x:
        np.testing.assert_array_equal(together.step(x_t)[4:5], alone.step(x_t[4:5]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_number_that_is_not_finite_stays_in_its_row(bad, instruction_set):
    stepper = CoreStepper("GRU", [random_layer("GRU", 5, 20)], 2, symbols=False)
    x = np.ones((2, 5), np.float32)
    x[0, 3] = bad
    y = stepper.step(x)
    assert np.isnan(y[0]).all()
    assert np.isfinite(y[1]).all()


def test_numbers_too_small_to_divide_by_count_as_zero(instruction_set):
    weights = random_layer("RNN_RELU", 3, 4)
    stepper = CoreStepper("RNN_RELU", [weights], 1, symbols=False)
    want = stepper.step(np.zeros((1, 3), np.float32)).copy()
    stepper.states[0][0][...] = 0
    np.testing.assert_array_equal(stepper.step(np.full((1, 3), 1e-38, np.float32)), want)


def test_long_rows_are_summed_exactly(instruction_set):
    """Numbers of one sign, so that a sum that saturates or overflows int16 would be seen."""
    I, H = 5000, 4
    zeros = np.zeros(H, np.float32)
    weights = [np.ones((H, I)), np.zeros((H, H))]
    W_ih, W_hh = map(int8.quantised, weights)
    stepper = CoreStepper("RNN_RELU", [(W_ih, W_hh, zeros, zeros)], 1, symbols=False)
    want = product(W_ih, np.ones((1, I), np.float32))
    np.testing.assert_array_equal(stepper.step(np.ones((1, I), np.float32)), want)


def test_rows_too_long_for_the_sums_are_refused():
    wide = Int8Matrix(np.zeros((1, 2**16 + 1), np.int8), np.zeros(1, np.float32))
    one = Int8Matrix(np.zeros((1, 1), np.int8), np.zeros(1, np.float32))
    with pytest.raises(ValueError, match="int8 weights: a row has more than 65536 numbers"):
        CoreStepper("RNN_TANH", [(wide, one)], 1, symbols=False)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_symbols_look_up_columns_in_float32(kind):
    weights = random_layer(kind, 6, 9)
    looked_up = CoreStepper(kind, [weights], 1)
    wide = CoreStepper(kind, [weights._replace(W_ih=int8.widened(weights.W_ih))], 1)
    for symbol in (3, 0, 5):
        np.testing.assert_array_equal(looked_up.step(np.array([symbol])), wide.step(np.array([symbol])))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w._replace(W_hh=int8.widened(w.W_hh)), r"W_ih of layer 0 is int8 \(20, 3\), expected float32"),
        (lambda w: w._replace(W_ih=int8.widened(w.W_ih)), r"W_ih of layer 0 is float32 \(20, 3\), expected int8"),
        (lambda w: w._replace(b_ih=w.b_ih.astype(np.float64)), r"b_ih of layer 0 is float64 \(20,\), expected float32"),
        (lambda w: w._replace(W_hh=w.W_hh._replace(scale=w.W_hh.scale[1:])), r"scale of W_hh of layer 0 is float32"),
        (lambda w: w._replace(W_hh=w.W_hh._replace(scale=w.W_hh.scale * np.float32(np.nan))), "negative or not finite"),
        (lambda w: w._replace(W_hh=w.W_hh._replace(q=np.full((20, 5), -128, np.int8))), "holds -128"),
    ],
)
def test_int8_weights_that_do_not_fit_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        CoreStepper("LSTM", [change(random_layer("LSTM", 3, 5))], 1, symbols=False)


def test_core_itself_takes_no_int8_that_does_not_fit():
    number, good = CELLS["LSTM"].number, random_layer("LSTM", 3, 5)
    spoiled = [
        good._replace(W_hh=(good.W_hh.q, None)),
        good._replace(W_hh=(good.W_hh.q,)),
        good._replace(W_hh=(good.W_hh.q[:-1], good.W_hh.scale)),
        good._replace(W_hh=(good.W_hh.q, good.W_hh.scale[:-1])),
        good._replace(W_ih=None),
        good._replace(W_ih=(good.W_ih.q.astype(np.float32), good.W_ih.scale)),
        good._replace(W_hr=good.W_hh),
    ]
    for weights in spoiled:
        with pytest.raises(ValueError, match="the weights of layer 0 are"):
            _core.Stepper("int8", [number], [weights], None, None, 1, False)
    head = int8.quantised(np.ones((4, 5)))
    for W, b in [((head.q, head.scale[:2]), np.zeros(4, np.float32)), (head, np.zeros(4)), (head.q, np.zeros(4))]:
        with pytest.raises(ValueError, match="the head does not fit"):
            _core.Stepper("int8", [number], [good], (W, b), None, 1, False)


def test_gates_are_as_many_as_the_rows_say():
    assert random_layer("GRU", 2, 7).W_hh.q.shape == (gate_count("GRU") * 7, 7)


def test_vocabulary_may_be_larger_than_a_row_that_is_summed():
    """Symbols look up their column of W_ih, which is never multiplied."""
    V = 2**16 + 3
    table = np.arange(2 * V, dtype=np.float32).reshape(2, V)
    hidden = int8.quantised(np.zeros((2, 2), np.float32))
    stepper = CoreStepper(
        "RNN_RELU", [(table, hidden, np.zeros(2, np.float32), np.zeros(2, np.float32))], 1, symbols=True
    )
    np.testing.assert_array_equal(stepper.step(np.array([V - 1])), table[None, :, V - 1])
