"""Layers on a GPU: torch's own operator where it has one, the equations elsewhere, and the numbers of the CPU."""

import copy

import pytest
import torch

import unrolled.nn
from unrolled.nn import PeepholeLSTM, explain_backend

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

LAYERS = ["RNN", "LSTM", "GRU", "PeepholeLSTM"]
LENGTHS = torch.tensor([7, 1, 0, 5, 3])


def by_name(layer, x, device, **options):
    """Output, final states and every gradient by name, on the CPU."""
    layer = copy.deepcopy(layer).to(device)
    options = {name: t.to(device) if isinstance(t, torch.Tensor) else t for name, t in options.items()}
    x = x.to(device).requires_grad_(x.is_floating_point())
    y, states, *_ = layer(x, **options)
    states = states if isinstance(states, tuple) else (states,)
    weight = torch.arange(y.numel(), dtype=y.dtype, device=device).view(y.shape).sin()
    ((y * weight).sum() + sum(s.square().sum() for s in states)).backward()
    found = {"y": y, **{f"state {k}": s for k, s in enumerate(states)}, "dx": x.grad}
    found |= {f"d{name}": p.grad for name, p in layer.named_parameters()}
    return {name: t.detach().cpu() for name, t in found.items() if t is not None}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(
    "options",
    [{}, {"lengths": LENGTHS}, {"reset": torch.arange(35).view(7, 5) % 3 == 0}, {"trace": True}],
    ids=["plain", "lengths", "reset", "trace"],
)
def test_layer_has_the_numbers_of_the_cpu(name, options):
    layer = getattr(unrolled.nn, name)(4, 9, num_layers=2, bidirectional=True, dtype=torch.float64)
    x = torch.randn(7, 5, 4, dtype=torch.float64)
    got, want = by_name(layer, x, "cuda", **options), by_name(layer, x, "cpu", **options)
    for each in want:
        torch.testing.assert_close(
            got[each], want[each], rtol=1e-10, atol=1e-10, msg=lambda m, each=each: f"{each}: {m}"
        )


@pytest.mark.parametrize("name", LAYERS)
def test_layer_reads_symbols(name):
    layer = getattr(unrolled.nn, name)(4, 9, dtype=torch.float64)
    embedding = torch.randn(6, 4, dtype=torch.float64)
    for options, V in (({}, 4), ({"embedding": embedding}, 6)):
        x = torch.randint(V, (7, 5))
        got, want = by_name(layer, x, "cuda", **options), by_name(layer, x, "cpu", **options)
        for each in want:
            torch.testing.assert_close(got[each], want[each], rtol=1e-10, atol=1e-10)


def test_path_is_torch_s_own_operator_where_it_has_one():
    x = torch.randn(7, 5, 4, device="cuda")
    for name, path in zip(LAYERS, ["torch", "torch", "torch", "reference"], strict=True):
        layer = getattr(unrolled.nn, name)(4, 9, device="cuda")
        assert explain_backend(layer, x).path == path
        assert explain_backend(layer, x, lengths=LENGTHS.cuda()).path == "reference"


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cell_has_the_numbers_of_the_cpu(name):
    cell, x = getattr(unrolled.nn, name)(4, 9).double(), torch.randn(5, 4, dtype=torch.float64)
    want, got = cell(x), copy.deepcopy(cell).cuda()(x.cuda())
    for a, b in zip(*(s if isinstance(s, tuple) else (s,) for s in (got, want)), strict=True):
        torch.testing.assert_close(a.cpu(), b, rtol=1e-12, atol=1e-12)


def test_half_types_are_computed_in_float32():
    layer, x = PeepholeLSTM(4, 9), torch.randn(5, 3, 4)
    want = layer(x)[0]
    got = copy.deepcopy(layer).cuda().half()(x.cuda().half())[0]
    assert got.dtype == torch.half
    torch.testing.assert_close(got.float().cpu(), want, rtol=0, atol=2e-3)  # what rounding the weights to half costs


@pytest.mark.parametrize("name", LAYERS)
def test_steps_equal_the_sequence(name):
    layer = getattr(unrolled.nn, name)(4, 9, device="cuda", dtype=torch.float64)
    x = torch.randn(5, 3, 4, device="cuda", dtype=torch.float64)
    y, _ = layer(x)
    state, stepped = None, []
    for x_t in x:
        y_t, state = layer.step(x_t, state)
        stepped.append(y_t)
    torch.testing.assert_close(torch.stack(stepped), y)
