"""The textbook's networks against the layers, which are tested against torch and against finite differences."""

from pathlib import Path

import numpy as np
import pytest
import torch

from unrolled import nn, textbook
from unrolled.corpus.anbn import anbn

SEQUENCES = [[*string, "EOS"] for string in anbn()]
CELLS = ["RNN", "LSTM", "GRU"]


def layer_like(net):
    """Return a layer and a head of torch tensors with the weights of a textbook's network."""
    layer = getattr(nn, type(net).__name__)(len(net.symbols), net.H, dtype=torch.float64)
    head = torch.nn.Linear(net.H, len(net.symbols), dtype=torch.float64)
    with torch.no_grad():
        layer.bias_hh_l0.zero_()  # an RNN has one bias there
        for name in net.d:
            target = {"W_hy": head.weight, "b_y": head.bias}.get(name)
            if target is None:
                target = layer.gate({"W_xh": "W_ih", "b_h": "b_ih"}.get(name, name))
            target.copy_(torch.from_numpy(getattr(net, name)))
    return layer, head


def gradient(layer, head, name):
    if name in ("W_hy", "b_y"):
        return (head.weight if name == "W_hy" else head.bias).grad
    return layer.gate_grad({"W_xh": "W_ih", "b_h": "b_ih"}.get(name, name))


@pytest.mark.parametrize("H", [1, 7, 10])
@pytest.mark.parametrize("cell", CELLS)
def test_textbook_logits_loss_and_gradients_are_those_of_the_layer(cell, H):
    net = getattr(textbook, cell)("ab", H, seed=H)
    layer, head = layer_like(net)
    sequence = [*SEQUENCES[2], "never seen", "a"]
    x = torch.tensor(np.stack([net.one_hot(symbol) for symbol in sequence[:-1]]))
    targets = torch.tensor([int(net.one_hot(symbol).argmax()) for symbol in sequence[1:]])
    logits = head(layer(x)[0])
    torch.nn.functional.cross_entropy(logits, targets).backward()
    np.testing.assert_allclose(np.stack(net.forward(sequence[:-1])[0]), logits.detach().numpy(), atol=1e-13)
    assert net.loss(sequence) == pytest.approx(torch.nn.functional.cross_entropy(logits, targets).item(), abs=1e-13)
    net.backward(sequence)
    for name, d in net.d.items():
        np.testing.assert_allclose(d, gradient(layer, head, name).numpy(), atol=1e-13, err_msg=name)


@pytest.mark.parametrize("cell", CELLS)
def test_textbook_parameters_have_the_shapes_of_the_text(cell):
    V, H = 4, 5
    kinds = {"W_i": (H, V), "W_h": (H, H), "b_i": (H,), "b_h": (H,)}
    gates = {"LSTM": "ifgo", "GRU": "rzn"}
    shapes = {f"{kind}{gate}": shape for kind, shape in kinds.items() for gate in gates.get(cell, "")}
    shapes = shapes or {"W_xh": (H, V), "W_hh": (H, H), "b_h": (H,)}
    net = getattr(textbook, cell)("ab", H)
    assert {name: getattr(net, name).shape for name in net.d} == shapes | {"W_hy": (V, H), "b_y": (V,)}


@pytest.mark.parametrize("cell", CELLS)
def test_textbook_network_learns_the_example(cell):
    net = getattr(textbook, cell)("ab", H=10)
    losses = textbook.train(net, SEQUENCES, steps=400, rate=1.0)
    assert losses[0] > 1.3
    assert losses[-1] < 0.40
    logits = net.forward(["a", "a", "a", "b", "b", "b"])[0]
    assert [net.symbols[int(y.argmax())] for y in logits[3:]] == ["b", "b", "EOS"]


def test_textbook_parameter_of_another_name_is_told():
    with pytest.raises(AttributeError, match=r"RNN has no 'W_hx'; its parameters are W_xh, W_hh, b_h, W_hy, b_y"):
        textbook.RNN("ab", H=2).W_hx


def test_textbook_is_short_enough_for_a_lecture():
    assert len(Path(textbook.__file__).read_text().splitlines()) < 200
