"""PeepholeLSTM as a module; its numbers are compared with NumPy in test_reference.py and tests/core."""

import copy
import pickle

import pytest
import torch

from tests.nn.compare import assert_all_close
from unrolled.nn import LSTM, PeepholeLSTM, Stepper, explain_backend, functional, init_

OPTIONS = [{}, {"num_layers": 2, "bidirectional": True}, {"proj_size": 3}, {"bias": False, "batch_first": True}]


def by_name(layer, x, **options):
    """Outputs, final states and every gradient by name."""
    x = x.clone().requires_grad_()
    y, (h_n, c_n) = layer(x, **options)
    weight = torch.arange(y.numel(), dtype=y.dtype).view(y.shape).sin()
    ((y * weight).sum() + (h_n * 0.3).sum() + c_n.square().sum()).backward()
    found = {"y": y, "h_n": h_n, "c_n": c_n, "dx": x.grad}
    found |= {f"d{name}": p.grad.clone() for name, p in layer.named_parameters()}
    layer.zero_grad()
    return found


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_layer_without_peepholes_has_the_bits_of_an_lstm(options):
    peeping, plain = PeepholeLSTM(4, 9, **options), LSTM(4, 9, **options)
    with torch.no_grad():
        for name, p in peeping.named_parameters():
            p.zero_() if name.startswith("peephole") else p.copy_(plain.get_parameter(name))
    x = torch.randn(7, 7, 4)
    got, want = by_name(peeping, x), by_name(plain, x)
    for name in want:
        assert torch.equal(got[name], want[name]), name


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_compiled_core_matches_the_equations(options, monkeypatch):
    layer = PeepholeLSTM(4, 9, **options).double()
    x, lengths = torch.randn(7, 7, 4, dtype=torch.float64), torch.tensor([7, 1, 0, 5, 7, 2, 3])
    reset = torch.rand(7, 7) < 0.3
    got = by_name(layer, x, lengths=lengths, reset=reset)
    monkeypatch.setenv("UNROLLED_BACKEND", "reference")
    assert explain_backend(layer, x).path == "reference"
    assert_all_close(got, by_name(layer, x, lengths=lengths, reset=reset))


def test_gradients_and_their_gradients_are_slopes():
    layer = PeepholeLSTM(2, 3).double()
    names, values = zip(*layer.named_parameters(), strict=True)
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)

    def run(x, *values):
        y, (_, c_n) = torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))
        return y, c_n

    assert torch.autograd.gradcheck(run, (x, *values))
    assert torch.autograd.gradgradcheck(run, (x, *values))


def test_state_dict_copies_and_pickles_hold_the_peepholes():
    layer, x = PeepholeLSTM(4, 9, num_layers=2), torch.randn(5, 3, 4)
    other = PeepholeLSTM(4, 9, num_layers=2)
    other.load_state_dict(layer.state_dict())
    assert [name for name in layer.state_dict() if "peephole" in name] == ["peephole_l0", "peephole_l1"]
    for same in (other, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(same(x)[0], layer(x)[0])


def test_peepholes_of_each_gate_are_views():
    layer = PeepholeLSTM(4, 9, num_layers=2, bidirectional=True)
    assert layer.p_f.data_ptr() == layer.peephole_l0[9:18].data_ptr()
    assert layer.gate("p_o", layer=1, reverse=True).data_ptr() == layer.peephole_l1_reverse[18:].data_ptr()
    with pytest.raises(KeyError, match="LSTM has no 'p_i'"):
        LSTM(4, 9).gate("p_i")
    assert not init_(layer).peephole_l0.any()
    assert (layer.b_if == 1).all()


def test_steps_have_the_bits_of_the_sequence():
    layer, x = PeepholeLSTM(4, 9, num_layers=2), torch.randn(5, 3, 4)
    with torch.no_grad():
        want, (h_n, c_n) = layer(x)
        state, stepper, got, stepped = None, Stepper(layer, batch_size=3), [], []
        for x_t in x:
            y_t, state = layer.step(x_t, state)
            got.append(y_t)
            stepped.append(stepper(x_t))
    assert torch.equal(torch.stack(got), want)
    assert torch.equal(torch.stack(stepped), want)
    assert torch.equal(state[0], h_n)
    assert torch.equal(state[1], c_n)


@pytest.mark.parametrize("steps", [2, "auto"])
def test_gradients_with_recomputed_gates_have_the_same_bits(steps):
    layer, x = PeepholeLSTM(4, 9), torch.randn(300, 3, 4)
    want = by_name(layer, x)
    layer.checkpoint_steps = steps
    got = by_name(layer, x)
    assert all(torch.equal(got[name], want[name]) for name in want)


def test_compiled_and_mapped_calls_match_eager_ones():
    layer, x = PeepholeLSTM(4, 9), torch.randn(5, 3, 4)
    want = layer(x)[0]
    assert torch.equal(torch.compile(layer, backend="eager", fullgraph=True)(x)[0], want)
    mapped = torch.vmap(lambda x: layer(x)[0])(torch.stack([x, -x]))
    assert torch.equal(mapped[0], want)
    gradient = torch.func.grad(lambda x: layer(x)[0].square().sum())(x)
    x.requires_grad_()
    (eager,) = torch.autograd.grad(layer(x)[0].square().sum(), x)
    torch.testing.assert_close(gradient, eager)


def test_other_devices_take_the_equations():
    layer = PeepholeLSTM(4, 9, device="meta")
    x = torch.randn(5, 3, 4, device="meta")
    assert explain_backend(layer, x).path == "reference"
    assert layer(x)[0].shape == (5, 3, 9)


def test_torch_has_no_such_layer_and_other_cells_no_such_weight():
    with pytest.raises(TypeError, match="torch has no layer like PeepholeLSTM"):
        PeepholeLSTM(4, 9).to_torch()
    W_ih, W_hh, p = torch.randn(12, 4), torch.randn(12, 3), torch.randn(9)
    with pytest.raises(ValueError, match="LSTM has no weight p"):
        functional.layer("LSTM", torch.randn(5, 2, 4), None, None, [(W_ih, W_hh, None, None, None, p)])
    with pytest.raises(ValueError, match="p of direction 0 is a float32 tensor of shape \\(8,\\) on cpu, expected"):
        functional.layer("LSTM_PEEPHOLE", torch.randn(5, 2, 4), None, None, [(W_ih, W_hh, None, None, None, p[:8])])
