"""torch.compile without a graph break, torch.export with dynamic sizes: same numbers, one graph node per layer."""

import io

import pytest
import torch
from torch.autograd import forward_ad
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import unrolled.nn
from tests.nn.compare import assert_all_close, assert_close
from tests.nn.layers import LAYERS, as_tuple, gradients, hx
from unrolled.notation import Weights, weight_shapes

# torch's remarks about itself: inductor scripts a module of its own, forward mode its decompositions, and exporting
# torch's LSTM reassigns its caches.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated"),
    pytest.mark.filterwarnings("ignore:The tensor attributes self._flat_weights"),
]

T, B, I, H = 5, 3, 4, 7


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()


def outputs_and_gradients(call, layer, x):
    y, end = call(x)
    loss = y.pow(2).sum() + as_tuple(end)[-1].sum()
    return {"y": y, **gradients(loss, {"x": x, **dict(layer.named_parameters())})}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True, "batch_first": True}], ids=str)
def test_compiled_layer_equals_eager_at_every_size_without_a_graph_break(name, options):
    layer = getattr(unrolled.nn, name)(I, H, **options)
    graphs = []

    def counting(graph, inputs):
        graphs.append(graph)
        return graph

    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    torch.compile(layer, fullgraph=True, backend=counting)(torch.randn(T, B, I))
    assert len(graphs) == 1
    nodes = [
        n for n in graphs[0].graph.nodes if n.target in (torch.ops.unrolled.layer, torch.ops.unrolled.layer.default)
    ]
    assert len(nodes) == layer.num_layers
    for size in ((T, B), (9, 2), (2, 6)):
        x = torch.randn(*size, I, requires_grad=True)
        assert_all_close(outputs_and_gradients(compiled, layer, x), outputs_and_gradients(layer, layer, x))


def test_a_stack_is_nothing_that_inductor_compiles_with_a_c_compiler():
    """Half of the time that six layers take to compile would be that of joining their last states."""
    layer, x = unrolled.nn.LSTM(I, H, num_layers=2), torch.randn(T, B, I, requires_grad=True)
    compiled = torch.compile(layer, fullgraph=True)
    _, codes = torch._inductor.utils.run_and_get_code(outputs_and_gradients, compiled, layer, x)
    assert codes
    assert not [code for code in codes if "cpp_fused" in code]


def test_compiled_with_inductor_equals_eager():
    layer = unrolled.nn.LSTM(I, H)
    model = torch.nn.Sequential(torch.nn.Linear(I, I), layer)
    x = torch.randn(T, B, I, requires_grad=True)
    compiled = torch.compile(model, fullgraph=True)
    assert_all_close(outputs_and_gradients(compiled, model, x), outputs_and_gradients(model, model, x))


@pytest.mark.parametrize("name", LAYERS)
def test_compiled_layer_takes_lengths_reset_trace_state_and_symbols(name):
    layer = getattr(unrolled.nn, name)(I, H)

    def call(ids, hx, lengths, reset, reset_state):
        y, end, trace = layer(ids, hx, lengths=lengths, reset=reset, reset_state=reset_state, trace=True)
        return y, end, trace.h, trace.gates

    arguments = (
        torch.randint(0, I, (T, B)),
        hx(name, 1, B, H),
        torch.tensor([5, 0, 3]),
        torch.rand(T, B) < 0.4,
        hx(name, 1, B, H),
    )
    got, want = torch.compile(call, fullgraph=True, backend="aot_eager")(*arguments), call(*arguments)
    for a, b in zip(torch.utils._pytree.tree_leaves(got), torch.utils._pytree.tree_leaves(want), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("form", ["padded", "packed"])
def test_compiled_layer_has_the_gradients_of_eager_with_resets(name, form):
    layer = getattr(unrolled.nn, name)(I, H, num_layers=2, bidirectional=True)
    rows = packed([5, 3, 2], enforce_sorted=False) if form == "packed" else torch.randn(T, B, I, requires_grad=True)
    x = rows.data if form == "packed" else rows
    reset, to = torch.rand(x.shape[:-1]) < 0.4, hx(name, 4, 3 if form == "packed" else B, H, requires_grad=True)

    def results(call):
        y, end = call(rows, reset=reset, reset_state=to)
        loss = y.data.pow(2).sum() + sum(s.sin().sum() for s in as_tuple(end))
        leaves = {"x": x, **dict(enumerate(as_tuple(to))), **dict(layer.named_parameters())}
        return {"y": y.data, **gradients(loss, leaves)}

    want = results(layer)
    got = results(torch.compile(layer, fullgraph=True, backend="aot_eager", dynamic=True))
    assert [k for k in want if not torch.equal(got[k], want[k])] == []


def packed(lengths, enforce_sorted):
    """A packed batch whose data is a leaf; in the order given, longest first, or in the reverse one."""
    lengths = torch.tensor(lengths if enforce_sorted else lengths[::-1])
    made = pack_padded_sequence(
        torch.randn(int(lengths.max()), len(lengths), I), lengths, enforce_sorted=enforce_sorted
    )
    return PackedSequence(made.data.clone().requires_grad_(), *made[1:])


@pytest.mark.parametrize(
    ("name", "enforce_sorted", "with_state"),
    [("LSTM", True, False), ("LSTM", False, True), ("GRU", True, True), ("GRU", False, False)],
)
def test_one_compiled_layer_has_the_bits_of_eager_on_every_packed_batch(name, enforce_sorted, with_state):
    layer = getattr(unrolled.nn, name)(I, H, num_layers=2, bidirectional=True)
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    for lengths in ([5, 3, 2], [7, 7, 4, 1], [2, 2, 2, 2, 1]):
        rows = packed(lengths, enforce_sorted)
        state = hx(name, 4, len(lengths), H, requires_grad=True) if with_state else None

        def results(call, rows=rows, state=state):
            y, end = call(rows, state)
            loss = y.data.pow(2).sum() + sum(s.sin().sum() for s in as_tuple(end))
            leaves = {"x": rows.data, **dict(layer.named_parameters())}
            leaves |= {f"h{k}": s for k, s in enumerate(as_tuple(state))} if with_state else {}
            return {"y": y.data, **dict(enumerate(as_tuple(end))), **gradients(loss, leaves)}

        with torch._dynamo.config.patch(error_on_recompile=True):
            got = results(compiled)
        want = results(layer)
        assert [k for k in want if not torch.equal(got[k], want[k])] == []


def test_compiled_layer_still_checks_what_is_packed():
    layer = unrolled.nn.GRU(I, H)
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    good = packed([2, 2, 1], enforce_sorted=True)  # batch sizes 3, 2
    alone = packed([5], enforce_sorted=True)
    for rows in (good, alone):
        assert torch.equal(compiled(rows)[1], layer(rows)[1])
    for sizes in ([2, 3], [3, 3], [6, -1]):
        bad = PackedSequence(good.data, torch.tensor(sizes))
        for call in (layer, compiled):
            with pytest.raises(
                RuntimeError, match=r"batch_sizes must not be negative or increase and must sum to the 5"
            ):
                call(bad)
    for call in (layer, compiled):
        with pytest.raises(RuntimeError, match=r"Expected hidden size \(1, 3, 7\), got \[1, 4, 7\]"):
            call(good, torch.zeros(1, 4, H))


@pytest.mark.parametrize("name", LAYERS)
def test_equations_compile_whole_too(name, monkeypatch):
    monkeypatch.setenv("UNROLLED_BACKEND", "reference")
    layer = getattr(unrolled.nn, name)(I, H, bidirectional=True)
    x = torch.randn(3, 2, I, requires_grad=True)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert_all_close(outputs_and_gradients(compiled, layer, x), outputs_and_gradients(layer, layer, x))


def test_compiled_layer_still_checks_its_symbols():
    layer = torch.compile(unrolled.nn.GRU(I, H), fullgraph=True, backend="aot_eager")
    with pytest.raises(IndexError, match="one-hot index 4 at input"):
        layer(torch.full((T, B), I))


def test_compiled_layer_in_training_draws_dropout():
    layer = torch.compile(unrolled.nn.LSTM(I, H, num_layers=2, dropout=0.5), fullgraph=True, backend="aot_eager")
    x = torch.randn(T, B, I)
    assert not torch.equal(layer(x)[0], layer(x)[0])


def test_compiled_layer_under_autocast_and_in_half_precision():
    layer, x = unrolled.nn.LSTM(I, H), torch.randn(T, B, I)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(compiled(x)[0], layer(x)[0])
    layer.bfloat16()
    assert torch.equal(compiled(x.bfloat16())[0], layer(x.bfloat16())[0])


def test_compiled_layer_without_gradient_saves_nothing():
    layer = unrolled.nn.LSTM(I, H)
    graphs = []

    def spy(graph, inputs):
        graphs.append(graph)
        return graph

    with torch.no_grad():
        torch.compile(layer, fullgraph=True, backend=spy)(torch.randn(T, B, I))
    (node,) = (n for n in graphs[0].graph.nodes if "unrolled.layer" in str(n.target))
    assert node.args[-1] is False


@pytest.mark.parametrize("name", LAYERS)
def test_export_keeps_time_and_batch_dynamic(name):
    layer = getattr(unrolled.nn, name)(I, H, num_layers=2).eval()
    sizes = {0: torch.export.Dim("T"), 1: torch.export.Dim("B")}
    program = torch.export.export(layer, (torch.randn(T, B, I),), dynamic_shapes=(sizes,))
    stored = io.BytesIO()
    torch.export.save(program, stored)
    stored.seek(0)
    loaded = torch.export.load(stored).module()
    for size in ((T, B), (11, 2), (2, 8)):
        x = torch.randn(*size, I)
        assert_close(f"{size}", loaded(x)[0], layer(x)[0], 0)


@pytest.mark.parametrize(
    "transform", [torch.vmap, lambda f: torch.func.grad(lambda x: f(x).sum())], ids=["vmap", "grad"]
)
def test_transforms_inside_a_compiled_function_equal_those_outside(transform):
    layer = unrolled.nn.GRU(I, H)
    call = transform(lambda x: layer(x)[0])
    x = torch.randn(T, B, I)
    assert_close("y", torch.compile(call, fullgraph=True, backend="aot_eager")(x), call(x))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("trained", [True, False])
def test_jit_trace_leaves_the_sizes_open_and_is_stored(trained):
    layer = unrolled.nn.LSTM(I, H, num_layers=2, bidirectional=True).requires_grad_(trained)
    stored = io.BytesIO()
    torch.jit.save(torch.jit.trace(layer, torch.randn(T, B, I)), stored)
    stored.seek(0)
    loaded = torch.jit.load(stored)
    x = torch.randn(9, 2, I)
    assert torch.equal(loaded(x)[0], layer(x)[0])
    if trained:
        assert_all_close(*(gradients(m(x)[0].sin().sum(), dict(m.named_parameters())) for m in (loaded, layer)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("trained", [True, False])
def test_jit_trace_leaves_the_batch_sizes_of_a_packed_batch_open(trained):
    class Packed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = unrolled.nn.LSTM(I, H, num_layers=2, bidirectional=True).requires_grad_(trained)

        def forward(self, data, batch_sizes):
            return self.layer(PackedSequence(data, batch_sizes))[0].data

    module = Packed()
    traced = torch.jit.trace(module, (torch.randn(5, I), torch.tensor([2, 2, 1])))
    for batch_sizes in ([3, 3, 1], [3, 2, 1, 1], [1], [2, 2, 1]):
        given = torch.randn(sum(batch_sizes), I), torch.tensor(batch_sizes)
        assert torch.equal(traced(*given), module(*given))


def test_exported_program_can_be_transformed():
    layer, x = unrolled.nn.GRU(I, H, num_layers=2, dtype=torch.float64), torch.randn(T, B, I, dtype=torch.float64)
    with torch.no_grad():
        program = torch.export.export(layer, (x,)).module()
    calls = [lambda x, m=m: m(x)[0].sin() for m in (program, layer)]
    assert_close("grad", *(torch.func.grad(lambda x, c=c: c(x).sum())(x) for c in calls))
    many = torch.randn(4, T, B, I, dtype=torch.float64)
    assert_close("vmap", *(torch.vmap(c)(many) for c in calls))
    assert_close("vmap of grad", *(torch.vmap(torch.func.grad(lambda x, c=c: c(x).sum()))(many) for c in calls))


def test_to_torch_exports_for_runtimes_that_know_only_torch():
    layer = unrolled.nn.LSTM(I, H)
    x = torch.randn(T, B, I)
    program = torch.export.export(layer.to_torch(), (x,))
    assert_close("y", program.module()(x)[0], layer(x)[0])


def present_of(weights):
    """Which fields of `Weights` are there, where the last ones are not."""
    return [k < len(weights) for k in range(len(Weights._fields))]


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("RNN_TANH", "dense"),
        ("RNN_RELU", "one-hot"),
        ("LSTM", "dense"),
        ("GRU", "ragged"),
        ("LSTM", "one-hot"),
        ("GRU", "resets"),
    ],
)
def test_registered_operator_keeps_its_contract(kind, form):
    H = 16  # a whole line: where vectors are shorter, its lanes past H are never written, and two calls differ there
    weights = [torch.randn(s, requires_grad=True) for s in weight_shapes(kind, I, H).values()]
    x = torch.randint(0, I, (T, B)) if form == "one-hot" else torch.randn(T, B, I, requires_grad=True)
    h_0 = torch.randn(1, B, H, requires_grad=True)
    lengths = torch.tensor([5, 2, 0]) if form == "ragged" else None
    reset, h_reset = (torch.rand(T, B) < 0.4, h_0.detach().neg().requires_grad_()) if form == "resets" else (None, None)
    states = (h_0, None, h_reset, None)
    arguments = (kind, False, lengths, None, reset, x, *states, present_of(weights), weights, 0, True)
    checks = ["test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic"]
    if form == "ragged":  # what is saved past the end of a row is never written, so two calls differ there
        checks.remove("test_aot_dispatch_dynamic")
    torch.library.opcheck(torch.ops.unrolled.layer.default, arguments, test_utils=checks)


@pytest.mark.parametrize("needs", [[True] * 9, [False, True, False, False, True, True, False, False, True]], ids=str)
def test_registered_backward_has_the_shapes_its_fake_says(needs):
    weights = [torch.randn(s) for s in weight_shapes("LSTM", I, H).values()]
    x, h_0, c_0 = torch.randn(T, B, I), torch.randn(1, B, H), torch.randn(1, B, H)
    reset, h_reset, c_reset = torch.rand(T, B) < 0.4, torch.randn(1, B, H), torch.randn(1, B, H)
    states = (h_0, c_0, h_reset, c_reset)
    inputs = ("LSTM", False, None, None, reset, x, *states, present_of(weights), weights)
    y, _, c_n, saved = torch.ops.unrolled.layer(*inputs, 0, True)
    arguments = (*inputs, y, saved, torch.ones_like(y), None, torch.ones_like(c_n), 0, needs)
    torch.library.opcheck(
        torch.ops.unrolled.layer_backward.default, arguments, test_utils=["test_schema", "test_faketensor"]
    )


def test_fake_tensors_pass_through_without_being_read():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        layer = unrolled.nn.LSTM(I, H, bidirectional=True)
        x = torch.randn(T, B, I)
        assert "registered operator" in unrolled.nn.explain_backend(layer, x).why
        y, (h_n, c_n) = layer(x)
    assert (y.shape, h_n.shape, c_n.shape) == ((T, B, 2 * H), (2, B, H), (2, B, H))


def test_exported_trace_has_no_forward_mode_derivatives():
    class Traced(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = unrolled.nn.GRU(3, 5)

        def forward(self, x):
            _, _, trace = self.gru(x, trace=True)
            return trace.gates["z"]

    x = torch.randn(4, 2, 3)
    program = torch.export.export(Traced(), (x,)).module()
    with forward_ad.dual_level(), pytest.raises(NotImplementedError, match=r"trace=True .* call the module"):
        program(forward_ad.make_dual(x, torch.ones_like(x)))
