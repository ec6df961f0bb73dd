"""The registered operator called by hand, or by a traced program: wrong arguments are named as the layer names them."""

import pytest
import torch

import unrolled.nn as unn
from tests.nn.layers import LAYERS

H_0, X, IDS = torch.zeros(1, 2, 4), torch.randn(5, 2, 3), torch.zeros(5, 2, dtype=torch.int64)
PRESENT = [1, 1, 1, 1, 0, 0]


def weights():
    return [w for w in unn.GRU(3, 4).weights()[0] if w is not None]


def arguments(**changes):
    """Arguments of `layer`, those of a GRU, some of them otherwise."""
    given = {
        "kind": "GRU", "batch_first": False, "lengths": None, "batch_sizes": None, "reset": None, "x": X, "h_0": H_0,
        "c_0": None, "h_reset": None, "c_reset": None, "present": PRESENT, "weights": weights(), "segment": 0,
        "save": True,
    }  # fmt: skip
    return given | changes


def backward_arguments(**changes):
    """Arguments of `layer_backward` for what a right call of `layer` returned, some of them otherwise."""
    given = arguments()
    y, _, _, saved = torch.ops.unrolled.layer(*given.values())
    del given["segment"], given["save"]
    more = {"y": y, "saved": saved, "dy": torch.ones_like(y), "dh_n": None, "dc_n": None, "segment": 0}
    return given | more | {"needs": [True] * 9} | changes


def changed(name, change):
    """Weights of which one is otherwise."""
    own = weights()
    own[name] = change(own[name])
    return own


def sizes(*values):
    return torch.tensor(values)


WRONG = {
    "kind": ({"kind": "gru"}, ValueError, "kind is 'gru', expected one of RNN_TANH"),
    "another kind": ({"kind": "LSTM"}, ValueError, "direction 0|came back as"),
    "c_0": ({"c_0": H_0}, ValueError, "GRU has neither a cell state c"),
    "c_reset": ({"c_reset": H_0, "reset": IDS.bool()}, ValueError, "GRU has neither a cell state c"),
    "h_reset alone": ({"h_reset": H_0}, ValueError, "reset_state is given without reset"),
    "h_reset": ({"h_reset": H_0[0], "reset": IDS.bool()}, ValueError, "h of reset_state is a float32 tensor"),
    "lengths range": ({"lengths": sizes(5, 6)}, ValueError, r"lengths\[1\] is 6, expected 0 to T = 5"),
    "lengths shape": ({"lengths": sizes(5, 6, 1)}, ValueError, r"lengths must have shape \(2,\)"),
    "lengths type": ({"lengths": sizes(5.0, 1.0)}, TypeError, r"lengths must be an int64 .*; give lengths.long\(\)"),
    "batch_sizes": ({"batch_sizes": sizes(2, 1)}, RuntimeError, "input must have 2 dimensions, got 3"),
    "batch_sizes sum": ({"batch_sizes": sizes(2, 1), "x": X[:, 0]}, RuntimeError, "must sum to the 5 rows"),
    "reset type": ({"reset": IDS}, TypeError, r"reset must be a bool tensor of shape \(5, 2\), got an int64"),
    "reset shape": ({"reset": IDS.bool().T}, ValueError, r"reset must have shape \(5, 2\)"),
    "x rank": ({"x": X[0]}, ValueError, r"x must be \(T, B, I\)"),
    "x scalar": ({"x": X[0, 0, 0]}, ValueError, r"x must be \(T, B, I\)"),
    "x ids rank": ({"x": IDS[0]}, ValueError, r"x must be .* int64 is read as symbols"),
    "x type": ({"x": X.double()}, ValueError, "x is a float64 tensor"),
    "x width": ({"x": X[..., :2]}, ValueError, r"x is a float32 tensor of shape \(5, 2, 2\), expected .* I = 3"),
    "x device": ({"x": X.to("meta")}, ValueError, "x is on meta and the weights are on cpu"),
    "no steps": ({"x": X[:0]}, RuntimeError, "Expected sequence length to be larger than 0 in RNN"),
    "symbol": ({"x": IDS + 7}, IndexError, r"one-hot index 7 at input\[0, 0\]"),
    "h_0": ({"h_0": H_0[0]}, ValueError, r"h_0 is a float32 tensor of shape \(2, 4\)"),
    "h_0 rows": ({"h_0": torch.zeros(1, 3, 4)}, ValueError, r"h_0 is .*expected a float32 tensor of shape \(1, 2, 4\)"),
    "present short": ({"present": PRESENT[:-1]}, ValueError, r"present is \[1, 1, 1, 1, 0\] for 4 weights, expected"),
    "present empty": ({"present": []}, ValueError, r"present is \[\] for 4 weights, expected for each direction"),
    "present all": ({"present": [1] * 6}, ValueError, "for 4 weights, expected"),
    "no weights": ({"weights": []}, ValueError, "for 0 weights, expected"),
    "no matrices": ({"present": [0, 0, 1, 1, 1, 1]}, ValueError, r"GRU without W_ih and W_hh|needs has"),
    "W_ih": ({"weights": changed(0, lambda W: W[:5])}, ValueError, "W_ih of direction 0"),
    "W_hh rank": ({"weights": changed(1, lambda W: W[0])}, ValueError, "W_ih and W_hh must be matrices"),
    "W_hh type": ({"weights": changed(1, torch.Tensor.double)}, ValueError, "of direction 0|came back as"),
}  # fmt: skip


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize(("changes", "error", "text"), WRONG.values(), ids=WRONG)
def test_wrong_argument_of_the_operator_is_named(changes, error, text, gradient):
    with torch.set_grad_enabled(gradient), pytest.raises(error, match=text):
        torch.ops.unrolled.layer(*arguments(**changes).values())


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("name", [name for name in WRONG if name not in ("x type", "x width", "W_hh type")])
def test_wrong_argument_of_the_backward_operator_is_named(name, gradient):
    changes, error, text = WRONG[name]
    with torch.set_grad_enabled(gradient), pytest.raises(error, match=f"{text}|y, saved for the backward pass"):
        torch.ops.unrolled.layer_backward(*backward_arguments(**changes).values())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"y": X}, "y, saved for the backward pass, came back as"),
        ({"saved": []}, "saved holds 0 tensors, expected gates and cells"),
        ({"dy": torch.ones(2, 2, 4)}, r"dy is a float32 tensor of shape \(2, 2, 4\), expected .* \(5, 2, 4\)"),
        ({"dy": torch.ones(5, 2, 4).double()}, "dy is a float64 tensor"),
        ({"dh_n": torch.ones(2, 4)}, r"dh_n is .* of shape \(2, 4\), expected a float32 tensor of shape \(1, 2, 4\)"),
        ({"needs": [True]}, "needs has 1 entries, expected 9: x, h_0, c_0, h_reset, c_reset and each weight"),
    ],
)
def test_what_the_backward_operator_alone_takes_is_named(changes, text):
    with pytest.raises(ValueError, match=text):
        torch.ops.unrolled.layer_backward(*backward_arguments(**changes).values())


@pytest.mark.parametrize("save", [False, True])
def test_segment_below_zero_is_refused(save):
    with pytest.raises(ValueError, match="segment is -1, expected 0 or more steps"):
        torch.ops.unrolled.layer(*arguments(segment=-1, save=save).values())


@pytest.mark.parametrize("name", ["x", "h_0", "weights"])
def test_tensor_without_memory_is_named(name):
    given = arguments(x=X.clone(), h_0=H_0.clone())
    (given[name][1] if name == "weights" else given[name]).untyped_storage().resize_(0)
    said = {
        "x": "x has elements, but its data",
        "h_0": "h_0 is .* cannot read",
        "weights": "W_hh of direction 0 is .* cannot",
    }
    with torch.no_grad(), pytest.raises((ValueError, RuntimeError), match=said[name]):
        torch.ops.unrolled.layer(*given.values())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"bidirectional": True, "num_layers": 2}], ids=str)
@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_traced_layer_refuses_a_sequence_without_a_step_as_the_layer_does(name, options, gradient):
    layer, x = getattr(unn, name)(3, 4, **options), torch.randn(5, 5, 3)
    empty = x[:, :0] if layer.batch_first else x[:0]
    with torch.set_grad_enabled(gradient):
        traced = torch.jit.trace(layer, x)
        for call in (layer, traced, lambda x: torch.jit.trace(layer, x)):
            with pytest.raises(RuntimeError, match="Expected sequence length to be larger than 0 in RNN"):
                call(empty)


def test_layer_of_functional_refuses_a_sequence_without_a_step(route):
    with pytest.raises(RuntimeError, match="Expected sequence length to be larger than 0 in RNN"):
        unn.functional.layer("GRU", X[:0], H_0, None, unn.GRU(3, 4).weights())


def test_program_cast_to_a_type_that_the_core_lacks_says_so():
    program = torch.export.export(unn.GRU(4, 6), (torch.randn(5, 3, 4),)).module().half()
    with pytest.raises(ValueError, match=r"W_hh is torch.float16, expected float32, float64 or bfloat16; a program"):
        program(torch.randn(5, 3, 4).half())
    half = torch.export.export(unn.GRU(4, 6).half(), (torch.randn(5, 3, 4).half(),)).module()
    assert half(torch.randn(5, 3, 4).half())[0].dtype == torch.float16
