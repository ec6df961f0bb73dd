"""Whether a call may reach the core: where torch must see what happens, nothing is written that it does not see."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.func import functional_call, grad, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils.rnn import pack_padded_sequence
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

import unrolled.nn
from tests.nn.compare import assert_all_close, assert_close
from tests.nn.layers import LAYERS, as_tuple, hx, pair
from unrolled.nn import reach

T, B, I, H = 5, 2, 4, 6


class Seeing(TorchDispatchMode):
    """A mode that notes every operation, and which of them made the memory of each result."""

    def __init__(self):
        super().__init__()
        self.operations, self.makers, self.held = [], {}, []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        found = operation(*args, **(kwargs or {}))
        self.operations.append(operation)
        self.held.append(found)  # so that no memory is used twice
        for t in tree_leaves(found):
            if isinstance(t, torch.Tensor) and t.numel():
                self.makers.setdefault(t.untyped_storage().data_ptr(), operation)
        return found


def packed(x):
    return pack_padded_sequence(x, torch.tensor([T, 2]))


def by_sample(layer, x):
    weights = {name: w.detach() for name, w in layer.named_parameters()}
    loss = grad(lambda w, row: functional_call(layer, w, (row[:, None],))[0].sum())
    return vmap(loss, in_dims=(None, 1))(weights, x.detach())


LAYER_CALLS = {
    "whole": lambda layer, x: layer(x),
    "batch of one": lambda layer, x: layer(x[:, 0]),
    "lengths and reset": lambda layer, x: layer(x, lengths=torch.tensor([5, 0]), reset=torch.zeros(T, B).bool()),
    "trace": lambda layer, x: layer(x, trace=True)[2].gates,
    "packed": lambda layer, x: layer(packed(x))[0].data,
    "one-hot": lambda layer, x: layer(torch.tensor([[1, 0], [3, 3]])),
    "embedding": lambda layer, x: layer(torch.tensor([[1, 0], [3, 3]]), embedding=torch.randn(9, I)),
    "few symbols": lambda layer, x: layer(torch.ones(T, B).long(), embedding=torch.randn(2, I)),
    "step": lambda layer, x: layer.step(x[0]),
    "step from a state": lambda layer, x: layer.step(x[0], layer(x)[1]),
    "gradient": lambda layer, x: torch.autograd.grad(layer(x)[0].sum(), [x, *layer.parameters()]),
    "vmap": lambda layer, x: vmap(lambda x: layer(x)[0])(torch.randn(3, T, B, I)),
    "gradient by sample": by_sample,
}
CELL_CALLS = {
    "new state": lambda cell, x: cell(x[0]),
    "from a state": lambda cell, x: cell(x[0], hx("LSTM" if cell.kind == "LSTM" else "GRU", B, H)),
    "gradient": lambda cell, x: torch.autograd.grad(as_tuple(cell(x[0]))[0].sum(), [x, *cell.parameters()]),
}
CALLS = [(name, call) for name in LAYERS for call in LAYER_CALLS] + [
    (f"{name}Cell", call) for name in LAYERS for call in CELL_CALLS
]


@pytest.mark.parametrize(
    ("name", "call", "gradients"),
    [(*case, on) for case in CALLS for on in (True, False) if on or case[1] != "gradient"],
)
def test_a_mode_sees_who_wrote_every_result(name, call, gradients):
    module = getattr(unrolled.nn, name)(I, H)
    x = torch.randn(T, B, I, requires_grad=True)
    function = (CELL_CALLS if name.endswith("Cell") else LAYER_CALLS)[call]
    with Seeing() as mode, torch.set_grad_enabled(gradients):
        results = function(module, x)
    assert any(operation.namespace == "unrolled" for operation in mode.operations)
    for t in tree_leaves(results):
        maker = mode.makers.get(t.untyped_storage().data_ptr())
        assert maker is not None
        assert "empty" not in maker.name()


@pytest.mark.parametrize("name", LAYERS)
def test_a_backward_pass_is_seen_by_a_mode_that_came_later(name):
    x = torch.randn(T, B, I, requires_grad=True)
    y, _ = getattr(unrolled.nn, name)(I, H)(x)
    with Seeing() as mode:
        y.sum().backward()
    assert torch.ops.unrolled.layer_backward.default in mode.operations


def test_a_function_mode_sees_the_operator():
    seen = []

    class Functions(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            seen.append(function)
            return function(*args, **(kwargs or {}))

    layer, cell = unrolled.nn.GRU(I, H), unrolled.nn.GRUCell(I, H)
    for call in (lambda: layer(torch.zeros(T, B, I)), lambda: cell(torch.zeros(B, I))):
        seen.clear()
        with Functions(), torch.no_grad():
            call()
        assert torch.ops.unrolled.layer in seen


def test_a_default_device_closes_nothing():
    with torch.device("cpu"):
        assert reach.is_open()


@pytest.mark.parametrize("tracing", ["real", "fake", "symbolic"])
@pytest.mark.parametrize("name", LAYERS)
def test_make_fx_leaves_a_graph_that_computes(name, tracing):
    layer = getattr(unrolled.nn, name)(I, H, num_layers=2, bidirectional=True)
    weights = {key: w.detach() for key, w in layer.named_parameters()}

    def call(weights, x):
        return functional_call(layer, weights, (x,))[0]

    graph = make_fx(call, tracing_mode=tracing)(weights, torch.randn(T, B, I))
    x = torch.randn(T, B, I)
    assert torch.equal(graph(weights, x), call(weights, x))


def test_make_fx_above_the_modes_leaves_a_graph_that_computes():
    layer, x = unrolled.nn.GRU(I, H), torch.randn(T, B, I)
    graph = make_fx(lambda x: layer(x)[0], pre_dispatch=True)(torch.zeros(T, B, I))
    assert torch.equal(graph(x), layer(x)[0])


@pytest.mark.parametrize("tracing", ["real", "fake", "symbolic"])
def test_make_fx_leaves_gradients_by_sample_that_compute(tracing):
    layer = unrolled.nn.LSTM(I, H)
    weights = {key: w.detach() for key, w in layer.named_parameters()}
    of_sample = vmap(grad(lambda w, x: functional_call(layer, w, (x,))[0].sin().sum()), in_dims=(None, 0))
    graph = make_fx(of_sample, tracing_mode=tracing)(weights, torch.randn(3, T, B, I))
    x = torch.randn(3, T, B, I)
    assert_all_close(graph(weights, x), of_sample(weights, x))


@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}], ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_flops_are_those_of_torchs_layer(name, options):
    counted = []
    form = {"dtype": torch.float64, "requires_grad": True}  # torch does not count its float32 LSTM
    for layer in pair(name, I, H, dtype=torch.float64, **options):
        x = torch.randn(T, B, I, **form)
        state = hx(name, layer.num_layers * (1 + layer.bidirectional), B, H, **form)
        with FlopCounterMode(display=False) as forward:
            y, _ = layer(x, state)
        with FlopCounterMode(display=False) as backward:
            y.sum().backward()
        counted.append((forward.get_total_flops(), backward.get_total_flops()))
    assert counted[0] == counted[1]


@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}], ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_flops_past_the_end_of_a_row_are_not_counted(name, options):
    layer, lengths = getattr(unrolled.nn, name)(I, H, **options), torch.tensor([T, 1, 0])
    counted = []
    for x, given in ((torch.randn(T, 3, I), {"lengths": lengths}), (torch.randn(T + 1, 1, I), {})):
        x.requires_grad_()
        with FlopCounterMode(display=False) as forward:
            y, _ = layer(x, **given)
        with FlopCounterMode(display=False) as backward:
            y.sum().backward()
        counted.append((forward.get_total_flops(), backward.get_total_flops()))
    assert counted[0] == counted[1]


@pytest.mark.parametrize("name", [*LAYERS, "RNNCell", "LSTMCell", "GRUCell"])
def test_real_tensors_in_a_fake_mode_give_fake_results(name):
    module = getattr(unrolled.nn, name)(I, H)
    x = torch.randn(B, I) if name.endswith("Cell") else torch.randn(T, B, I)
    with FakeTensorMode(allow_non_fake_inputs=True):
        y, *_ = as_tuple(module(x))
    assert isinstance(y, FakeTensor)
    assert y.shape == (*x.shape[:-1], H)


@pytest.mark.parametrize("gradients", [True, False])
def test_zeros_without_memory_and_negative_views_are_numbers(gradients):
    layer, cell, nothing = unrolled.nn.GRU(I, H), unrolled.nn.GRUCell(I, H), torch._efficientzerotensor
    x = torch.randn(T, B, I)
    with torch.set_grad_enabled(gradients):
        assert_close("x", layer(nothing((T, B, I)))[0], layer(torch.zeros(T, B, I))[0], 0)
        assert_close("h", layer(x, nothing((1, B, H)))[0], layer(x)[0], 0)
        assert_close("cell", cell(nothing((B, I))), cell(torch.zeros(B, I)), 0)
        assert_close("negative", layer(torch._neg_view(x))[0], layer(-x)[0], 0)


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("name", ["GRU", "GRUCell"])
def test_what_a_transform_left_behind_is_numbers(name, gradients):
    kept = []
    grad(lambda x: (kept.append(x), x.sum())[1])(torch.randn(T, B, I))
    x = kept[0][0] if name.endswith("Cell") else kept[0]
    module = getattr(unrolled.nn, name)(I, H)
    with torch.set_grad_enabled(gradients):
        left, plain = as_tuple(module(x)), as_tuple(module(x.clone()))
    assert torch.equal(left[0], plain[0])
    assert left[0].requires_grad == gradients


def test_upstream_zeros_without_memory_give_no_gradient():
    layer, x = unrolled.nn.GRU(I, H), torch.randn(T, B, I, requires_grad=True)
    (dx,) = torch.autograd.grad(layer(x)[0], x, torch._efficientzerotensor((T, B, H)))
    assert torch.equal(dx, torch.zeros_like(x))


@pytest.mark.parametrize("of", ["input", "weight"])
def test_a_tensor_whose_memory_was_freed_is_an_error(of):
    layer, x = unrolled.nn.GRU(I, H), torch.randn(T, B, I)
    (x if of == "input" else layer.weight_hh_l0).untyped_storage().resize_(0)
    with torch.no_grad(), pytest.raises((RuntimeError, ValueError), match=r"cannot read|not allocated|out of bounds"):
        layer(x)


def half_of_nothing(*shape, freed):
    """A view that begins behind the null of a tensor without memory, or of one whose memory was freed."""
    both = torch.zeros(2, *shape) if freed else torch._efficientzerotensor((2, *shape))
    half = both[1]
    if freed:
        both.untyped_storage().resize_(0)
    return half


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_views_of_zeros_without_memory_are_numbers(name, gradients):
    layer, cell = getattr(unrolled.nn, name)(I, H, 2), getattr(unrolled.nn, f"{name}Cell")(I, H)
    x, nothing = torch.randn(T, B, I), half_of_nothing(2, B, H, freed=False)
    with torch.set_grad_enabled(gradients):
        assert_close("x", layer(half_of_nothing(T, B, I, freed=False))[0], layer(torch.zeros(T, B, I))[0], 0)
        assert_close("h", layer(x, (nothing, nothing) if name == "LSTM" else nothing)[0], layer(x)[0], 0)
        left, right = (as_tuple(cell(z))[0] for z in (half_of_nothing(B, I, freed=False), torch.zeros(B, I)))
        assert_close("cell", left, right, 0)
    y = layer(x.requires_grad_())[0]
    assert not torch.autograd.grad(y, x, half_of_nothing(T, B, H, freed=False))[0].any()


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("of", ["x", "h", "weight", "bias", "dy", "cell", "step"])
def test_views_of_memory_that_was_freed_are_an_error(of, gradients):
    layer, x = unrolled.nn.GRU(I, H), torch.randn(T, B, I)
    if of in ("weight", "bias"):
        weight = layer.weight_hh_l0 if of == "weight" else layer.bias_hh_l0
        weight.data = half_of_nothing(*weight.shape, freed=True)
    calls = {
        "x": lambda: layer(half_of_nothing(T, B, I, freed=True)),
        "h": lambda: layer(x, half_of_nothing(1, B, H, freed=True)),
        "dy": lambda: layer(x.requires_grad_())[0].backward(half_of_nothing(T, B, H, freed=True)),
        "cell": lambda: unrolled.nn.GRUCell(I, H)(half_of_nothing(B, I, freed=True)),
        "step": lambda: unrolled.nn.Stepper(layer, B)(half_of_nothing(B, I, freed=True)),
    }
    said = r"cannot read|not allocated|out of bounds|no array in memory|setStorage"
    with torch.set_grad_enabled(gradients or of == "dy"), pytest.raises((RuntimeError, ValueError), match=said):
        calls.get(of, lambda: layer(x))()


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("read", [{}, {"embedding": torch.randn(I, 3)}], ids=["one-hot", "embedding"])
def test_symbols_whose_memory_was_freed_are_an_error(read, gradients):
    layer, symbols = unrolled.nn.GRU(3 if read else I, H), torch.zeros(T, B, dtype=torch.int64)
    symbols.untyped_storage().resize_(0)
    with torch.set_grad_enabled(gradients), pytest.raises(RuntimeError, match="x has elements, but its data is not"):
        layer(symbols, **read)


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("freed", ["h_0", "h of reset_state", "sorted_indices", "batch_sizes of reset"])
def test_freed_memory_of_an_unsorted_packed_batch_is_an_error(freed, gradients):
    layer, h, h_reset = unrolled.nn.GRU(I, H), torch.randn(1, 2, H), torch.randn(1, 2, H)
    x = pack_padded_sequence(torch.randn(4, 2, I), [2, 4], enforce_sorted=False)
    reset = pack_padded_sequence(torch.rand(4, 2) < 0.5, [2, 4], enforce_sorted=False)
    reset = reset._replace(sorted_indices=x.sorted_indices)
    of = {"h_0": h, "h of reset_state": h_reset, "sorted_indices": x.sorted_indices}.get(freed, reset.batch_sizes)
    of.untyped_storage().resize_(0)
    with torch.set_grad_enabled(gradients), pytest.raises(RuntimeError, match=f"{freed} has elements, but its data"):
        layer(x, h, reset=reset, reset_state=h_reset)


def test_freed_lengths_of_symbols_read_through_an_embedding_are_an_error():
    layer, lengths = unrolled.nn.GRU(3, H), torch.tensor([2, 4])
    lengths.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="lengths has elements, but its data is not"):
        layer(torch.zeros(4, 2, dtype=torch.int64), lengths=lengths, embedding=torch.randn(20, 3))


def test_a_stepper_refuses_what_it_cannot_hand_on():
    step, x = unrolled.nn.Stepper(unrolled.nn.GRU(I, H), batch_size=B), torch.randn(B, I)
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(x)
    with pytest.raises(TypeError, match="x is a FakeTensor, expected a plain Tensor"):
        step(fake)
    with Seeing(), pytest.raises(TypeError, match="outside of torch's tracers, transforms and modes"):
        step(x)
    with pytest.raises(TypeError, match=r"use layer\.step"):
        vmap(step, in_dims=1, out_dims=1)(x[:, None])


SPARSE = {"coo": torch.Tensor.to_sparse, "csr": torch.Tensor.to_sparse_csr, "oneDNN": torch.Tensor.to_mkldnn}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("sparse", SPARSE)
@pytest.mark.parametrize("name", ["LSTM", "GRUCell"])
def test_what_is_sparse_is_named(name, sparse, gradient):
    cell = name.endswith("Cell")
    module, x = getattr(unrolled.nn, name)(4, 6), torch.randn(3, 4) if cell else torch.randn(5, 3, 4)
    weight = "weight_hh" if cell else "weight_hh_l0"
    given = SPARSE[sparse](getattr(module, weight).detach())
    delattr(module, weight)
    setattr(module, weight, given)
    with (
        torch.set_grad_enabled(gradient),
        pytest.raises(NotImplementedError, match=r"W_hh of weights\[0\] has the layout"),
    ):
        module(x)
    if cell:
        cell = unrolled.nn.GRUCell(4, 6)
        with torch.set_grad_enabled(gradient), pytest.raises(NotImplementedError, match="x has the layout torch"):
            cell(SPARSE[sparse](x))


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("sparse", SPARSE)
def test_what_is_sparse_is_named_in_steps_and_without_a_batch(sparse, gradient):
    layer, x = unrolled.nn.GRU(4, 6), SPARSE[sparse](torch.randn(3, 4))
    for call in (layer, layer.step):
        with torch.set_grad_enabled(gradient), pytest.raises(NotImplementedError, match="x has the layout torch"):
            call(x)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("sparse", SPARSE)
def test_what_is_sparse_is_named_in_a_stepper_a_reset_and_an_embedding(sparse, gradient):
    convert, gru, x = SPARSE[sparse], unrolled.nn.GRU(4, 6), torch.randn(3, 4)
    step, reset, states = unrolled.nn.Stepper(gru, 3), torch.rand(3) < 0.5, convert(torch.randn(1, 3, 6))
    calls = {
        "x": lambda: step(convert(x)),
        "the state": lambda: setattr(step, "state", states),
        "h of reset_state": lambda: step(x, reset=reset, reset_state=states),
        "embedding": lambda: gru(torch.zeros(5, 3, dtype=torch.int64), embedding=convert(x)),
    }
    if sparse != "oneDNN":  # which has no bool
        calls["reset"] = lambda: gru(x[None], reset=convert(reset[None].float()).bool())
    for name, call in calls.items():
        with (
            torch.set_grad_enabled(gradient),
            pytest.raises(NotImplementedError, match=f"^{name} has the layout torch"),
        ):
            call()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged], ids=str)
def test_what_is_nested_is_told_what_to_do(layout):
    rows = torch.nested.nested_tensor([torch.randn(5, 4), torch.randn(3, 4)], layout=layout)
    with pytest.raises(NotImplementedError, match="LSTM: input is a nested tensor; give torch"):
        unrolled.nn.LSTM(4, 6, batch_first=True)(rows)
    y, _ = unrolled.nn.LSTM(4, 6, batch_first=True)(
        torch.nested.to_padded_tensor(rows, 0.0), lengths=torch.tensor([5, 3])
    )
    assert y.shape == (2, 5, 6)
