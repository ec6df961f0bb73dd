"""The named fields of the border: what is missing, does not belong or does not fit is refused before it is read."""

import numpy as np
import pytest
import torch

from tests.core.cases import make
from unrolled import _core
from unrolled.core.fields import GradientTensors, HeadPass, LayerTensors, Layout, Linear, Weights, dtype_name
from unrolled.nn import fused
from unrolled.notation import CELLS, WEIGHTS


def test_core_and_notation_know_the_same_cells():
    named = {cell.number: (len(cell.gates), len(cell.saved), "c" in cell.states) for cell in CELLS.values()}
    assert [named[number] for number in range(len(named))] == _core.cells()


def test_unknown_number_of_a_cell_is_refused():
    layout, layer, gradients = tensors()
    for number in (-1, len(CELLS)):
        with pytest.raises(ValueError, match=rf"cell is {number}, expected 0 to {len(CELLS) - 1}"):
            _core.unroll(number, layout, [layer], [gradients], True, 0, 1)


@pytest.mark.parametrize("name", ["float16", "int64", "torch.float32"])
def test_type_that_the_core_does_not_compute_in_is_refused(name):
    with pytest.raises(TypeError, match=f"computes in float32, float64 and bfloat16, not {name}"):
        _core.Stepper(name, [], [], None, None, 1, True)


def test_stepper_without_layers_is_refused():
    with pytest.raises(ValueError, match="at least one layer"):
        _core.Stepper("float32", [], [], None, None, 1, True)


def test_weights_have_one_order_everywhere():
    assert Weights._fields == tuple(WEIGHTS) == _core.tuple_fields()["Weights"]


def tensors():
    """Layout, layer and gradients of a small GRU call, by name."""
    case = make("GRU", torch.float32, B=2, H=5)
    y, h_n = torch.empty_like(case.dy), torch.empty_like(case.dh_n)
    saved = map(torch.zeros, fused.saved_shapes("GRU", (7, 2), 1, 5, y.dtype))
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


@pytest.mark.parametrize("name", ["x", "h_0", "h_reset", "y", "weights", "gates", "dy", "dweights"])
def test_tensor_whose_memory_was_freed_does_not_fit(name):
    layout, layer, gradients = tensors()
    named = {**layer._asdict(), **gradients._asdict(), "dweights": gradients.weights[0].W_hh}
    named["weights"] = layer.weights[0].W_ih
    named[name].untyped_storage().resize_(0)
    assert not unroll(layout, layer, gradients)


def saved_otherwise():
    """What may come back in the place of a saved tensor t (1, T, B, ...), by name."""
    return {
        "cut": lambda t: t[:, :-1],
        "another type": lambda t: t.double(),
        "another order in memory": lambda t: t.mT.contiguous().mT,
        "one row for all": lambda t: t[:, :, :1].expand(t.shape),
        "every second number": lambda t: torch.stack([t, t], -1).flatten(-2)[..., ::2],
        "shifted": lambda t: torch.cat([t.new_zeros(1), t.flatten()])[1:].view(t.shape),
    }


@pytest.mark.parametrize("change", saved_otherwise())
@pytest.mark.parametrize("name", ["y", "gates", "cells"])
def test_what_was_saved_is_read_as_it_lies_or_refused(name, change):
    """Also where it was cut, or every row is the same: then the gradients are those of what came back."""
    case = make("LSTM", torch.float32, B=3, H=5)
    _, layer = case.forward(save=True)
    changed = saved_otherwise()[change](getattr(layer, name))
    upstream = (case.dy, case.dh_n, case.dc_n)
    if changed.shape != getattr(layer, name).shape or changed.dtype != torch.float32:
        with pytest.raises(fused.Unreadable):
            fused.backward("LSTM", Layout(), layer._replace(**{name: changed}), *upstream)
        return
    got = fused.backward("LSTM", Layout(), layer._replace(**{name: changed}), *upstream)
    want = fused.backward("LSTM", Layout(), layer._replace(**{name: changed.contiguous()}), *upstream)
    assert torch.equal(got.dx, want.dx)
    assert torch.equal(got.weights[0].W_hh, want.weights[0].W_hh)


@pytest.mark.parametrize("segment", [-1, 10**18])
def test_segment_of_any_length_is_refused_or_right(segment):
    layout, layer, gradients = tensors()
    assert _core.unroll(CELLS["GRU"].number, layout, [layer], [gradients], True, segment, 1) == (segment > 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("lengths", [8, 7]), ("lengths", [-1, 7]), ("batch_sizes", [2, 3]), ("batch_sizes", [3, 3]), ("batch_sizes", [2])],
)
def test_lengths_and_batch_sizes_out_of_range_do_not_fit(name, value):
    case = make("GRU", torch.float32, T=7, B=2)
    x = case.x if name == "lengths" else case.x.flatten(0, 1)[:5]
    y, h_n = torch.empty(*x.shape[:-1], 9), torch.empty(1, value[0] if name == "batch_sizes" else 2, 9)
    layer = LayerTensors(x, None, None, case.weights, y, h_n, None)
    assert not _core.unroll(CELLS["GRU"].number, Layout(**{name: torch.tensor(value)}), [layer], [], False, 0, 1)


@pytest.mark.parametrize(("symbol", "inside"), [(3, True), (-1, True), (10**12, True), (3, False)])
def test_symbol_outside_the_table_is_refused_where_it_is_read(symbol, inside):
    case = make("GRU", torch.float32, T=7, B=2, one_hot=True)
    layout = Layout(lengths=torch.tensor([7, 4]))
    case.x[3 if inside else 4, 1] = symbol
    if inside:
        with pytest.raises(IndexError, match=rf"one-hot index {symbol} at input\[3, 1\] is out of range"):
            fused.forward("GRU", layout, case.x, None, None, case.weights)
    else:
        fused.forward("GRU", layout, case.x, None, None, case.weights)


@pytest.mark.parametrize("change", ["lengths", "x"])
def test_index_that_changes_between_the_passes_is_refused(change):
    case = make("LSTM", torch.float32, T=7, B=2, one_hot=True, lengths=torch.tensor([7, 4]))
    _, layer = case.forward(save=True)
    (case.layout["lengths"] if change == "lengths" else case.x)[0] = 10**9
    with pytest.raises((ValueError, IndexError), match=r"1000000000"):
        fused.backward("LSTM", Layout(**case.layout), layer, case.dy, None, None)


def overlaps():
    """Layers of the GRU of `tensors` that write where something else lies, by name."""
    _, layer, _ = tensors()
    h = torch.zeros(1, 2, 5)
    return {
        "rows of y": layer._replace(y=torch.zeros(1, 2, 5).expand(7, 2, 5)),
        "h_n in h_0": layer._replace(h_0=h, h_n=h),
        "h_n in y": layer._replace(h_n=layer.y[-1:]),
        "h_n in W_hh": layer._replace(h_n=layer.weights[0].W_hh.flatten()[:10].view(1, 2, 5)),
    }


@pytest.mark.parametrize("name", overlaps())
def test_results_that_overlap_anything_do_not_fit(name):
    given = overlaps()[name]
    assert not _core.unroll(CELLS["GRU"].number, Layout(), [given], [], False, 0, 1)


def head():
    torch.manual_seed(1)
    x, W, b = torch.randn(6, 3), torch.randn(4, 3), torch.randn(4)
    return HeadPass(W, b, x, torch.tensor([0, 1, 2, 3, -1, 0]), *map(torch.zeros_like, (x, W, b)))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("b", torch.zeros(3), r"b of HeadPass is float32 \(3\), expected float32 \(V\) = \(4\)"),
        ("x", torch.zeros(6, 2), r"x of HeadPass is float32 \(6, 2\), expected float32 \(N, H\) = \(6, 3\)"),
        ("targets", torch.zeros(5, dtype=torch.int64), r"targets of HeadPass is int64 \(5\), .* \(N\) = \(6\)"),
        ("targets", torch.zeros(6), r"targets of HeadPass is float32 \(6\), expected int64"),
        ("dW", torch.zeros(3, 4).T, r"dW of HeadPass .* \(V, H\) = \(4, 3\), contiguous, to write to"),
        ("db", torch.zeros(4, dtype=torch.float64), r"db of HeadPass is float64"),
        ("dx", torch.zeros(6, 3, device="meta"), r"dx of HeadPass is no array in memory"),
        ("W", None, r"W of HeadPass is no array in memory"),
    ],
)
def test_head_refuses_an_array_that_does_not_fit_by_name(name, value, message):
    with pytest.raises(ValueError, match=message):
        _core.head(head()._replace(**{name: value}), 1)


def test_head_refuses_results_that_overlap():
    given = head()
    with pytest.raises(ValueError, match="an array to write to overlaps another"):
        _core.head(given._replace(dx=given.x), 1)


@pytest.mark.parametrize("change", [lambda t: t[:-1], lambda t: (*t, None), lambda t: 3], ids=["short", "long", "none"])
def test_core_counts_the_arrays_of_every_head(change):
    with pytest.raises(TypeError, match=r"HeadPass is .*, expected the fields W, b, x, targets, dx, dW, db"):
        _core.head(change(tuple(head())), 1)
    W = np.zeros((5, 5), np.float32)
    with pytest.raises(TypeError, match=r"Linear is .*, expected the fields W, b"):
        _core.Stepper("float32", [0], [Weights(W, W)], change(tuple(Linear(W, W[0]))), None, 2, True)


def test_array_that_is_wrongly_aligned_is_copied():
    given = head()
    want = torch.zeros_like(given.x)
    shifted = torch.frombuffer(bytearray(b"." + given.x.numpy().tobytes()), dtype=torch.float32, offset=1).view(6, 3)
    assert shifted.data_ptr() % 4
    assert _core.head(given._replace(x=shifted), 1) == _core.head(given._replace(dx=want), 1)
    assert torch.equal(given.dx, want)


def test_type_of_an_array_has_one_name_in_both_libraries():
    assert dtype_name(torch.zeros(2)) == dtype_name(np.zeros(2, np.float32)) == "float32"


def test_buffer_too_large_for_an_address_is_an_error():
    for shape in ([2**40, 2**40], [2**62, 4, 0, 1], [0, 3, 2**62], [2**61]):
        with pytest.raises(MemoryError, match=r"no memory for \d+ bytes or more"):
            _core.buffer("float32", shape)


def test_activation_into_an_overlapping_array_is_refused():
    x = np.zeros(9, np.float32)
    _core.activate("tanh", x, x)
    with pytest.raises(ValueError, match="x and y overlap"):
        _core.activate("tanh", x[1:], x[:-1])
