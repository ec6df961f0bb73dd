"""From torch's layers to these and back, sharing Parameters."""

import copy
import warnings
from functools import partial

import pytest
import torch
from torch.nn.utils import parametrizations

import unrolled.nn
from tests.nn.compare import assert_close
from unrolled.config.model import ModelConfig
from unrolled.lm.model import SequenceModel
from unrolled.nn import explain_swap, from_torch, swap
from unrolled.saved.vocabulary import Vocabulary

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


class Special(torch.nn.LSTM):
    def forward(self, x):
        return x


def test_swap_names_what_it_had_to_leave_and_why():
    model = torch.nn.Sequential(Special(3, 5), parametrizations.weight_norm(torch.nn.GRU(3, 5), "weight_hh_l0"))
    with pytest.warns(
        UserWarning, match=r"swap left 0, Special: it derives from torch.nn.LSTM; .* 1, torch.nn.GRU: it is"
    ):
        swap(model)
    assert type(model[0]) is Special


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")  # on some processors
@each
def test_swap_turns_a_whole_model_back(make):
    stock = make(torch.nn)
    model = swap(torch.nn.ModuleDict({"layer": stock, "other": unrolled.nn.GRU(3, 5)}))
    assert swap(model, to="torch") is model
    assert model["layer"] is stock
    assert type(stock) is getattr(torch.nn, type(stock).__name__)
    assert type(model["other"]) is torch.nn.GRU
    x = torch.randn(7, 3) if "Cell" in type(stock).__name__ else torch.randn(7, 7, 3)
    first(stock(x)).sum().backward()


def test_swap_back_leaves_what_torch_lacks():
    class Special(unrolled.nn.GRU):
        pass

    model = torch.nn.Sequential(unrolled.nn.PeepholeLSTM(3, 5), Special(3, 5))
    with pytest.warns(
        UserWarning, match=r"0, unrolled.nn.PeepholeLSTM: torch.nn has no such class; 1, .*Special: it de"
    ):
        swap(model, to="torch")
    assert type(model[0]) is unrolled.nn.PeepholeLSTM
    text = SequenceModel(ModelConfig(hidden_size=5), Vocabulary("ab"))
    with pytest.warns(
        UserWarning, match=r"rnn, unrolled.nn.LSTM: it has a dropout_function, which torch's layer would"
    ):
        swap(text, to="torch")
    text(torch.zeros(3, 1, dtype=torch.int64))


def test_explain_swap_says_what_would_happen_and_changes_nothing():
    script = warnings_off(torch.jit.script)(torch.nn.RNN(3, 5))
    model = torch.nn.ModuleDict(
        {"a": torch.nn.LSTM(3, 5), "b": unrolled.nn.GRUCell(3, 5), "c": Special(3, 5), "d": script}
    )
    report = unrolled.nn.explain_swap(model)
    assert [tuple(row) for row in report] == [
        ("a", "torch.nn.LSTM", True, "becomes unrolled.nn.LSTM"),
        ("b", "unrolled.nn.GRUCell", False, "is of unrolled.nn already"),
        ("c", "Special", False, "it derives from torch.nn.LSTM; derive it from unrolled.nn.LSTM"),
        ("d", "RecursiveScriptModule", False, "torch.jit.script has compiled it; swap first"),
    ]
    assert type(model["a"]) is torch.nn.LSTM
    back = unrolled.nn.explain_swap(model, to="torch")
    assert [row.why for row in back[:2]] == ["is of torch.nn already", "becomes torch.nn.GRUCell"]


def warnings_off(function):
    """The function without its warnings."""

    def quiet(*arguments):
        with warnings.catch_warnings(action="ignore"):
            return function(*arguments)

    return quiet


def test_swap_says_if_there_is_nothing_to_swap():
    with pytest.warns(UserWarning, match="swap found no recurrent layer or cell in Linear"):
        swap(torch.nn.Linear(3, 5))


def test_swap_leaves_what_derives_from_ours_without_a_word(recwarn):
    model = torch.nn.Sequential(unrolled.nn.PeepholeLSTM(3, 5), unrolled.nn.GRU(3, 5), torch.nn.LSTM(3, 5))
    parametrizations.weight_norm(swap(model)[1], "weight_hh_l0")
    swap(model)
    assert type(model[0]) is unrolled.nn.PeepholeLSTM
    assert not recwarn.list


def test_swap_refuses_another_direction():
    with pytest.raises(ValueError, match="to is 'jax', expected one of 'unrolled', 'torch'"):
        swap(torch.nn.LSTM(3, 5), to="jax")


class Asking(torch.nn.Module):
    """A model that asks what its layer is: in its call, and where it is initialised, which happens before a swap."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.apply(self.init_weights)

    def init_weights(self, module):
        if isinstance(module, torch.nn.LSTM):
            torch.nn.init.zeros_(module.weight_hh_l0)

    def forward(self, x):
        _, state = self.layer(x)
        return state[0] if isinstance(self.layer, (torch.nn.LSTM, Special)) else state


class AskingType(Asking):
    def forward(self, x):
        _, state = self.layer(x)
        return state[0] if type(self.layer) is torch.nn.GRU else state


class AskingInItsBase(Asking):
    """A model whose base asks."""


Alias = torch.nn.LSTM
STATEFUL = (torch.nn.GRU, torch.nn.LSTM)


def has_cell_state(layer):
    return isinstance(layer, Alias)


def asks(layer):
    return has_cell_state(layer)


class AskingAFunction(Asking):
    def forward(self, x):
        return asks(self.layer)


class AskingTheClass(Asking):
    def forward(self, x):
        return self.layer.__class__ is torch.nn.LSTM


class AskingForASubclass(Asking):
    def forward(self, x):
        return issubclass(type(self.layer), STATEFUL)


class AskingByMatch(Asking):
    def forward(self, x):
        match self.layer:
            case torch.nn.LSTM():
                return x


class AskingATable(Asking):
    def forward(self, x):
        return {torch.nn.LSTM: 0}.get(type(self.layer), 1)


class AskingLocally(Asking):
    def forward(self, x):
        kind = torch.nn.LSTM
        return isinstance(self.layer, kind)


class AskingByName(Asking):
    def forward(self, x):
        return isinstance(self.layer, getattr(torch.nn, "LSTM"))  # noqa: B009


class AskingWell(Asking):
    state: torch.nn.LSTM

    def forward(self, x: torch.nn.LSTM) -> torch.nn.LSTM:
        _, state = self.layer(x)
        return state[0] if isinstance(self.layer, torch.nn.RNNBase) and isinstance(x, torch.Tensor) else state

    def grown(self):
        more: torch.nn.GRU = Alias(3, 5)
        return more, torch.nn.LSTM(3, 5), {"gru": torch.nn.GRU}["gru"](3, 5)


@pytest.mark.parametrize(
    ("model", "place"),
    [
        (Asking, r"test_swap.py:\d+ isinstance\(self.layer, \(torch.nn.LSTM, Special\)\); name unrolled.nn's class"),
        (AskingType, r"test_swap.py:\d+ type\(self.layer\) is torch.nn.GRU; name"),
        (AskingInItsBase, r"test_swap.py:\d+ isinstance\(self.layer, \(torch.nn.LSTM, Special\)\); name"),
        (AskingAFunction, r".*test_swap.py:\d+ isinstance\(layer, Alias\); name"),
        (AskingTheClass, r"test_swap.py:\d+ self.layer.__class__ is torch.nn.LSTM"),
        (AskingForASubclass, r"test_swap.py:\d+ issubclass\(type\(self.layer\), STATEFUL\)"),
        (AskingByMatch, r"test_swap.py:\d+ case torch.nn.LSTM\(\)"),
        (AskingATable, r"test_swap.py:\d+ {torch.nn.LSTM: 0}.get\(type\(self.layer\), 1\)"),
        (AskingByName, r"test_swap.py:\d+ isinstance\(self.layer, getattr\(torch.nn, 'LSTM'\)\)"),
        (AskingLocally, r"test_swap.py:\d+ kind = torch.nn.LSTM"),
    ],
)
def test_swap_names_the_places_that_look_for_torchs_classes(model, place):
    with pytest.warns(UserWarning, match="no longer true of the layers that swap turned: " + place):
        swap(model(torch.nn.LSTM(3, 5)))


def test_swap_does_not_warn_of_tests_that_hold_or_are_over(recwarn):
    swap(AskingWell(torch.nn.LSTM(3, 5)))
    swap(Asking(unrolled.nn.LSTM(3, 5)))
    assert not recwarn.list


def test_swapped_layer_keeps_its_checkpoint_steps_on_the_way_there_and_back():
    layer = unrolled.nn.GRU(3, 5, checkpoint_steps=4)
    assert swap(swap(layer, to="torch")).checkpoint_steps == 4


@each
def test_torch_jit_script_says_what_to_do_instead(make):
    with pytest.raises(
        TypeError, match=r"torch.jit.script .* torch.jit.script\(swap\(copy.deepcopy\(model\), to='torch'\)\)"
    ):
        warnings_off(torch.jit.script)(torch.nn.Sequential(torch.nn.Linear(3, 3), make(unrolled.nn)))
    warnings_off(torch.jit.script)(swap(torch.nn.Sequential(make(unrolled.nn)), to="torch"))


def test_from_torch_refuses_what_it_cannot_take():
    with pytest.raises(TypeError, match=r"from_torch expected one of torch.nn.RNN, .* got torch.nn.Linear"):
        from_torch(torch.nn.Linear(3, 5))
    with pytest.raises(TypeError, match="remove_parametrizations"):
        from_torch(parametrizations.weight_norm(torch.nn.GRU(3, 5), "weight_hh_l0"))


def test_swapped_layer_survives_a_copy_and_a_state_dict():
    layer = copy.deepcopy(swap(torch.nn.LSTM(3, 5, num_layers=2)))
    stock = torch.nn.LSTM(3, 5, num_layers=2)
    stock.load_state_dict(layer.state_dict())
    x = torch.randn(7, 2, 3)
    assert_close("y", layer(x)[0], stock(x)[0])


def test_layer_with_a_forward_of_its_own_is_left_and_said():
    """As accelerate's hooks and some profilers put one onto an object, where it goes on calling the class's old one."""
    layer = torch.nn.LSTM(3, 4)
    layer.forward = partial(torch.nn.LSTM.forward, layer)
    [found] = explain_swap(layer)
    assert not found.turns
    with pytest.warns(UserWarning, match="swap left the model, torch.nn.LSTM: a forward of its own was put onto it"):
        swap(layer)
    assert layer(torch.randn(5, 2, 3))[0].shape == (5, 2, 4)
    with pytest.raises(TypeError, match="this LSTM has a forward of its own"):
        from_torch(layer)
