"""`fused.run` on several layers of one shape: each has its own weights and rows, and the bits it has alone."""

from __future__ import annotations

import pytest
import torch

from tests.core.cases import DTYPES, KINDS, assert_computes_the_equations, make
from unrolled.core.fields import GradientTensors, LayerTensors, Layout, Weights
from unrolled.nn import fused
from unrolled.notation import weight_shapes


def random_weights(kind: str, I: int, H: int) -> Weights:
    return Weights(**{name: torch.randn(shape) / H**0.5 for name, shape in weight_shapes(kind, I, H).items()})


def by_name(tensors: LayerTensors, found: GradientTensors) -> dict[str, torch.Tensor]:
    dw = {f"d{name}": g for name, g in found.weights[0]._asdict().items() if g is not None}
    return {"y": tensors.y, "h_n": tensors.h_n, "dx": found.dx, **dw}


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN_TANH"])
@pytest.mark.parametrize(("T", "B", "I", "H"), [(7, 3, 5, 9), (20, 1, 4, 33)])
def test_layers_in_one_call_have_the_bits_of_each_alone(kind, threads, T, B, I, H):
    S = 5
    torch.manual_seed(S)
    weights = [random_weights(kind, I, H) for _ in range(S)]
    xs, dys = torch.randn(S, T, B, I), torch.randn(S, T, B, H)
    alone = []
    for w, x, dy in zip(weights, xs, dys, strict=True):
        tensors = fused.forward(kind, Layout(), x, None, None, [w], save=True)
        found = fused.backward(kind, Layout(), tensors, dy, None, None)
        alone.append(by_name(tensors, found))

    together, layers, gradients = [], [], []
    layout = Layout()
    torch.set_num_threads(threads)
    for w, x, dy in zip(weights, xs, dys, strict=True):
        y, h_n, c_n, saved = fused.results(kind, layout, x, [w], save=True, segment=0)
        dx, dw = torch.empty(T, B, I), Weights._make(None if p is None else torch.empty_like(p) for p in w)
        layers.append(LayerTensors(x, None, None, [w], y, h_n, c_n, *saved))
        gradients.append(GradientTensors(dy, None, None, dx, None, None, [dw]))
        together.append(by_name(layers[-1], gradients[-1]))
    fused.run(kind, layout, layers, [], True, 0)
    fused.run(kind, layout, layers, gradients, True, 0)
    for number, (got, want) in enumerate(zip(together, alone, strict=True)):
        for name in want:
            assert torch.equal(got[name], want[name]), f"layer {number}: {name} differs"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("I", "one_hot"), [(6, False), (6, True), (0, False)])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_weights_are_added_to_sums_that_are_given(kind, I, one_hot, dtype):
    case = make(kind, dtype, T=7, B=5, I=I, H=19, D=2, one_hot=one_hot)
    _, layer = case.forward(save=True)
    upstream = (case.dy, case.dh_n, case.dc_n)
    want = fused.backward(case.kind, Layout(), layer, *upstream)
    wide = fused.computed(dtype)
    sums = [
        Weights._make(None if w is None else torch.full_like(w, 2.0, dtype=wide) for w in own) for own in case.weights
    ]
    needs = (True,) * 5 + (False,)
    found = fused.backward(case.kind, Layout(), layer, *upstream, needs=needs, sums=sums)
    assert found.weights is None
    for got, alone in zip(sums, want.weights, strict=True):
        for name, w in alone._asdict().items():
            if w is None:
                assert getattr(got, name) is None
                continue
            tolerance = {torch.bfloat16: 1e-2, torch.float32: 2e-5, torch.float64: 1e-13}[dtype]
            torch.testing.assert_close(getattr(got, name), 2 + w.to(wide), rtol=tolerance, atol=tolerance)
    for name in ("dx", "dh_0", "dc_0"):
        got, alone = getattr(found, name), getattr(want, name)
        assert (got is None and alone is None) or torch.equal(got, alone), name


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_layer_without_input_features_has_the_gradients_of_the_equations(kind, dtype, new_memory_is_nan):
    case = make(kind, dtype, I=0, H=8, D=2)
    for segment in (0, 2):
        assert_computes_the_equations(case, case.run(segment))


def test_sums_beside_gradients_of_their_own_are_refused():
    case = make("LSTM", torch.float32)
    _, layer = case.forward(save=True)
    sums = [Weights._make(None if w is None else torch.zeros_like(w) for w in own) for own in case.weights]
    with pytest.raises(ValueError):
        fused.backward("LSTM", Layout(), layer, case.dy, None, None, sums=sums)
