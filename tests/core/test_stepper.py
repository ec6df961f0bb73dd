"""Single steps in the core: the bits of the whole-sequence layers, and no address of anything that does not fit."""

import numpy as np
import pytest
import torch

import unrolled.nn as unn
from unrolled import _core, notation
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


@pytest.mark.parametrize("symbol", [2**70, -(2**63) - 1])
def test_number_beyond_int64_is_no_symbol(symbol):
    stepper = CoreStepper("GRU", weights_of(unn.GRU(4, 7)), 1)
    with pytest.raises(IndexError, match="symbol beyond int64 to step on, expected 0 to V - 1 = 3"):
        stepper.step(symbol)


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


@pytest.mark.parametrize("shape", [(24, 6), (24, 7, 1), (23, 7)])
def test_head_must_read_what_the_last_layer_writes(shape):
    head = (np.zeros(shape, np.float32), np.zeros(24, np.float32))
    with pytest.raises(ValueError, match=r"W_hy is float32 \(2.*\), expected float32 \(24, 7\)"):
        CoreStepper("GRU", weights_of(unn.GRU(4, 7)), 2, head=head)


@pytest.mark.parametrize("V", [5, 24])
def test_core_itself_writes_no_symbol_that_the_first_layer_lacks(V):
    [weights] = weights_of(unn.GRU(4, 7))
    b_y = np.full(V, -1, np.float32)
    b_y[V - 1] = 1  # the likeliest symbol is one that the layer lacks
    head = (np.zeros((V, 7), np.float32), b_y)
    stepper = of_core("GRU", [notation.Weights(*weights)], head, B=2)
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


def of_core(kind, layers, head=None, *, B=1, symbols=True, dtype="float32"):
    return _core.Stepper(dtype, [notation.CELLS[kind].number] * len(layers), layers, head, None, B, symbols)


@pytest.mark.parametrize("kind", CELLS)
def test_nothing_done_to_the_weights_later_reaches_the_stepper(kind):
    """Not even what takes the memory away from under whoever reads it."""
    weights, head = weights_of(CELLS[kind](4, 7, num_layers=2)), [np.ones((4, 7), np.float32), np.ones(4, np.float32)]
    given = [tuple(w if w is None else w.copy() for w in layer) for layer in weights]
    stepper, other = (
        CoreStepper(kind, given, 1, head=head),
        CoreStepper(kind, weights, 1, head=[w.copy() for w in head]),
    )
    for w in (*given[0], *given[1], *head):
        if w is not None:
            w.fill(np.nan)
            w.resize((0,), refcheck=False)
    for symbol in (1, 3, 0):
        np.testing.assert_array_equal(stepper.step(np.array([symbol])), other.step(np.array([symbol])))
        np.testing.assert_array_equal(stepper.logits, other.logits)


def test_tensors_may_lose_their_memory_once_the_core_has_them():
    given = [w.detach().clone() for w in unn.GRU(4, 7).parameters()]
    want = CoreStepper("GRU", [(*(w.clone().numpy() for w in given), None)], 1).step(np.array([2]))
    stepper = of_core("GRU", [notation.Weights(*given)])
    for w in given:
        w.untyped_storage().resize_(0)
    stepper.step(torch.tensor([2]))
    np.testing.assert_array_equal(stepper.output, want)


def test_what_the_core_steps_on_cannot_be_taken_away():
    head = (np.zeros((4, 7), np.float32), np.zeros(4, np.float32))
    stepper = CoreStepper("LSTM", weights_of(unn.LSTM(4, 7, num_layers=2)), 3, head=head)
    for array in (stepper.output, stepper.logits, *stepper.states[0], *stepper.states[1]):
        for whose in (array, array.base):
            if isinstance(whose, np.ndarray):
                with pytest.raises(ValueError, match="does not own its data"):
                    whose.resize((1, 1), refcheck=False)
        array.setflags(write=False)
    before = stepper.step(np.array([1, 2, 3])).copy()
    np.testing.assert_array_equal(stepper.step(np.array([1, 2, 3])) == before, False)


def test_arrays_of_a_stepper_outlive_it():
    kept = []
    for _ in range(3):
        stepper = CoreStepper("LSTM", weights_of(unn.LSTM(4, 7)), 1)
        kept += [stepper.step(np.array([1])), *stepper.states[0]]
        values = [array.copy() for array in kept]
        del stepper
        [np.random.default_rng(k).random(1000) for k in range(3)]  # memory that was freed is written to
        for array, value in zip(kept, values, strict=True):
            np.testing.assert_array_equal(array, value)


@pytest.mark.parametrize("B", [-1, 2**40, 2**62])
def test_number_of_rows_that_cannot_be_is_refused(B):
    with pytest.raises((ValueError, MemoryError), match=r"B is -1, expected 0 or more|no memory for \d+ bytes"):
        of_core("GRU", [notation.Weights(*weights_of(unn.GRU(4, 7))[0])], B=B)


@pytest.mark.parametrize("which", range(5))
def test_core_names_the_layer_whose_weights_do_not_fit(which):
    weights = [notation.Weights(*layer) for layer in weights_of(unn.GRU(4, 7, num_layers=2))]
    wrong = list(weights[1])
    wrong[which] = wrong[0][:-1]
    with pytest.raises(ValueError, match=r"Stepper: the weights of layer 1 are .*, expected float32 .* H = 7, P = 7"):
        of_core("GRU", [weights[0], tuple(wrong)])


@pytest.mark.parametrize("part", [0, 1])
def test_core_names_the_part_of_the_head_that_does_not_fit(part):
    head = [np.zeros((4, 7), np.float32), np.zeros(4, np.float32)]
    head[part] = head[part].astype(np.float64)
    with pytest.raises(ValueError, match=rf"{('W', 'b')[part]} of Linear is float64 \(4.*expected float32"):
        of_core("GRU", [notation.Weights(*weights_of(unn.GRU(4, 7))[0])], tuple(head))


def test_half_precision_weights_are_an_error():
    half = [tuple(w if w is None else w.astype(np.float16) for w in layer) for layer in weights_of(unn.GRU(4, 7))]
    with pytest.raises(ValueError, match="float16, expected float32, float64, the bits of bfloat16 as uint16, or int8"):
        CoreStepper("GRU", half, 1)


def test_layers_of_different_cells_step_as_each_alone():
    kinds, layers = ["LSTM", "GRU", "RNN_TANH"], [unn.LSTM(4, 9), unn.GRU(9, 7), unn.RNN(7, 5)]
    ids = torch.randint(0, 4, (6, 3))
    with torch.no_grad():
        y = ids
        for layer in layers:
            y, _ = layer(y)
    stepper = CoreStepper(kinds, [weights_of(layer)[0] for layer in layers], 3)
    for t, symbols in enumerate(ids.numpy()):
        np.testing.assert_array_equal(stepper.step(symbols), y[t].numpy(), err_msg=f"step {t}")


@pytest.mark.parametrize("cells", [[], [3, 3], [5], ["GRU"], [-1]])
def test_core_refuses_cells_that_are_not_those_of_the_layers(cells):
    [weights] = weights_of(unn.GRU(4, 7))
    with pytest.raises((ValueError, RuntimeError), match=r"cells for 1 layers, expected one for each|cell is|cast"):
        _core.Stepper("float32", cells, [notation.Weights(*weights)], None, None, 1, True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("kind", CELLS)
def test_symbols_of_an_embedding_have_the_bits_of_the_layer_that_reads_its_rows(kind, dtype):
    embedding, layer = torch.randn(13, 6, dtype=dtype), CELLS[kind](6, 9, 2, dtype=dtype)
    ids = torch.randint(0, 13, (7, 3))
    with torch.no_grad():
        y, _ = layer(embedding[ids])
    stepper = CoreStepper(kind, weights_of(layer), 3, embedding=embedding.numpy())
    for t, symbols in enumerate(ids.numpy()):
        np.testing.assert_array_equal(stepper.step(symbols), y[t].numpy(), err_msg=f"step {t}")


def test_embedding_that_does_not_fit_is_an_error():
    weights = weights_of(unn.GRU(6, 9))
    with pytest.raises(ValueError, match=r"W_ih of layer 0 is float32 \(27, 6\), expected float32 \(27, 5\)"):
        CoreStepper("GRU", weights, 1, embedding=np.zeros((13, 5), np.float32))
    with pytest.raises(ValueError, match=r"the embedding is float32 \(13, 5\), expected float32 .V, E. with E = 6"):
        _core.Stepper("float32", [3], [notation.Weights(*weights[0])], None, np.zeros((13, 5), np.float32), 1, True)


@pytest.mark.parametrize("kind", CELLS)
def test_steppers_on_the_same_weights_are_apart(kind):
    layer = CELLS[kind](4, 7, 2)
    first = CoreStepper(kind, weights_of(layer), 1)
    other = first.beside(3)
    want = [first.step(np.array([k])).copy() for k in (1, 2, 3)]
    found = [other.step(np.array([0, k, 0])).copy() for k in (1, 2, 3)]
    del first
    np.testing.assert_array_equal([y[1] for y in found], [y[0] for y in want])
    np.testing.assert_array_equal(other.beside(1).step(np.array([1])), want[0])


@pytest.mark.parametrize("symbols", [True, False])
def test_one_row_may_come_without_its_axis(symbols):
    weights, rng = weights_of(unn.LSTM(3, 4)), np.random.default_rng(0)
    whole, bare = (CoreStepper("LSTM", weights, 1, symbols=symbols) for _ in range(2))
    for _ in range(3):
        x = rng.integers(0, 3, 1) if symbols else rng.normal(size=(1, 3)).astype(np.float32)
        np.testing.assert_array_equal(bare.step(int(x[0]) if symbols else x[0]), whole.step(x))
    with pytest.raises(IndexError):
        CoreStepper("LSTM", weights, 1).step(2**70)
    two = CoreStepper("LSTM", weights, 2, symbols=symbols)
    with pytest.raises(ValueError, match=r"expected .*\(B"):
        two.step(1 if symbols else np.zeros(3, np.float32))


def in_places(x):
    """One array however it may lie in memory."""
    shifted = np.frombuffer(b"." + x.tobytes(), x.dtype, offset=1).reshape(x.shape)
    read_only = x.copy()
    read_only.flags.writeable = False
    return {
        "every second row": np.repeat(x, 2, axis=0)[::2],
        "upside down": x[::-1].copy()[::-1],
        "column by column": np.asfortranarray(x),
        "not at a multiple of its size": shifted,
        "read only": read_only,
        "of a subclass": x.view(np.recarray),
        "a tensor": torch.from_numpy(x),
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("how", in_places(np.zeros((2, 3))))
def test_step_reads_x_however_it_lies(how, dtype):
    weights, x = weights_of(unn.LSTM(3, 4, dtype=getattr(torch, dtype))), np.arange(6, dtype=dtype).reshape(2, 3)
    found, want = (CoreStepper("LSTM", weights, 2, symbols=False).step(of) for of in (in_places(x)[how], x))
    np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("change", ["float64", ">f4", "int32", "transposed", "longer", "flat"])
def test_step_refuses_x_of_another_type_or_shape(change):
    x = np.ones((2, 3), np.float32)
    shapes = {"transposed": x.T, "longer": np.ones((2, 4), np.float32), "flat": x.ravel()}
    stepper = CoreStepper("LSTM", weights_of(unn.LSTM(3, 4)), 2, symbols=False)
    with pytest.raises(ValueError, match=r"expected float32 vectors \(B, I\) = \(2, 3\)"):
        stepper.step(shapes[change] if change in shapes else x.astype(change))
