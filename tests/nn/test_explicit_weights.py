"""Weights that a caller gives or reassigns must fit each other, the input and the states."""

import pytest
import torch

import unrolled.nn
from tests.nn.layers import LAYERS
from unrolled.nn.network import network_of

X = torch.zeros(5, 3, 4)


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


CHANGES = [
    torch.Tensor.double,
    torch.Tensor.bfloat16,
    lambda w: w[..., :-1],
    lambda w: w[..., None],
    lambda w: w.to("meta"),
]


def raised_by(call):
    """The class of what a call raises, or None."""
    try:
        call()
    except Exception as error:
        return type(error)
    return None


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("weight", ["weight_hh", "bias_ih", "bias_hh"])
@pytest.mark.parametrize("name", [*LAYERS, *(f"{name}Cell" for name in LAYERS)])
def test_weights_that_do_not_fit_each_other_raise_what_torch_raises(route, name, weight, gradient):
    """torch's LSTM of oneDNN and its cells take some of them; ours take none."""
    cell = name.endswith("Cell")
    for change in CHANGES:
        raised = []
        for package in (torch.nn, unrolled.nn):
            module = getattr(package, name)(4, 6) if cell else getattr(package, name)(4, 6, num_layers=2)
            place = weight if cell else f"{weight}_l1"
            setattr(module, place, torch.nn.Parameter(change(getattr(module, place).detach())))
            with torch.set_grad_enabled(gradient):
                raised.append(raised_by(lambda module=module: module(X[0] if cell else X)))
        theirs, ours = raised
        assert issubclass(ours, RuntimeError)
        assert theirs is None or issubclass(ours, theirs)


@pytest.mark.parametrize("call", ["forward", "step", "stepper"])
@pytest.mark.parametrize(
    "changed",
    [{"num_layers": 1}, {"num_layers": 3}, {"num_layers": 0}, {"bidirectional": True}, {"bias": False}],
    ids=str,
)
@pytest.mark.parametrize("name", LAYERS)
def test_attributes_that_do_not_fit_the_weights_are_an_error_of_torch(route, name, changed, call):
    """Not for torch's LSTM: oneDNN trusts the attributes."""
    calls = {
        "forward": lambda layer: layer(X),
        "step": lambda layer: layer.step(X[0]),
        "stepper": lambda layer: unrolled.nn.Stepper(layer, 3)(X[0]),
    }
    stock, ours = (getattr(package, name)(4, 6, num_layers=2) for package in (torch.nn, unrolled.nn))
    for attribute, value in changed.items():
        setattr(stock, attribute, value)
        setattr(ours, attribute, value)
    assert name == "LSTM" or raised_by(lambda: stock(X)) is RuntimeError
    with torch.no_grad(), pytest.raises((RuntimeError, ValueError), match=r"num_layers is|one direction"):
        calls[call](ours)


@pytest.mark.parametrize("changed", [{"num_layers": 1}, {"num_layers": 3}, {"bidirectional": True}], ids=str)
@pytest.mark.parametrize("package", [torch.nn, unrolled.nn])
def test_layer_whose_attributes_do_not_fit_its_weights_is_no_network(package, changed):
    layer = package.GRU(4, 6, num_layers=2)
    for attribute, value in changed.items():
        setattr(layer, attribute, value)
    with pytest.raises(RuntimeError, match="unlike when its weights were made"):
        network_of(layer)


@pytest.mark.parametrize("autocast", [None, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", [*LAYERS, *(f"{name}Cell" for name in LAYERS)])
def test_weights_of_several_types_are_refused_and_not_converted_in_silence(name, dtype, autocast):
    """float16 is computed in float32, and autocast converts: what does not fit is seen before."""
    cell = name.endswith("Cell")
    x = torch.zeros(3, 4) if cell else X
    casts = {torch.float16, torch.bfloat16, torch.float32}
    for other in {torch.float16, torch.bfloat16, torch.float32, torch.float64} - {dtype}:
        if autocast is not None and {dtype, other} <= casts:
            continue
        for weight in ("weight_hh", "bias_ih", "bias_hh"):
            module = getattr(unrolled.nn, name)(4, 6, dtype=dtype)
            place = weight if cell else f"{weight}_l0"
            setattr(module, place, torch.nn.Parameter(getattr(module, place).detach().to(other)))
            with (
                torch.autocast("cpu", autocast, enabled=autocast is not None),
                pytest.raises(RuntimeError, match="is a"),
            ):
                module(x.to(dtype))


def test_layer_of_functional_takes_no_input_of_another_type():
    with pytest.raises(RuntimeError, match="x is a float16 tensor"):
        unrolled.nn.functional.layer("GRU", X.half(), None, None, [GOOD])


X, RESET = torch.zeros(5, 3, 4), torch.zeros(5, 3, dtype=torch.bool)
OWN = tuple(unrolled.nn.GRU(4, 6).parameters())


@pytest.mark.parametrize(
    ("x", "h_0", "weights", "reset_state", "message"),
    [
        (X.numpy(), None, [OWN], (None, None), "x must be a tensor, got ndarray"),
        (None, None, [OWN], (None, None), "x must be a tensor, got NoneType"),
        (X, (X,), [OWN], (None, None), "h_0 must be a tensor, got tuple"),
        (
            X,
            None,
            OWN,
            (None, None),
            r"weights of direction 0 must be a tuple \(W_ih, W_hh, .*\), got a float32 tensor",
        ),
        (X, None, [OWN[:1]], (None, None), r"weights of direction 0 must be a tuple .*, got 1 of them"),
        (X, None, [(*OWN[:3], 1.0)], (None, None), r"b_hh of weights\[0\] must be a tensor, got float"),
        (X, None, [OWN], X, r"reset_state must be a pair \(h, c\), .*, got a float32 tensor"),
        (X, None, [OWN], (X,), r"reset_state must be a pair \(h, c\), .*, got tuple"),
    ],
)
def test_arguments_of_functional_that_are_no_tensors_are_named(x, h_0, weights, reset_state, message):
    with pytest.raises(TypeError, match=message):
        unrolled.nn.functional.layer("GRU", x, h_0, None, weights, reset=RESET, reset_state=reset_state)
