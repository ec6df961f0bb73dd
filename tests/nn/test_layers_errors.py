"""Wrong arguments that torch's layers take too: torch's own class and text, asked of torch itself, or a better one."""

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import unrolled.nn
from tests.nn.layers import LAYERS, hx, said_by


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
