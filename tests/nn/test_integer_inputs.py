"""Integers that are no symbols of the layer, or were meant as features: what came, where, and what to do."""

import pytest
import torch

import unrolled.nn
from tests.nn.compare import assert_all_close
from tests.nn.layers import LAYERS, gradients, said_by

X = torch.zeros(5, 3, 4)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("index", [-1, 4, 2**40])
def test_one_hot_index_out_of_range_names_index_and_position(route, batch_first, index):
    ids = torch.zeros(5, 3, dtype=torch.int64)
    ids[2, 1] = index
    place = r"\[1, 2\]" if batch_first else r"\[2, 1\]"
    with pytest.raises(IndexError, match=rf"one-hot index {index} at input{place} .* to 3, which is input_size - 1"):
        unrolled.nn.LSTM(4, 6, batch_first=batch_first)(ids.t() if batch_first else ids)


def test_one_hot_rank_is_named():
    with pytest.raises(ValueError, match="LSTM: Expected input of one-hot indices to be 1D or 2D, got 3D instead"):
        unrolled.nn.LSTM(4, 6)(torch.zeros(5, 3, 4, dtype=torch.int64))


LONG = r"; integers are read as symbols if they are int64: input\.long\(\)"
FLOAT = r"; int64 is read as symbols: for features, input\.float\(\)"
INTEGERS = [torch.int32, torch.uint8, torch.int16, torch.bool]


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize("shape", [(5,), (5, 2), (5, 2, 4)], ids=str)
def test_symbols_of_another_integer_type_are_told_what_to_do(dtype, shape):
    layer, x = unrolled.nn.GRU(4, 6), torch.ones(shape, dtype=dtype)
    with pytest.raises(ValueError, match=LONG):
        layer(x)
    with pytest.raises(ValueError, match=LONG):
        layer(x, embedding=torch.zeros(9, 4))


@pytest.mark.parametrize("cls", [unrolled.nn.GRU, unrolled.nn.PeepholeLSTM])
@pytest.mark.parametrize("embedding", [None, torch.zeros(9, 4)], ids=["", "embedding"])
def test_symbols_of_another_integer_type_are_told_what_to_do_beside_a_state(cls, embedding):
    layer, x = cls(4, 6), torch.ones(5, 2, dtype=torch.int32)
    _, state = layer(x.long())
    with pytest.raises(RuntimeError, match=f"unbatched 2-D input, hx .*{LONG}"):
        layer(x, state, embedding=embedding)
    with pytest.raises(RuntimeError, match=LONG):
        layer.step(x[0], state)


@pytest.mark.parametrize("name", LAYERS)
def test_integer_features_are_told_what_torch_says_and_more(name):
    ours, theirs = (getattr(module, name)(4, 6) for module in (unrolled.nn, torch.nn))
    got, want = (said_by(lambda layer=layer: layer(X.int())) for layer in (ours, theirs))
    assert got[0] is want[0]
    assert got[1].startswith(f"{want[1]}; ")


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_symbols_of_another_integer_type_are_told_what_to_do_in_a_step(dtype):
    layer, cell, one = unrolled.nn.GRU(4, 6), unrolled.nn.GRUCell(4, 6), torch.ones(2, dtype=dtype)
    stepper = unrolled.nn.Stepper(layer, batch_size=2, one_hot=True)
    for call in (layer.step, cell, stepper):
        with pytest.raises((ValueError, RuntimeError), match=LONG):
            call(one)
    with pytest.raises((ValueError, RuntimeError), match=LONG):
        cell(torch.ones(2, 4, dtype=dtype))


def test_packed_symbols_and_those_of_functional_are_told_what_to_do():
    layer = unrolled.nn.GRU(4, 6)
    packed = torch.nn.utils.rnn.pack_sequence([torch.tensor([0, 1], dtype=torch.int32)])
    with pytest.raises(RuntimeError, match=LONG):
        layer(packed)
    with pytest.raises(ValueError, match=LONG):
        unrolled.nn.functional.layer("GRU", torch.ones(5, 2, dtype=torch.int32), None, None, layer.weights())


def test_integer_features_are_told_what_to_do():
    layer, cell, x = unrolled.nn.GRU(4, 6), unrolled.nn.GRUCell(4, 6), torch.ones(5, 2, 4, dtype=torch.int64)
    stepper = unrolled.nn.Stepper(layer, batch_size=2)
    for call, given in ((layer, x), (cell, x[0]), (layer.step, x[0]), (stepper, x[0])):
        with pytest.raises(ValueError, match=FLOAT):
            call(given)
    with pytest.raises(IndexError, match=FLOAT):
        layer(torch.tensor([[0, 1, 0, 4]]))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_symbols_are_one_hot_vectors_whatever_the_weights_are(name, dtype):
    layer = getattr(unrolled.nn, name)(4, 3, num_layers=2, bidirectional=True, dtype=dtype)
    symbols = torch.randint(0, 4, (5, 3))
    options = {"lengths": torch.tensor([5, 0, 3]), "reset": torch.rand(5, 3) < 0.3}
    found = []
    for x in (symbols, torch.nn.functional.one_hot(symbols, 4).to(dtype)):
        y, _ = layer(x, **options)
        found.append({"y": y, **gradients(y.abs().sum(), dict(layer.named_parameters()))})
    assert_all_close(*found)
