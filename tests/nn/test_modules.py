"""Layers and cells as modules: names that are theirs, and what another class takes over from them."""

import inspect
import re
import warnings

import pytest
import torch

import unrolled.nn
from tests.nn.layers import LAYERS, as_tuple
from unrolled.nn import explain_swap, from_torch, swap
from unrolled.nn.modules import taken

CELLS = ("RNNCell", "LSTMCell", "GRUCell")


@pytest.mark.parametrize("name", [*LAYERS, *CELLS, "PeepholeLSTM"])
def test_everything_that_torch_lacks_is_taken_but_what_may_be_set(name):
    cls = getattr(unrolled.nn, name)
    beyond = {each for each in set(dir(cls)) - set(dir(cls.stock)) if not each.startswith("__")}
    assert {each for each in dir(cls) if taken(cls, each)} - {"__prepare_scriptable__"} == beyond - {
        "checkpoint_steps",
        "dropout_function",
    }


@pytest.mark.parametrize("name", ["step", "gate", "weights", "kind", "stock", "W_hf"])
@pytest.mark.parametrize("value", [torch.nn.Linear(6, 2), 5, torch.zeros(2)], ids=["module", "number", "tensor"])
def test_subclass_cannot_set_what_is_ours(name, value):
    class Encoder(unrolled.nn.LSTM):
        def __init__(self):
            super().__init__(4, 6)
            setattr(self, name, value)

    with pytest.raises(AttributeError, match=f"{name} cannot be set on Encoder: LSTM of unrolled.nn has something"):
        Encoder()


def test_subclass_has_the_attributes_that_it_sets():
    class Encoder(unrolled.nn.LSTM):
        def __init__(self):
            super().__init__(4, 6, num_layers=2, dropout=0.5)
            self.drop, self.head = torch.nn.Dropout(0.1), torch.nn.Linear(6, 2)

        def forward(self, x):
            return self.drop(super().forward(x)[0])

    encoder, x = Encoder(), torch.randn(50, 3, 4)
    assert isinstance(encoder.drop, torch.nn.Dropout)
    assert isinstance(encoder.head, torch.nn.Linear)
    assert encoder(x).count_nonzero() < 50 * 3 * 6
    assert encoder.eval()(x).count_nonzero() == 50 * 3 * 6


def test_subclass_may_have_a_method_of_its_own_under_any_name():
    class Encoder(unrolled.nn.GRU):
        @property
        def kind(self):
            return "encoder"

        @kind.setter
        def kind(self, value):
            self.set = value

    encoder = Encoder(4, 6)
    encoder.kind = 3
    assert encoder.set == 3


@pytest.mark.parametrize("value", [torch.nn.Dropout(0.3), "encoder", [1.0]], ids=["module", "text", "list"])
@pytest.mark.parametrize("name", ["kind", "gate", "step", "weights", "W_hf"])
def test_swap_leaves_a_layer_with_an_attribute_that_would_be_hidden(name, value):
    model = torch.nn.Sequential(torch.nn.LSTM(4, 6), torch.nn.LSTM(6, 6))
    setattr(model[0], name, value)
    with pytest.warns(UserWarning, match=f"swap left 0, torch.nn.LSTM: .* its own attributes {name}; rename them"):
        swap(model)
    assert type(model[0]) is torch.nn.LSTM
    assert type(model[1]) is unrolled.nn.LSTM
    assert getattr(model[0], name) is value
    assert [found.turns for found in explain_swap(model)] == [False, False]
    with pytest.raises(TypeError, match=f"attributes of its own, {name}, whose names LSTM"):
        from_torch(model[0])


def test_swap_turns_a_layer_with_other_attributes_there_and_back():
    model = torch.nn.Sequential(torch.nn.LSTM(4, 6, num_layers=2, dropout=0.5))
    model[0].drop = drop = torch.nn.Dropout(0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        swap(model)
        model[0](torch.randn(5, 3, 4))
        assert model[0].drop is drop
        swap(model, to="torch")
    assert model[0].drop is drop


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_layer_made_from_one_that_was_compiled_is_of_its_own_class(name):
    size = (3, 4) if name in CELLS else (5, 3, 4)
    called = []
    for compiled, turned in (
        (getattr(torch.nn, name)(4, 6), from_torch),
        (getattr(unrolled.nn, name)(4, 6), lambda layer: layer.to_torch()),
    ):
        compiled.compile(backend=lambda graph, inputs: called.append(graph) or graph.forward)
        other = turned(compiled)
        compiled.forward = None  # nobody calls it
        result = as_tuple(other(torch.randn(size)))[0]
        assert result.shape == (*size[:-1], 6)
        assert not called


def test_hook_of_loading_gets_the_module_that_is_loaded():
    seen = []
    stock = torch.nn.GRU(4, 6)
    stock.register_load_state_dict_pre_hook(lambda module, *_: seen.append(module))
    ours = from_torch(stock)
    weights = stock.state_dict()
    del stock
    ours.load_state_dict(weights)
    assert len(seen) == 1
    assert seen[0] is ours


class OnlyOutput(unrolled.nn.GRU):
    def forward(self, x, hx=None):
        return super().forward(x, hx)[0]


class More(unrolled.nn.GRU):
    def forward(self, x, hx=None):
        return *super().forward(x, hx), x


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(("cls", "came"), [(OnlyOutput, "a Tensor"), (More, "3 values")])
def test_step_of_a_subclass_that_returns_something_else_is_refused(cls, came, batch_first):
    """Two rows of a batch were taken for the output and the state."""
    with pytest.raises(TypeError, match=rf"\.step expected its forward to return \(output, state\), got {came}"):
        cls(4, 6, batch_first=batch_first).step(torch.randn(2, 4))


@pytest.mark.parametrize("cls", [unrolled.nn.LSTM, unrolled.nn.PeepholeLSTM])
def test_tools_that_look_at_the_constructor_find_its_arguments(cls):
    assert inspect.signature(cls) == inspect.signature(unrolled.nn.LSTM)
    assert torch.nn.utils.skip_init(cls, 4, 6, dtype=torch.float64).weight_ih_l0.dtype == torch.float64


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("b_if", "choose another, or write into its weights, as by .b_if.copy_(...) under torch.no_grad"),
        ("b_f", "choose another, or write into b_if + b_hf, as by .b_if.copy_(...) under"),
        ("step", "LSTM: LSTM of unrolled.nn has something else of that name, which torch's lacks; choose another"),
    ],
)
def test_what_cannot_be_set_is_said_with_what_to_do(name, said):
    with pytest.raises(AttributeError, match=re.escape(said)):
        setattr(unrolled.nn.LSTM(4, 6), name, torch.zeros(6))
