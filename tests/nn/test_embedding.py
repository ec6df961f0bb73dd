"""forward(embedding=): symbols read through an embedding, against torch.nn.functional.embedding and a stock layer."""

import pytest
import torch
from torch.func import functional_call, grad, vmap
from torch.nn.functional import embedding
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import unrolled.nn
from tests.nn.compare import assert_all_close, assert_close
from tests.nn.layers import LAYERS, as_tuple, gradients

T, B, I, H = 7, 3, 5, 9
#: Fewer symbols than positions, which are read one-hot, and more, whose rows are looked up.
SIZES = pytest.mark.parametrize("V", [4, 40], ids=["V<T*B", "V>T*B"])


def make(name, V, **options):
    """A layer of torch, ours with the same weights, an embedding and ids (T, B) of some of its symbols."""
    stock = getattr(torch.nn, name)(I, H, dtype=torch.float64, **options)
    E = torch.randn(V, I, dtype=torch.float64, requires_grad=True)
    return stock, unrolled.nn.from_torch(stock), E, torch.randint(0, V, (T, B))


def outputs_and_gradients(layer, E, y, end):
    """Outputs, and gradients of E and of every weight by name."""
    y = y.data if isinstance(y, PackedSequence) else y
    states = as_tuple(end)
    loss = y.sin().sum() + sum(s.cos().sum() for s in states)
    return {"y": y, **dict(enumerate(states)), **gradients(loss, {"E": E, **dict(layer.named_parameters())})}


@SIZES
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("form", ["plain", "batch_first", "single", "packed", "dropout"])
def test_embedding_matches_torch(route, name, form, V):
    options = {"num_layers": 2, "bidirectional": True, "batch_first": form in ("batch_first", "dropout")}
    options |= {"proj_size": 3} if name == "LSTM" else {}
    stock, ours, E, ids = make(name, V, **options, dropout=0.4 if form == "dropout" else 0.0)
    ids = ids[:, 0] if form == "single" else ids.t() if options["batch_first"] else ids
    rows = embedding(ids, E)
    if form == "packed":
        lengths = torch.tensor([4, 7, 1])
        ids, rows = (pack_padded_sequence(t, lengths, enforce_sorted=False) for t in (ids, rows))
    found = []
    for layer, given, more in ((ours, ids, {"embedding": E}), (stock, rows, {})):
        torch.manual_seed(3)  # of dropout
        found.append(outputs_and_gradients(stock, E, *layer(given, **more)))
    assert_all_close(*found)


@SIZES
@pytest.mark.parametrize("name", LAYERS)
def test_embedding_takes_lengths_reset_and_trace(route, name, V):
    _, ours, E, ids = make(name, V, bidirectional=True)
    lengths, reset = torch.tensor([7, 0, 4]), torch.rand(T, B) < 0.3
    rows = embedding(ids, E)
    past = torch.arange(T)[:, None] >= lengths
    ids = torch.where(past, 10**9, ids)  # is never looked at
    options = {"lengths": lengths, "reset": reset, "trace": True}
    (y, end, got), (want_y, want_end, want) = ours(ids, embedding=E, **options), ours(rows, **options)
    assert_all_close(outputs_and_gradients(ours, E, y, end), outputs_and_gradients(ours, E, want_y, want_end))
    assert_all_close(got.gates, want.gates)


@SIZES
@pytest.mark.parametrize("name", LAYERS)
def test_embedding_under_torch_func(name, V):
    _, ours, E, _ = make(name, V)
    ids, parameters = torch.randint(0, V, (2, T, B)), {k: w.detach() for k, w in ours.named_parameters()}

    def loss(E, ids, looked_up):
        given, more = (embedding(ids, E), {}) if looked_up else (ids, {"embedding": E})
        return functional_call(ours, parameters, (given,), more)[0].sin().sum()

    got, want = (vmap(grad(loss), in_dims=(None, 0, None))(E.detach(), ids, looked_up) for looked_up in (False, True))
    assert_close("dE", got, want)


@SIZES
@pytest.mark.parametrize("name", LAYERS)
def test_embedding_in_a_compiled_layer(name, V):
    torch._dynamo.reset()
    _, ours, E, ids = make(name, V, num_layers=2)
    compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
    assert_all_close(
        outputs_and_gradients(ours, E, *compiled(ids, embedding=E)),
        outputs_and_gradients(ours, E, *ours(ids, embedding=E)),
    )


@SIZES
def test_embedding_in_an_exported_layer_of_any_length(V):
    class Reader(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.rnn = torch.nn.Embedding(V, I), unrolled.nn.GRU(I, H)

        def forward(self, ids):
            return self.rnn(ids, embedding=self.embedding.weight)[0]

    reader, steps = Reader(), torch.export.Dim("steps", min=2, max=500)
    program = torch.export.export(reader, (torch.randint(0, V, (T, B)),), dynamic_shapes=({0: steps},)).module()
    for length in (T, 2, 60):
        ids = torch.randint(0, V, (length, B))
        assert_close("y", program(ids), reader(ids))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@SIZES
def test_embedding_of_a_half_type(dtype, V):
    _, ours, E, ids = make("GRU", V)
    got, _ = ours.to(dtype)(ids, embedding=E.to(dtype))
    want, _ = ours.double()(embedding(ids, E))
    assert_close("y", got, want.to(dtype))


def test_embedding_on_another_device_goes_to_torchs_operator():
    layer = unrolled.nn.GRU(I, H, device="meta")
    y, _ = layer(torch.zeros(T, B, dtype=torch.int64, device="meta"), embedding=torch.zeros(4, I, device="meta"))
    assert y.shape == (T, B, H)


@SIZES
@pytest.mark.parametrize("index", [-1, "V"])
def test_index_outside_the_embedding_names_index_place_and_V(route, V, index):
    _, ours, E, ids = make("LSTM", V)
    ids[2, 1] = index = V if index == "V" else index
    with pytest.raises(
        IndexError, match=rf"index {index} at input\[2, 1\] .* 0 to {V - 1}, .* embedding \(V, I\), V - 1"
    ):
        ours(ids, embedding=E)


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        (lambda ids, E: (E[ids], E), ValueError, r"input must be an int64 tensor of indices, got a float64 tensor of"),
        (lambda ids, E: (ids, "E"), TypeError, r"embedding must be a tensor of shape \(V, input_size = 5\), got str"),
        (
            lambda ids, E: (ids, E[:, 1:]),
            ValueError,
            r"embedding is a float64 tensor of shape \(40, 4\) on cpu, expected",
        ),
        (lambda ids, E: (ids, E.float()), ValueError, "embedding is a float32 tensor .* expected torch.float64"),
        (lambda ids, E: (ids, E.to("meta")), ValueError, "on meta, expected .* on cpu"),
    ],
    ids=["vectors", "no tensor", "width", "type", "device"],
)
def test_embedding_that_does_not_fit_is_refused(given, error, text):
    _, ours, E, ids = make("GRU", 40)
    x, E = given(ids, E)
    with pytest.raises(error, match=text):
        ours(x, embedding=E)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@SIZES
def test_layer_that_ignores_autocast_reads_an_embedding_in_float32(V, dtype):
    gru, E, symbols = unrolled.nn.GRU(I, H), torch.randn(V, I), torch.randint(V, (T, B))
    want, _ = gru(symbols, embedding=E)
    with torch.autocast("cpu", dtype):
        assert torch.equal(gru(symbols, embedding=E)[0], want)
