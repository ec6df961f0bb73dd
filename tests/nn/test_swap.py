"""From torch's layers to these and back, sharing Parameters."""

import copy

import pytest
import torch
from torch.nn.utils import parametrizations

import unrolled.nn
from tests.nn.compare import assert_close
from unrolled.nn import from_torch, swap

LAYERS = {
    "RNN": lambda nn: nn.RNN(3, 5, nonlinearity="relu", bidirectional=True),
    "LSTM": lambda nn: nn.LSTM(3, 5, num_layers=2, proj_size=2, batch_first=True),
    "GRU": lambda nn: nn.GRU(3, 5, num_layers=2, dropout=0.5, bias=False),
    "RNNCell": lambda nn: nn.RNNCell(3, 5, nonlinearity="relu"),
    "LSTMCell": lambda nn: nn.LSTMCell(3, 5, bias=False),
    "GRUCell": lambda nn: nn.GRUCell(3, 5),
}
each = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)


def first(output):
    return output if isinstance(output, torch.Tensor) else output[0]


@each
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_round_trip_shares_parameters_and_gives_the_same_numbers(make):
    stock = make(torch.nn).eval()
    ours = from_torch(stock)
    back = ours.to_torch()
    assert type(ours) is getattr(unrolled.nn, type(stock).__name__)
    assert type(back) is type(stock)
    assert repr(stock) == repr(ours) == repr(back)
    for layer in (ours, back):
        assert list(layer.state_dict()) == list(stock.state_dict())
        assert all(a is b for a, b in zip(layer.parameters(), stock.parameters(), strict=True))
        assert not layer.training
    x = torch.randn(7, 3) if "Cell" in type(stock).__name__ else torch.randn(7, 7, 3)
    assert_close("ours", first(ours(x)), first(stock(x)))
    assert torch.equal(first(back(x)), first(stock(x)))


@each
def test_parameters_and_hooks_added_later_are_not_shared(make):
    stock = make(torch.nn)
    ours = from_torch(stock)
    ours.register_parameter("extra", torch.nn.Parameter(torch.zeros(1)))
    ours.register_forward_hook(lambda *_: None)
    assert not hasattr(stock, "extra")
    assert not stock._forward_hooks


@each
def test_from_torch_takes_nothing_from_the_random_stream(make):
    stock = make(torch.nn)
    before = torch.get_rng_state()
    from_torch(stock)
    assert torch.equal(torch.get_rng_state(), before)


class Tagger(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(11, 3)
        self.encoder = torch.nn.ModuleDict({"lstm": torch.nn.LSTM(3, 5, bidirectional=True)})
        self.decoder = torch.nn.GRU(10, 5)
        self.tied = self.decoder
        self.cell = torch.nn.GRUCell(5, 5)

    def forward(self, ids):
        y, _ = self.decoder(self.encoder["lstm"](self.embedding(ids))[0])
        return self.cell(y[-1])


def test_swap_replaces_every_layer_and_keeps_everything_else():
    model = Tagger()
    ids = torch.randint(0, 11, (7, 3))
    want, before = model(ids), list(model.parameters())
    seen = []
    model.decoder.register_forward_hook(lambda *_: seen.append(1))
    assert swap(model) is model
    assert type(model.encoder["lstm"]) is unrolled.nn.LSTM
    assert type(model.decoder) is unrolled.nn.GRU
    assert model.tied is model.decoder
    assert type(model.cell) is unrolled.nn.GRUCell
    assert type(model.embedding) is torch.nn.Embedding
    assert_close("output", model(ids), want)
    assert seen == [1]
    assert all(a is b for a, b in zip(model.parameters(), before, strict=True))


def test_swap_turns_the_layer_itself_and_does_nothing_twice():
    layer = torch.nn.LSTM(3, 5)
    assert swap(swap(layer)) is layer
    assert type(layer) is unrolled.nn.LSTM


def test_swapped_layer_trains_with_an_optimiser_made_before():
    model = torch.nn.GRU(3, 5)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model.weight_hh_l0.detach().clone()
    swap(model)(torch.randn(7, 2, 3))[0].sum().backward()
    optimiser.step()
    assert not torch.equal(model.weight_hh_l0, before)


def test_swap_names_what_it_had_to_leave():
    class Special(torch.nn.LSTM):
        def forward(self, x):
            return x

    model = torch.nn.Sequential(Special(3, 5), parametrizations.weight_norm(torch.nn.GRU(3, 5), "weight_hh_l0"))
    with pytest.warns(UserWarning, match=r"swap left 0 \(Special\), 1 \(ParametrizedGRU\) as it is"):
        swap(model)
    assert type(model[0]) is Special


def test_from_torch_refuses_what_it_cannot_take():
    with pytest.raises(TypeError, match=r"from_torch expected one of torch.nn.RNN, .* got Linear"):
        from_torch(torch.nn.Linear(3, 5))
    with pytest.raises(TypeError, match="remove_parametrizations"):
        from_torch(parametrizations.weight_norm(torch.nn.GRU(3, 5), "weight_hh_l0"))


def test_swapped_layer_survives_a_copy_and_a_state_dict():
    layer = copy.deepcopy(swap(torch.nn.LSTM(3, 5, num_layers=2)))
    stock = torch.nn.LSTM(3, 5, num_layers=2)
    stock.load_state_dict(layer.state_dict())
    x = torch.randn(7, 2, 3)
    assert_close("y", layer(x)[0], stock(x)[0])


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("recurrent", ["orthogonal", "identity", "glorot"])
def test_init_sets_every_gate_as_it_says(make, recurrent):
    layer = make(unrolled.nn)
    assert unrolled.nn.init_(layer, recurrent=recurrent, forget_bias=1.5) is layer
    for name, w in layer.named_parameters():
        blocks = w.split(5)
        if name.startswith("bias_hh"):
            assert not w.any()
        elif name.startswith("bias_ih"):
            forget = [1.5 * (layer.kind == "LSTM" and k == 1) for k in range(len(blocks))]
            assert [b.unique().tolist() for b in blocks] == [[value] for value in forget]
        elif name.startswith("weight_hh") and recurrent == "identity":
            assert all(torch.equal(b, torch.eye(*b.shape)) for b in blocks)
        elif name.startswith("weight_hh") and recurrent == "orthogonal":
            for b in blocks:
                assert_close(name, b.t() @ b, torch.eye(b.shape[1]))
        else:
            for b in blocks:
                assert b.abs().max() <= (6 / sum(b.shape)) ** 0.5
                assert b.any()


def test_init_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="recurrent is 'lecun', expected one of 'orthogonal', 'identity', 'glorot'"):
        unrolled.nn.init_(unrolled.nn.GRU(3, 5), recurrent="lecun")
    with pytest.raises(TypeError, match=r"init_ expected a layer or cell of unrolled.nn, got GRU"):
        unrolled.nn.init_(torch.nn.GRU(3, 5))
