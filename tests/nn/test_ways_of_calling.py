"""Every way of calling times every kind of derivative: torch's own numbers, or an error that says so; never silence.

The wanted numbers are those of torch's layer, called plainly, or of the equations where torch has no such layer.
"""

from __future__ import annotations

import pytest
import torch
from torch.autograd import forward_ad, grad
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import unrolled.nn
from tests.nn.compare import assert_all_close
from tests.nn.layers import as_tuple, hx

# torch's remarks about itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]

T, B, I, H, V = 3, 2, 2, 3, 4
LAYERS = ["RNN", "LSTM", "GRU", "PeepholeLSTM"]
CLASSES = [*LAYERS, "RNNCell", "LSTMCell", "GRUCell"]


class Other(torch.Tensor):
    """A tensor of another type, which torch's dispatcher takes for an ordinary one."""


class Seeing(TorchDispatchMode):
    """A mode that sees every operation, and keeps the results."""

    def __init__(self):
        super().__init__()
        self.operations, self.results = [], []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        found = operation(*args, **(kwargs or {}))
        self.operations.append(operation)
        self.results.append(found)
        return found


class SeeingFunctions(TorchFunctionMode):
    """A mode that sees every function, and calls it."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


class Problem(torch.nn.Module):
    """A layer or cell whose weights are arguments, with a state before; its output is the first thing it returns."""

    def __init__(self, name):
        super().__init__()
        cell = name.endswith("Cell")
        self.module = (getattr(unrolled.nn, name)(I, H, dtype=torch.float64),)  # in a tuple: it has no weights here
        kind, rows = "LSTM" if "LSTM" in name else name, (B,) if cell else (1, B)
        self.state = hx(kind, *rows, H, dtype=torch.float64)
        self.x = torch.randn(*((B,) if cell else (T, B)), I, dtype=torch.float64)
        self.names, weights = zip(*self.module[0].named_parameters(), strict=True)
        self.tensors = (self.x, *(w.detach().clone() for w in weights))

    def forward(self, x, *weights):
        given = dict(zip(self.names, weights, strict=True))
        return as_tuple(functional_call(self.module[0], given, (x, self.state)))[0]

    def stock(self, monkeypatch):
        """The same on the way that the wanted numbers come from."""
        if getattr(self.module[0], "beyond_torch", False):
            monkeypatch.setenv("UNROLLED_BACKEND", "reference")
        else:
            self.module = (self.module[0].to_torch(),)
        return self


# Derivatives of a function of tensors, each a tuple of tensors.


def none(f, *tensors):
    return (f(*tensors),)


def first(f, *tensors):
    return grad(f(*tensors).sin().sum(), tensors)


def second(f, *tensors):
    slopes = grad(f(*tensors).sin().sum(), tensors, create_graph=True)
    return grad(sum(g.square().sum() for g in slopes), tensors)


def third_of_a_sum(f, *tensors):
    slopes = grad(f(*tensors).sum(), tensors, create_graph=True)
    bends = grad(sum(g.square().sum() for g in slopes), tensors, create_graph=True)
    return grad(sum(g.square().sum() for g in bends), tensors)


def batched(f, *tensors):
    y = f(*tensors)
    upstream = torch.arange(V * y.numel(), dtype=y.dtype).reshape(V, *y.shape).cos()
    return grad(y, tensors, upstream, is_grads_batched=True)


def forward(f, *tensors):
    with forward_ad.dual_level():
        y = f(*(forward_ad.make_dual(t.detach(), t.detach().sin()) for t in tensors))
        return (forward_ad.unpack_dual(y).tangent,)


def forward_of_first(f, *tensors):
    y = f(*tensors)
    with forward_ad.dual_level():
        upstream = forward_ad.make_dual(torch.ones_like(y), torch.full_like(y, 0.5))
        return tuple(forward_ad.unpack_dual(g).tangent for g in grad(y, tensors, upstream))


DERIVATIVES = [none, first, second, third_of_a_sum, batched, forward, forward_of_first]


# Ways of calling: each calls a derivative of a problem on its tensors.


def eager(problem, derivative, tensors):
    return derivative(problem, *tensors)


def inside(context):
    def way(problem, derivative, tensors):
        with context():
            return derivative(problem, *tensors)

    return way


def clones():
    return saved_tensors_hooks(lambda t: t, torch.clone)


def derivative_inside(context):
    """Only what comes after the call happens in a mode."""

    def way(problem, derivative, tensors):
        y = problem(*tensors)
        with context():
            return derivative(lambda *_: y, *tensors)

    return way


def other_type(which):
    def way(problem, derivative, tensors):
        given = [t.as_subclass(Other) if which(k) else t for k, t in enumerate(tensors)]
        return [r.as_subclass(torch.Tensor) for r in derivative(problem, *given)]

    return way


def jit_traced(gradients):
    def way(problem, derivative, tensors):
        module = problem.module[0]
        with torch.set_grad_enabled(gradients):
            traced = torch.jit.trace(module, (problem.x, problem.state))
        # Its weights are the module's, which are those of the problem.
        return derivative(lambda x, *_: as_tuple(traced(x, problem.state))[0], tensors[0], *module.parameters())

    return way


def exported_without_gradients(problem, derivative, tensors):
    with torch.no_grad():
        program = torch.export.export(problem, tensors).module()
    return derivative(program, *tensors)


def compiled(problem, derivative, tensors):
    return derivative(torch.compile(problem, backend="eager"), *tensors)


def made_by_make_fx(problem, derivative, tensors):
    graph = make_fx(lambda *given: derivative(problem, *given))(*tensors)
    for t in problem.tensors:  # a graph that baked values in would not see these
        t.data.mul_(-0.5)
    return graph(*tensors)


WAYS = {
    "eager": eager,
    "in a dispatch mode": inside(Seeing),
    "in a function mode": inside(SeeingFunctions),
    "with hooks": inside(clones),
    "derivative in a dispatch mode": derivative_inside(Seeing),
    "derivative in a function mode": derivative_inside(SeeingFunctions),
    "input of another type": other_type(lambda k: k == 0),
    "weights of another type": other_type(lambda k: k > 0),
    "traced": jit_traced(True),
    "traced without gradients": jit_traced(False),
    "exported without gradients": exported_without_gradients,
    "compiled": compiled,
    "make_fx": made_by_make_fx,
}

#: Ways that only a layer and a cell go: what takes the time is torch's tracer.
SLOW = {"traced", "traced without gradients", "exported without gradients", "compiled", "make_fx"}
CASES = [
    (name, way, derivative)
    for name in CLASSES
    for way in WAYS
    for derivative in DERIVATIVES
    if not (way in SLOW and name not in ("LSTM", "GRUCell"))
    if not (way.startswith("derivative in") and derivative in (none, forward))
    if not (way.startswith("traced") and derivative is forward)  # its weights are not arguments
]


@pytest.mark.parametrize(("name", "way", "derivative"), CASES)
def test_numbers_are_torchs_however_a_module_is_called(name, way, derivative, monkeypatch):
    torch.manual_seed(0)
    problem = Problem(name)
    got = WAYS[way](problem, derivative, tuple(t.requires_grad_() for t in problem.tensors))
    stock = problem.stock(monkeypatch)
    want = derivative(stock, *problem.tensors)
    assert_all_close(dict(enumerate(got)), dict(enumerate(want)))
