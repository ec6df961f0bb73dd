"""The named fields of the border: what is missing or does not belong is refused, in Python and again in C++."""

import ctypes

import numpy as np
import pytest
import torch

from tests.core.cases import assert_same_bits, make
from unrolled import _core
from unrolled.core import structs
from unrolled.core.fields import GradientTensors, LayerTensors, Layout, Weights
from unrolled.core.structs import Call, HeadPass, Linear, Recurrence, dtype_name, run
from unrolled.nn import fused
from unrolled.notation import CELLS, WEIGHTS

ALL = [Call, Recurrence, structs.Gradients, Linear, HeadPass]
SIZES = {"cell": CELLS["LSTM"].number, "T": 7, "B": 2, "I": 3, "H": 5, "P": 5}


def whole(struct):
    """A value of the right kind for every field."""
    value = {"number": 1, "flag": True}
    return {name: value.get(kind) for name, kind, _ in _core.struct_fields()[struct.name]}


@pytest.mark.parametrize("struct", ALL, ids=lambda s: s.name)
def test_surplus_field_is_refused_with_the_legal_names(struct):
    with pytest.raises(
        TypeError, match=rf"{struct.name} has no field 'hidden'; its fields are .*{[*struct.fields][-1]}$"
    ):
        struct(**whole(struct), hidden=3)


@pytest.mark.parametrize(("struct", "field"), [pytest.param(s, f, id=f"{s.name}-{f}") for s in ALL for f in s.required])
def test_missing_field_is_refused_with_the_legal_names(struct, field):
    given = whole(struct)
    del given[field]
    with pytest.raises(TypeError, match=rf"{struct.name} needs the field '{field}'; its fields are "):
        struct(**given)


def test_core_and_notation_know_the_same_cells():
    named = {cell.number: (len(cell.gates), len(cell.saved), "c" in cell.states) for cell in CELLS.values()}
    assert [named[number] for number in range(len(named))] == _core.cells()


def test_unknown_number_of_a_cell_is_refused():
    y = np.zeros((7, 2, 5), np.float32)
    for number in (-1, len(CELLS)):
        with pytest.raises(ValueError, match=rf"cell is {number}, expected 0 to {len(CELLS) - 1}"):
            _core.run("float32", Call(**{**SIZES, "cell": number}), [Recurrence(weights=None, y=y, h_n=None)], [], 1)


def test_field_that_is_left_out_is_null():
    assert Call(**SIZES) == Call(**SIZES, lengths=None, batch_sizes=None, reset=None, save=False, segment=0)


@pytest.mark.parametrize("change", [lambda f: f[:-1], lambda f: (*f, 0), lambda f: ()], ids=["short", "long", "empty"])
def test_core_counts_the_integers_of_every_struct(change):
    y, call = np.zeros((7, 2, 5), np.float32), Call(**SIZES)
    recurrence, gradients = Recurrence(weights=None, y=y, h_n=None), structs.Gradients()
    with pytest.raises(
        ValueError, match=rf"Call: \d+ integers, expected {len(call)} for the fields cell, T, .* segment"
    ):
        run(y, change(call), [recurrence], [], 1)
    with pytest.raises(
        ValueError, match=rf"Recurrence: .* expected {len(recurrence)} for the fields weights, .* reverse"
    ):
        run(y, call, [change(recurrence)], [], 1)
    with pytest.raises(ValueError, match=rf"Gradients: .* expected {len(gradients)} for the fields dy, .* weights"):
        run(y, call, [recurrence], [change(gradients)], 1)
    with pytest.raises(ValueError, match=r"HeadPass: \d+ integers, expected 10 for the fields W, b, .* V"):
        _core.head("float32", change(HeadPass(**whole(HeadPass))), 1)
    with pytest.raises(ValueError, match=r"Linear: \d+ integers, expected 7 for the fields W, b, x, y, B, H, V"):
        _core.Stepper("float32", [(call, recurrence)], change(Linear(**whole(Linear))))


def test_call_without_its_recurrences_is_refused():
    y, call = np.zeros((7, 2, 5), np.float32), Call(**SIZES)
    recurrence = Recurrence(weights=None, y=y, h_n=None)
    with pytest.raises(ValueError, match="at least one recurrence"):
        run(y, call, [], [], 1)
    with pytest.raises(ValueError, match="gradients of all its recurrences, or of none"):
        run(y, call, [recurrence, recurrence], [structs.Gradients()], 1)
    with pytest.raises(ValueError, match="at least one layer"):
        _core.Stepper("float32", [], None)


@pytest.mark.parametrize("name", ["float16", "int64", "torch.float32"])
def test_type_that_the_core_does_not_compute_in_is_refused(name):
    with pytest.raises(TypeError, match=f"computes in float32 and float64, not {name}"):
        _core.run(name, Call(**SIZES), [], [], 1)


@pytest.mark.parametrize("as_array", [torch.clone, lambda t: t.numpy().copy()], ids=["torch", "numpy"])
def test_arrays_of_both_libraries_give_address_and_strides(as_array):
    array = as_array(torch.arange(30.0).reshape(5, 2, 3))[:, 1:]
    at, time_stride, batch_stride = structs.rows(array)
    assert (time_stride, batch_stride) == (6, 3)
    assert at == structs.address(array)
    assert ctypes.c_float.from_address(at).value == 3
    assert dtype_name(array) == "float32"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
def test_numpy_arrays_by_address_have_the_bits_of_tensors(dtype):
    case = make("LSTM", dtype, T=7, B=5, I=3, H=9)
    want, _ = case.forward()
    x, h_0, c_0, *weights = (t.numpy() for t in (case.x, case.h0, case.c0, *case.weights[0][:4]))
    y, h_n, c_n = (np.empty_like(want[name].numpy()) for name in ("y", "h_n", "c_n"))
    recurrence = Recurrence(weights=Weights(*weights), x=x, h_0=h_0, c_0=c_0, y=y, h_n=h_n, c_n=c_n)
    run(y, Call(**{**SIZES, "B": 5, "H": 9, "P": 9}), [recurrence], [], 1)
    assert_same_bits({name: torch.from_numpy(a) for name, a in {"y": y, "h_n": h_n, "c_n": c_n}.items()}, want)


def test_weights_have_one_order_everywhere():
    assert Weights._fields == tuple(WEIGHTS) == _core.tuple_fields()["Weights"]


def tensors():
    """Layout, layer and gradients of a small GRU call, by name."""
    case = make("GRU", torch.float32, B=2, H=5)
    y, h_n = torch.empty_like(case.dy), torch.empty_like(case.dh_n)
    saved = map(torch.zeros, fused.saved_shapes("GRU", (7, 2), 1, 5, y.itemsize))
    h_0, h_reset = torch.zeros_like(h_n), torch.zeros_like(h_n)
    layer = LayerTensors(case.x, h_0, None, [Weights(*case.weights[0])], y, h_n, None, *saved, h_reset)
    dweights = [Weights(*(None if w is None else torch.empty_like(w) for w in case.weights[0]))]
    return Layout(), layer, GradientTensors(case.dy, None, None, None, None, None, dweights)


def unroll(layout, layer, gradients):
    return _core.unroll(CELLS["GRU"].number, layout, [layer], [gradients], True, 0, 1)


@pytest.mark.parametrize("change", [lambda t: tuple(t)[:-1], lambda t: (*t, None)], ids=["short", "long"])
@pytest.mark.parametrize("which", ["Layout", "LayerTensors", "GradientTensors"])
def test_core_counts_the_fields_of_every_tuple(which, change):
    given = dict(zip(["Layout", "LayerTensors", "GradientTensors"], tensors(), strict=True))
    assert unroll(*given.values())
    assert unroll(*{**given, which: list(given[which])}.values())
    given[which] = change(given[which])
    with pytest.raises(TypeError, match=rf"{which} is a tuple of {len(given[which])} fields, expected the fields "):
        unroll(*given.values())


@pytest.mark.parametrize("change", [lambda w: w[:4], lambda w: (*w, None), lambda w: 3], ids=["short", "long", "none"])
def test_core_counts_the_weights_of_every_direction(change):
    layout, layer, gradients = tensors()
    with pytest.raises(TypeError, match=rf"Weights is .*, expected the fields {', '.join(WEIGHTS)}"):
        unroll(layout, layer._replace(weights=[change(tuple(layer.weights[0]))]), gradients)
    with pytest.raises(TypeError, match=rf"Weights is .*, expected the fields {', '.join(WEIGHTS)}"):
        unroll(layout, layer, gradients._replace(weights=[change(tuple(gradients.weights[0]))]))
    with pytest.raises(TypeError, match=rf"Weights is .*, expected the fields {', '.join(WEIGHTS)}"):
        _core.step(CELLS["GRU"].number, layer.x[0], layer.h_0[0], [change(tuple(layer.weights[0]))], False, 1)


@pytest.mark.parametrize("name", ["W_ih", "W_hh"])
def test_call_without_a_weight_that_every_cell_has_does_not_fit(name):
    layout, layer, gradients = tensors()
    assert not unroll(layout, layer._replace(weights=[layer.weights[0]._replace(**{name: None})]), gradients)


@pytest.mark.parametrize("name", ["x", "h_0", "h_reset", "y", "h_n", "weights"])
def test_tensor_whose_memory_was_freed_does_not_fit(name):
    layout, layer, gradients = tensors()
    freed = layer.weights[0].W_ih if name == "weights" else getattr(layer, name)
    freed.untyped_storage().resize_(0)
    assert not unroll(layout, layer, gradients)
