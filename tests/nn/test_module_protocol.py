"""What people do to a module: copy it, store it, prune it, share its weights, look into it."""

import copy
import io
import pickle

import pytest
import torch
from torch.nn.utils import parametrizations, parametrize, prune

import unrolled.nn
from tests.nn.compare import assert_close
from tests.nn.layers import LAYERS, pair

SETTINGS = [
    {},
    {"num_layers": 2, "bidirectional": True},
    {"bias": False, "batch_first": True},
    {"num_layers": 3, "dropout": 0.25},
]


@pytest.mark.parametrize("name", [*LAYERS, "RNNCell", "LSTMCell", "GRUCell"])
@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_initial_weights_names_and_repr_are_torchs(name, options):
    if name.endswith("Cell"):
        options = {"bias": options.get("bias", True)}
    theirs, ours = pair(name, 3, 5, **options)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


@pytest.mark.parametrize("options", [{"proj_size": 2}, {"proj_size": 2, "bidirectional": True, "bias": False}], ids=str)
def test_projected_lstm_is_torchs_too(options):
    theirs, ours = pair("LSTM", 3, 5, **options)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_making_a_layer_leaves_the_random_stream_where_torch_does():
    streams = []
    for module in (torch.nn, unrolled.nn):
        torch.manual_seed(5)
        module.GRU(3, 5, num_layers=2)
        streams.append(torch.rand(3))
    assert torch.equal(*streams)


@pytest.mark.parametrize("name", LAYERS)
def test_attributes_third_parties_read_are_there(name):
    theirs, ours = pair(name, 3, 5, num_layers=2, bidirectional=True)
    read = ("mode", "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
    for attribute in (*read, "proj_size", "_flat_weights_names", "training"):
        assert getattr(ours, attribute) == getattr(theirs, attribute), attribute
    assert [[w.shape for w in ws] for ws in ours.all_weights] == [[w.shape for w in ws] for ws in theirs.all_weights]
    assert isinstance(ours, torch.nn.RNNBase)
    ours.flatten_parameters()


@pytest.mark.parametrize("name", LAYERS)
def test_state_dict_moves_both_ways(name):
    theirs, ours = pair(name, 3, 5, num_layers=2)
    other = getattr(unrolled.nn, name)(3, 5, num_layers=2)
    other.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(7, 2, 3)
    assert torch.equal(other(x)[0], ours(x)[0])


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(
    "how",
    [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), lambda m: saved_and_loaded(m)],
    ids=["deepcopy", "pickle", "torch.save"],
)
def test_copies_give_the_same_numbers_and_share_nothing(name, how):
    _, ours = pair(name, 3, 5, num_layers=2)
    x = torch.randn(7, 2, 3)
    other = how(ours)
    assert type(other) is type(ours)
    assert torch.equal(other(x)[0], ours(x)[0])
    with torch.no_grad():
        other.weight_hh_l0.add_(1)
    assert not torch.equal(other(x)[0], ours(x)[0])


def saved_and_loaded(module):
    stored = io.BytesIO()
    torch.save(module, stored)
    stored.seek(0)
    return torch.load(stored, weights_only=False)


@pytest.mark.parametrize("name", LAYERS)
def test_weights_are_gathered_anew_at_every_call(route, name):
    _, ours = pair(name, 3, 5)
    x = torch.randn(7, 2, 3)
    before = ours(x)[0]
    ours.weight_hh_l0 = torch.nn.Parameter(ours.weight_hh_l0.detach() + 1)
    reassigned = ours(x)[0]
    assert not torch.equal(reassigned, before)
    assert_close("torch agrees", ours.to_torch()(x)[0], reassigned)
    ours.weight_hh_l0.data = ours.weight_hh_l0.data - 1
    assert_close("data", ours(x)[0], before)


def test_weight_drop_that_deletes_the_parameter_works(route):
    """AWD-LSTM's trick: the parameter is replaced by a plain tensor computed from another."""
    _, ours = pair("LSTM", 3, 5)
    raw = ours.weight_hh_l0
    del ours.weight_hh_l0
    ours.register_parameter("raw", raw)
    ours.weight_hh_l0 = torch.nn.functional.dropout(raw, 0.5)
    ours(torch.randn(7, 2, 3))[0].sum().backward()
    assert raw.grad is not None


@pytest.mark.parametrize("name", LAYERS)
def test_weight_norm_and_pruning_act_on_the_call(route, name):
    theirs, ours = pair(name, 3, 5)
    x = torch.randn(7, 2, 3)
    for layer in (theirs, ours):
        parametrizations.weight_norm(layer, "weight_hh_l0")
        with torch.no_grad():
            layer.parametrizations.weight_hh_l0.original0.mul_(0.5)
        prune.l1_unstructured(layer, "weight_ih_l0", amount=0.5)
    assert_close("y", ours(x)[0], theirs(x)[0])
    ours(x)[0].sum().backward()
    assert ours.parametrizations.weight_hh_l0.original1.grad.any()
    parametrize.remove_parametrizations(ours, "weight_hh_l0")
    assert_close("baked", ours(x)[0], theirs(x)[0])


@pytest.mark.parametrize(
    "call",
    [
        lambda layer, x: layer(x),
        lambda layer, x: layer(x, reset=torch.zeros(5, 3, dtype=torch.bool)),
        lambda layer, x: layer.step(x[0]),
        lambda layer, x: torch.no_grad()(layer.step)(x[0]),
        lambda layer, x: unrolled.nn.Stepper(layer, 3),
    ],
    ids=["call", "reset", "step", "step without gradients", "stepper"],
)
@pytest.mark.parametrize("name", LAYERS)
def test_parametrized_weight_is_computed_once_a_call(name, call):
    looks = []  # each moves spectral norm on, and draws again where a weight is dropped at random

    class Looked(torch.nn.Module):
        def forward(self, W):
            looks.append(W)
            return W.clone()

    layer = getattr(unrolled.nn, name)(4, 6)
    parametrize.register_parametrization(layer, "weight_hh_l0", Looked())
    looks.clear()
    call(layer, torch.randn(5, 3, 4))
    assert len(looks) == 1


def test_parametrized_layer_can_be_copied(route):
    _, ours = pair("GRU", 3, 5)
    parametrizations.weight_norm(ours, "weight_hh_l0")
    x = torch.randn(7, 2, 3)
    assert torch.equal(copy.deepcopy(ours)(x)[0], ours(x)[0])


def test_shared_weights_get_the_sum_of_both_gradients(route):
    theirs, ours = pair("GRU", 3, 5, bidirectional=True)
    for layer in (theirs, ours):
        layer.weight_hh_l0_reverse = layer.weight_hh_l0
        layer(torch.ones(7, 2, 3))[0].pow(2).sum().backward()
    assert len(list(ours.parameters())) == 7
    assert_close("gradient", ours.weight_hh_l0.grad, theirs.weight_hh_l0.grad)


@pytest.mark.parametrize("name", LAYERS)
def test_layer_moves_between_types_and_devices(name):
    _, ours = pair(name, 3, 5)
    assert ours.double()(torch.randn(7, 2, 3).double())[0].dtype == torch.float64
    assert ours.to("meta").weight_ih_l0.is_meta
    assert ours.to_empty(device="cpu")(torch.randn(7, 2, 3).double())[0].shape == (7, 2, 5)
    assert unrolled.nn.GRU(3, 5, device="meta", dtype=torch.float64).weight_ih_l0.is_meta


def test_data_parallel_replica_runs():
    _, ours = pair("LSTM", 3, 5)
    replica = ours._replicate_for_data_parallel()
    for name, w in ours.named_parameters():
        setattr(replica, name, w * 1)
    replica.flatten_parameters()
    x = torch.randn(7, 2, 3)
    assert torch.equal(replica(x)[0], ours(x)[0])


VIEWS = {
    "LSTM": {f"{p}_{s}{g}": (p, s, "ifgo".index(g)) for p in "Wb" for s in "ih" for g in "ifgo"},
    "GRU": {f"{p}_{s}{g}": (p, s, "rzn".index(g)) for p in "Wb" for s in "ih" for g in "rzn"},
    "RNN": {f"{p}_{s}h": (p, s, 0) for p in "Wb" for s in "ih"},
}


@pytest.mark.parametrize("name", LAYERS)
def test_gate_views_are_the_blocks_themselves(name):
    _, ours = pair(name, 3, 5, num_layers=2, bidirectional=True)
    for view, (p, s, k) in VIEWS[name].items():
        stem = f"{'weight' if p == 'W' else 'bias'}_{s}h"
        for layer, reverse in ((0, False), (0, True), (1, False), (1, True)):
            stored = getattr(ours, f"{stem}_l{layer}{'_reverse' if reverse else ''}")
            block = ours.gate(view, layer=layer, reverse=reverse)
            assert torch.equal(block, stored[5 * k : 5 * k + 5])
            assert block.data_ptr() == stored[5 * k :].data_ptr()
        assert torch.equal(getattr(ours, view), ours.gate(view))
        assert view in dir(ours)
    with torch.no_grad():
        getattr(ours, view).fill_(7.0)
    assert (getattr(ours, f"{stem}_l0")[5 * k : 5 * k + 5] == 7).all()


def test_projection_is_a_view_of_the_equations_too():
    lstm = unrolled.nn.LSTM(3, 5, proj_size=2)
    assert lstm.gate("W_hr") is lstm.weight_hr_l0


def test_gates_that_are_not_there_are_refused():
    lstm = unrolled.nn.LSTM(3, 5, bias=False)
    with pytest.raises(KeyError, match="LSTM has no 'W_ir'; it has W_ii, W_if"):
        lstm.gate("W_ir")
    with pytest.raises(IndexError, match="layer is 1, expected 0 to num_layers - 1 = 0"):
        lstm.gate("W_ii", layer=1)
    with pytest.raises(ValueError, match="reverse=True needs a bidirectional layer"):
        lstm.gate("W_ii", reverse=True)
    with pytest.raises(AttributeError, match=r"b_ii.*it was made with bias=False"):
        lstm.b_ii
    assert not hasattr(lstm, "W_ir")


def test_names_of_the_textbook_are_those_blocks_or_their_sum():
    rnn, lstm, gru = (getattr(unrolled.nn, name)(3, 5, num_layers=2) for name in ("RNN", "LSTM", "GRU"))
    assert rnn.W_xh.data_ptr() == rnn.weight_ih_l0.data_ptr()
    assert torch.equal(rnn.b_h, rnn.bias_ih_l0 + rnn.bias_hh_l0)
    assert torch.equal(rnn.gate("b_h", layer=1), rnn.bias_ih_l1 + rnn.bias_hh_l1)
    assert torch.equal(lstm.W_xg, lstm.W_ig)
    assert torch.equal(lstm.b_f, lstm.b_if + lstm.b_hf)
    assert torch.equal(gru.b_r, gru.b_ir + gru.b_hr)
    assert "W_xh" in dir(rnn)
    with pytest.raises((AttributeError, KeyError)):
        rnn.W_xh = torch.zeros(5, 3)


@pytest.mark.parametrize(
    ("name", "wrong", "hint"),
    [
        ("RNN", "W_hx", "here it is W_xh"),
        ("RNN", "U_h", "here it is W_hh"),
        ("RNN", "W_hy", "its names are W_xh, W_hh, b_h; see docs/notation.md"),
        ("LSTM", "W_fx", "here it is W_xf"),
        ("LSTM", "W_xc", "here it is W_xg"),
        ("LSTM", "U_o", "here it is W_ho"),
        ("LSTM", "b_c", "here it is b_g"),
        ("LSTM", "W_xh", "its names are W_xi, W_xf, W_xg, W_xo, W_hi, .* b_o; see docs/notation.md"),
        ("GRU", "W_xu", "here it is W_xz"),
        ("GRU", "W_xh", "here it is W_xn"),
        ("GRU", "b_n", "its names are W_xr, W_xz, W_xn, .* b_r, b_z; see"),
        ("PeepholeLSTM", "W_cx", "here it is W_xg"),
    ],
)
def test_name_of_another_textbook_is_answered_with_the_name_here(name, wrong, hint):
    layer = getattr(unrolled.nn, name)(3, 5)
    with pytest.raises(AttributeError, match=f"'{name}' object has no attribute '{wrong}'; {hint}"):
        getattr(layer, wrong)
    assert not hasattr(layer, wrong)
    with pytest.raises(AttributeError, match=r"has no attribute 'weights_of'$"):
        layer.weights_of


@pytest.mark.parametrize("name", LAYERS)
def test_gate_grad_is_the_block_of_the_stored_gradient(name):
    layer = getattr(unrolled.nn, name)(3, 5, num_layers=2, bidirectional=True)
    assert layer.gate_grad("W_hh" if name == "RNN" else "W_hn" if name == "GRU" else "W_hf") is None
    layer(torch.randn(4, 2, 3))[0].square().sum().backward()
    for view, (p, s, k) in VIEWS[name].items():
        stored = getattr(layer, f"{'weight' if p == 'W' else 'bias'}_{s}h_l1_reverse").grad
        assert torch.equal(layer.gate_grad(view, layer=1, reverse=True), stored[5 * k : 5 * k + 5])
    with pytest.raises(KeyError, match=r"has no 'W_q'; it has W_i"):
        layer.gate_grad("W_q")


def test_gate_grad_of_a_computed_weight_says_who_has_the_gradient():
    layer = unrolled.nn.GRU(3, 5)
    torch.nn.utils.prune.random_unstructured(layer, "weight_hh_l0", 0.5)
    with pytest.raises(ValueError, match=r"weight_hh_l0 is computed from others, .* and has no gradient of its own"):
        layer.gate_grad("W_hn")
    layer(torch.randn(4, 2, 3))[0].sum().backward()
    assert torch.equal(layer.gate_grad("W_in"), layer.weight_ih_l0.grad[10:15])


def test_gate_grad_of_the_one_bias_is_that_of_either_part():
    rnn = unrolled.nn.RNN(3, 5)
    rnn.bias_hh_l0.requires_grad_(False).zero_()
    rnn(torch.randn(4, 2, 3))[0].sum().backward()
    assert torch.equal(rnn.b_h, rnn.bias_ih_l0)
    assert torch.equal(rnn.gate_grad("b_h"), rnn.bias_ih_l0.grad)
    lstm = unrolled.nn.LSTM(3, 5, proj_size=2)
    lstm(torch.randn(4, 2, 3))[0].sum().backward()
    assert lstm.gate_grad("W_hr") is lstm.weight_hr_l0.grad


class Tagger(torch.nn.Module):
    """A model that holds a layer and a cell."""

    def __init__(self, layer, cell):
        super().__init__()
        self.layer, self.cell, self.head = layer, cell, torch.nn.Linear(5, 2)

    def forward(self, x):
        y, (h_n, c_n) = self.layer(x)
        h, c = self.cell(x[0], (h_n[0], c_n[0]))
        return self.head(y + h * c)


def test_layers_are_leaves_of_symbolic_trace():
    model, x = Tagger(unrolled.nn.LSTM(3, 5), unrolled.nn.LSTMCell(3, 5)), torch.randn(7, 2, 3)
    traced = torch.fx.symbolic_trace(model)
    assert [n.target for n in traced.graph.nodes if n.op == "call_module"] == ["layer", "cell", "head"]
    assert torch.equal(traced(x), model(x))
    with pytest.raises(TypeError, match=r"LSTM is a leaf of torch\.fx; trace a module that holds it"):
        torch.fx.symbolic_trace(model.layer)


def test_an_object_that_overrides_torchs_functions_is_asked():
    class Asked:
        """No tensor, but torch's functions ask it."""

        dtype, device, shape, is_cpu = torch.float32, torch.device("cpu"), torch.Size((7, 2, 3)), True

        def dim(self):
            return 3

        def new_zeros(self, *shape):
            return torch.zeros(*shape)

        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            return f"the {function.__name__}", torch.zeros(1, 2, 5)

    assert unrolled.nn.GRU(3, 5)(Asked())[0] == "the gru"
