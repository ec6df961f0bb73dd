"""Wrong arguments: torch's own class and text, asked of torch itself; and a better answer where torch has none."""

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import unrolled.nn
from tests.nn.compare import assert_close
from tests.nn.layers import LAYERS, hx


def said_by(call):
    """Class and text of whatever is raised."""
    with pytest.raises(Exception) as caught:
        call()
    return type(caught.value), str(caught.value)


def positional(name, *after):
    """Eight positional arguments, the last of which is proj_size."""
    return (4, 6, 1, *(("tanh",) if name == "RNN" else ()), True, False, 0.0, False, *after)


CONSTRUCTORS = {
    "input_size numpy int": {"input_size": np.int64(4)},
    "input_size float": {"input_size": 4.0},
    "hidden_size str": {"hidden_size": "6"},
    "bias int": {"bias": 1},
    "batch_first int": {"batch_first": 0},
    "input_size zero": {"input_size": 0},
    "hidden_size negative": {"hidden_size": -1},
    "num_layers zero": {"num_layers": 0},
    "dropout above 1": {"dropout": 1.5},
    "dropout negative": {"dropout": -0.1},
    "dropout bool": {"dropout": True},
    "proj_size": {"proj_size": 6},
    "proj_size negative": {"proj_size": -1},
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("options", CONSTRUCTORS.values(), ids=CONSTRUCTORS)
def test_constructor_says_what_torch_says(name, options):
    options = {"input_size": 4, "hidden_size": 6, **options}
    got, want = (said_by(lambda m=m: getattr(m, name)(**options)) for m in (unrolled.nn, torch.nn))
    assert got == want


def test_constructor_accepts_true_for_an_int_as_torch_does():
    assert unrolled.nn.GRU(True, 6).weight_ih_l0.shape == torch.nn.GRU(True, 6).weight_ih_l0.shape


@pytest.mark.parametrize("options", [{"nonlinearity": "gelu"}, {"nonlinearity": None}], ids=str)
def test_unknown_nonlinearity_says_what_torch_says(options):
    assert said_by(lambda: unrolled.nn.RNN(4, 6, **options)) == said_by(lambda: torch.nn.RNN(4, 6, **options))


def test_dropout_on_one_layer_warns_as_torch_does():
    warned = []
    for module in (unrolled.nn, torch.nn):
        with pytest.warns(UserWarning, match="dropout option adds dropout") as caught:
            module.GRU(4, 6, dropout=0.5)
        warned.append(str(caught[0].message))
    assert warned[0] == warned[1]


@pytest.mark.parametrize("name", ["RNN", "GRU"])
@pytest.mark.parametrize("by", ["position", "keyword"])
def test_projection_of_rnn_and_gru_is_refused_in_either_form(name, by):
    """torch lets the positional form slip through."""
    kind, text = said_by(lambda: getattr(torch.nn, name)(4, 6, proj_size=2))
    if by == "position":
        got = said_by(lambda: getattr(unrolled.nn, name)(*positional(name, 2)))
    else:
        got = said_by(lambda: getattr(unrolled.nn, name)(4, 6, proj_size=2))
    assert got == (kind, text)


X = torch.zeros(5, 3, 4)
CALLS = {
    "input 1-D": lambda name: (torch.zeros(4),),
    "input 4-D": lambda name: (torch.zeros(1, 5, 3, 4),),
    "hx 2-D for a batch": lambda name: (X, hx(name, 3, 6)),
    "hx 3-D for one sequence": lambda name: (X[:, 0], hx(name, 1, 3, 6)),
    "width": lambda name: (X[..., :3],),
    "width of one sequence": lambda name: (X[:, 0, :3],),
    "batch of hx": lambda name: (X, hx(name, 1, 4, 6)),
    "width of hx": lambda name: (X, hx(name, 1, 3, 5)),
    "layers of hx": lambda name: (X, hx(name, 2, 3, 6)),
    "hx of one sequence": lambda name: (X[:, 0], hx(name, 1, 5)),
    "type": lambda name: (X.double(),),
    "half type": lambda name: (X.bfloat16(),),
    "int32": lambda name: (X.int(),),
    "complex": lambda name: (X.to(torch.complex64),),
    "type before width": lambda name: (X[..., :3].double(),),
    "width before hx": lambda name: (X[..., :3], hx(name, 1, 4, 6)),
    "device of hx": lambda name: (X, hx(name, 1, 3, 6, device="meta")),
    "device of input": lambda name: (X.to("meta"),),
    "no steps": lambda name: (X[:0],),
    "no steps, no rows": lambda name: (X[:0, :0],),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("arguments", CALLS.values(), ids=CALLS)
def test_call_says_what_torch_says(route, name, arguments):
    ours, theirs = (getattr(module, name)(4, 6) for module in (unrolled.nn, torch.nn))
    got, want = (said_by(lambda layer=layer: layer(*arguments(name))) for layer in (ours, theirs))
    assert got == want


@pytest.mark.parametrize("name", ["RNN", "GRU"])
def test_packed_call_says_what_torch_says(name):
    """For LSTM torch checks none of these; the next test says what is said there."""
    ours, theirs = (getattr(module, name)(4, 6) for module in (unrolled.nn, torch.nn))
    for make in PACKED.values():
        got, want = (said_by(lambda layer=layer, make=make: layer(*make(name))) for layer in (ours, theirs))
        assert got == want


PACKED = {
    "width": lambda name: (pack_sequence([torch.zeros(n, 3) for n in (5, 3, 1)]),),
    "rank": lambda name: (pack_sequence([torch.zeros(n, 2, 4) for n in (5, 3, 1)]),),
    "type": lambda name: (pack_sequence([torch.zeros(n, 4).double() for n in (5, 3, 1)]),),
    "batch of hx": lambda name: (pack_sequence([torch.zeros(n, 4) for n in (5, 3, 1)]), hx(name, 1, 4, 6)),
    "rank of hx": lambda name: (pack_sequence([torch.zeros(n, 4) for n in (5, 3, 1)]), hx(name, 3, 6)),
}


@pytest.mark.parametrize(
    ("what", "error", "text"),
    [
        ("width", RuntimeError, r"input.size\(-1\) must be equal to input_size. Expected 4, got 3"),
        ("rank", RuntimeError, "input must have 2 dimensions, got 3"),
        ("type", ValueError, r"RNN input dtype \(torch.float64\) does not match weight dtype \(torch.float32\)"),
        ("batch of hx", RuntimeError, r"Expected hidden\[0\] size \(1, 3, 6\), got \[1, 4, 6\]"),
        ("rank of hx", RuntimeError, r"Expected hidden\[0\] size \(1, 3, 6\), got \[3, 6\]"),
    ],
)
def test_packed_lstm_is_checked_though_torch_does_not(what, error, text):
    with pytest.raises(error, match=text):
        unrolled.nn.LSTM(4, 6)(*PACKED[what]("LSTM"))


@pytest.mark.parametrize(("data", "sizes"), [(torch.zeros(5, 4), [3, 3]), (torch.zeros(5, 4), [2, 3])], ids=str)
def test_malformed_packed_sequence_is_refused(data, sizes):
    with pytest.raises(RuntimeError, match="batch_sizes must not be negative or increase and must sum to the 5 rows"):
        unrolled.nn.GRU(4, 6)(PackedSequence(data, torch.tensor(sizes)))


def test_packed_sequence_without_a_step_is_refused():
    with pytest.raises(RuntimeError, match="Expected sequence length to be larger than 0"):
        unrolled.nn.GRU(4, 6)(PackedSequence(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)))


@pytest.mark.parametrize(
    ("name", "state", "text"),
    [
        ("LSTM", torch.zeros(1, 3, 6), r"LSTM: Expected hx to be a pair of tensors \(h_0, c_0\), got Tensor"),
        ("LSTM", (torch.zeros(1, 3, 6),), r"LSTM: Expected hx .* got tuple of \(Tensor\)"),
        ("LSTM", (None, None), r"LSTM: Expected hx .* got tuple of \(NoneType, NoneType\)"),
        ("GRU", (torch.zeros(1, 3, 6),), r"GRU: Expected hx to be one tensor h_0, got tuple of \(Tensor\)"),
        ("RNN", 3, "RNN: Expected hx to be one tensor h_0, got int"),
    ],
)
def test_hx_of_the_wrong_kind_is_named(name, state, text):
    """torch: IndexError or AttributeError from inside."""
    with pytest.raises(TypeError, match=text):
        getattr(unrolled.nn, name)(4, 6)(X, state)


def test_hx_as_a_list_is_accepted_as_torch_does():
    assert unrolled.nn.LSTM(4, 6)(X, list(hx("LSTM", 1, 3, 6)))[0].shape == (5, 3, 6)


@pytest.mark.parametrize("wrong", [[1, 2], None, 3.0], ids=str)
def test_input_that_is_no_tensor_is_named(wrong):
    with pytest.raises(TypeError, match="GRU: Expected input to be a Tensor or PackedSequence, got"):
        unrolled.nn.GRU(4, 6)(wrong)


@pytest.mark.parametrize("name", LAYERS)
def test_hx_of_another_type_is_refused_with_the_remedy(name):
    with pytest.raises(RuntimeError, match=r"hx dtype \(torch.float64\) does not match .*hx.to\(torch.float32\)"):
        getattr(unrolled.nn, name)(4, 6)(X, hx(name, 1, 3, 6, dtype=torch.float64))


def test_mixed_widths_under_autocast_are_refused(route):
    with (
        torch.autocast("cpu", torch.bfloat16),
        pytest.raises(ValueError, match=r"RNN input dtype \(torch.float64\)"),
    ):
        unrolled.nn.GRU(4, 6)(X.double())


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


@pytest.mark.parametrize(
    ("lengths", "error", "text"),
    [
        ([5, 3, 1], TypeError, r"lengths must be an int64 tensor of shape \(3,\), got list"),
        (torch.tensor([5.0, 3.0, 1.0]), TypeError, r"lengths must be an int64 .* got a float32 tensor of shape \(3,\)"),
        (torch.tensor([5, 3, 1], dtype=torch.int32), TypeError, "got an int32 tensor"),
        (torch.tensor([5, 3]), ValueError, r"lengths must have shape \(3,\), .* got \(2,\)"),
        (torch.tensor([[5, 3, 1]]), ValueError, r"got \(1, 3\)"),
        (torch.tensor([5, 6, 1]), ValueError, r"lengths\[1\] is 6, expected 0 to T = 5"),
        (torch.tensor([5, 3, -1]), ValueError, r"lengths\[2\] is -1, expected 0 to T = 5"),
        (torch.zeros(3, dtype=torch.int64, device="meta"), ValueError, "lengths must be on the input's device cpu"),
    ],
    ids=str,
)
def test_wrong_lengths_are_refused(route, lengths, error, text):
    with pytest.raises(error, match=text):
        unrolled.nn.GRU(4, 6)(X, lengths=lengths)


@pytest.mark.parametrize(
    ("reset", "error", "text"),
    [
        (torch.zeros(5, 3), TypeError, r"reset must be a bool tensor of shape \(5, 3\), got a float32 tensor"),
        (
            torch.zeros(5, 3),
            TypeError,
            r"give reset.bool\(\) if 1 marks a reset, reset == 0 if 1 marks a state that is",
        ),
        (
            torch.zeros(5, 3, dtype=torch.uint8),
            TypeError,
            r"got a uint8 tensor of shape \(5, 3\); give reset.bool\(\)$",
        ),
        (np.zeros((5, 3), bool), TypeError, r"got ndarray; give torch.as_tensor\(reset\)"),
        ([[True]], TypeError, "got list"),
        (torch.zeros(3, 5, dtype=torch.bool), ValueError, r"shape \(5, 3\), that of input without its .* got \(3, 5\)"),
        (torch.zeros(5, dtype=torch.bool), ValueError, r"got \(5,\)"),
        (torch.zeros(5, 3, dtype=torch.bool, device="meta"), ValueError, "reset must be on the input's device cpu"),
    ],
    ids=str,
)
def test_wrong_reset_is_refused(route, reset, error, text):
    with pytest.raises(error, match=text):
        unrolled.nn.GRU(4, 6)(X, reset=reset)


@pytest.mark.parametrize(
    ("to", "error", "text"),
    [
        (torch.zeros(1, 2, 6), ValueError, r"h of reset_state is a .* \(1, 2, 6\) .*expected a float32 .*\(1, 3, 6\)"),
        (torch.zeros(1, 3, 6).double(), ValueError, "h of reset_state is a float64 tensor"),
        (torch.zeros(1, 3, 6, device="meta"), ValueError, "on meta, expected .* on cpu"),
        ((torch.zeros(1, 3, 6),) * 2, TypeError, "GRU: Expected reset_state to be one tensor h_0, got tuple"),
    ],
    ids=["shape", "type", "device", "pair"],
)
def test_wrong_reset_state_is_refused(route, to, error, text):
    reset = torch.zeros(5, 3, dtype=torch.bool)
    with pytest.raises(error, match=text):
        unrolled.nn.GRU(4, 6)(X, reset=reset, reset_state=to)
    if error is ValueError:
        weights = [(W(18, 4), W(18, 6), None, None, None)]
        with pytest.raises(error, match=text):
            unrolled.nn.functional.layer("GRU", X, None, None, weights, reset=reset, reset_state=(to, None))


def test_wrong_reset_of_one_step_is_refused(route):
    gru, cell = unrolled.nn.GRU(4, 6), unrolled.nn.GRUCell(4, 6)
    calls = [gru.step, cell, unrolled.nn.Stepper(gru, batch_size=3)]
    for call in calls:
        with pytest.raises(TypeError, match=r"reset must be a bool tensor of shape \(3,\), got a uint8 tensor"):
            call(X[0], reset=torch.zeros(3, dtype=torch.uint8))
        with pytest.raises(
            ValueError, match=r"h of reset_state is a float32 tensor of shape \(1, 1\) on cpu, expected"
        ):
            call(X[0], reset=torch.zeros(3, dtype=torch.bool), reset_state=torch.zeros(1, 1))


def test_reset_state_without_reset_is_refused(route):
    gru, to = unrolled.nn.GRU(4, 6), torch.zeros(1, 3, 6)
    weights = [(W(18, 4), W(18, 6), None, None, None)]
    for call in (
        lambda: gru(X, reset_state=to),
        lambda: gru.step(X[0], reset_state=to),
        lambda: unrolled.nn.GRUCell(4, 6)(X[0], reset_state=to[0]),
        lambda: unrolled.nn.Stepper(gru, batch_size=3)(X[0], reset_state=to),
        lambda: unrolled.nn.functional.layer("GRU", X, None, None, weights, reset_state=(to, None)),
    ):
        with pytest.raises(ValueError, match="reset_state is given without reset"):
            call()


def test_lengths_and_packed_input_together_are_refused():
    packed = pack_sequence([torch.zeros(n, 4) for n in (5, 3, 1)])
    with pytest.raises(ValueError, match="lengths cannot be given with a PackedSequence"):
        unrolled.nn.GRU(4, 6)(packed, lengths=torch.tensor([5, 3, 1]))


@pytest.mark.parametrize("name", LAYERS)
def test_rows_further_apart_than_two_to_the_31_elements_are_found(route, name):
    """The memory between the two steps is never touched, so it is never there."""
    storage = torch.empty(2**31 + 4)
    x = storage.as_strided((2, 1, 4), (2**31, 4, 1))
    x.copy_(torch.randn(2, 1, 4))
    layer = getattr(unrolled.nn, name)(4, 6)
    assert_close("y", layer(x)[0], layer(x.clone())[0])


def W(*shape, **options):
    return torch.zeros(shape, **options)


GOOD = (W(18, 4), W(18, 6), W(18), W(18), None)
EXPLICIT = {
    "W_ih": (
        {"weights": [(W(17, 4), *GOOD[1:])]},
        r"W_ih of direction 0 is .* shape \(17, 4\) on cpu, expected .*\(15, 4\)",
    ),
    "W_hh": ({"weights": [(GOOD[0], W(18, 5), *GOOD[2:])]}, r"W_hh of direction 0 .* \(18, 5\).*expected .* \(18, 6\)"),
    "vector": ({"weights": [(W(18), *GOOD[1:])]}, r"W_ih and W_hh must be matrices, got shapes \(18,\) and \(18, 6\)"),
    "bias": ({"weights": [(*GOOD[:3], W(17), None)]}, "b_hh of direction 0"),
    "second direction": ({"weights": [GOOD, (W(18, 5), *GOOD[1:])]}, "W_ih of direction 1"),
    "type of weights": ({"weights": [(GOOD[0].double(), *GOOD[1:])]}, "W_ih of direction 0 is a float64 tensor"),
    "x": ({"x": W(5, 3, 5)}, r"x is a float32 tensor of shape \(5, 3, 5\), expected torch.float32 with I = 4"),
    "type of x": ({"x": W(5, 3, 4).double()}, "x is a float64 tensor"),
    "rank of x": ({"x": W(3, 4)}, r"x must be \(T, B, I\), or \(T, B\) one-hot indices, got shape \(3, 4\)"),
    "device of x": ({"x": W(5, 3, 4, device="meta")}, "x is on meta and the weights are on cpu"),
    "h_0": ({"h_0": W(1, 2, 6)}, r"h_0 is .* \(1, 2, 6\) on cpu, expected a float32 tensor of shape \(1, 3, 6\)"),
    "type of h_0": ({"h_0": W(1, 3, 6).double()}, "h_0 is a float64 tensor"),
    "lengths": ({"lengths": torch.zeros(2, dtype=torch.int64)}, r"lengths must have shape \(3,\)"),
    "reset": ({"reset": torch.zeros(3, 5, dtype=torch.bool)}, r"reset must have shape \(5, 3\)"),
}


@pytest.mark.parametrize(("wrong", "text"), EXPLICIT.values(), ids=EXPLICIT)
def test_explicit_weights_must_fit(route, wrong, text):
    """The core trusts the shapes it is given, so nothing that does not fit may reach it."""
    arguments = {"x": W(5, 3, 4), "h_0": W(1, 3, 6), "weights": [GOOD], **wrong}
    x, h_0, weights = (arguments.pop(key) for key in ("x", "h_0", "weights"))
    with pytest.raises(ValueError, match=text):
        unrolled.nn.functional.layer("GRU", x, h_0, None, weights, **arguments)


def test_projection_must_fit(route):
    with pytest.raises(ValueError, match=r"W_hr of direction 0 .* \(2, 5\).* expected .* \(2, 6\)"):
        unrolled.nn.functional.layer("LSTM", W(5, 3, 4), None, None, [(W(24, 4), W(24, 2), None, None, W(2, 5))])


def test_reassigned_weight_of_another_shape_is_refused(route):
    layer = unrolled.nn.GRU(4, 6)
    layer.weight_hh_l0 = torch.nn.Parameter(W(18, 3))
    with pytest.raises(ValueError, match=r"W_hh of direction 0 is a float32 tensor of shape \(18, 3\)"):
        layer(X)


def test_half_converted_layer_is_refused(route):
    layer = unrolled.nn.GRU(4, 6)
    layer.weight_hh_l0 = torch.nn.Parameter(layer.weight_hh_l0.detach().double())
    with pytest.raises(ValueError, match=r"W_ih of direction 0 is a float32 tensor .* expected a float64 tensor"):
        layer(X)
