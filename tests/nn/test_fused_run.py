"""`fused.run` on several layers of one shape: each has its own weights and rows, and the bits it has alone."""

from __future__ import annotations

import pytest
import torch

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
