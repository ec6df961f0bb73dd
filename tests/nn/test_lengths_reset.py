"""lengths, reset and trace, which torch.nn lacks, checked by what it has; test_reset.py has the states of a reset."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import unrolled.nn
from tests.nn.compare import assert_all_close, assert_close
from tests.nn.layers import LAYERS, as_tuple, gradients, hx

T, B, I, H = 7, 4, 3, 9


def make(name, **options):
    return getattr(unrolled.nn, name)(I, H, dtype=torch.float64, **options)


def state_of(layer, B=B):
    LD = layer.num_layers * (1 + layer.bidirectional)
    return hx(layer.kind, LD, B, H, dtype=torch.float64, requires_grad=True)


def leaves(layer, *inputs):
    return {**{f"input {k}": t for k, t in enumerate(inputs)}, **dict(layer.named_parameters())}


@given(
    lengths=st.lists(st.integers(1, T), min_size=B, max_size=B),
    batch_first=st.booleans(),
    L=st.integers(1, 2),
    bidirectional=st.booleans(),
    name=st.sampled_from(LAYERS),
)
def test_lengths_equal_a_packed_sequence(route, lengths, batch_first, L, bidirectional, name):
    layer = make(name, num_layers=L, bidirectional=bidirectional, batch_first=batch_first)
    x = torch.randn(*((B, T) if batch_first else (T, B)), I, dtype=torch.float64, requires_grad=True)
    state = state_of(layer)
    packed = pack_padded_sequence(x, lengths, batch_first, enforce_sorted=False)
    y_packed, end_packed = layer(packed, state)
    want = pad_packed_sequence(y_packed, batch_first, total_length=T)[0]
    y, end = layer(x, state, lengths=torch.tensor(lengths))
    assert_close("y", y, want)
    for k, (got, expected) in enumerate(zip(as_tuple(end), as_tuple(end_packed), strict=True)):
        assert_close(f"final {k}", got, expected)

    def loss(y, end):
        return (y * torch.arange(y.numel()).reshape(y.shape)).sum() + sum(s.pow(2).sum() for s in as_tuple(end))

    wanted = leaves(layer, x, *as_tuple(state))
    assert_all_close(gradients(loss(y, end), wanted), gradients(loss(want, end_packed), wanted))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_row_of_length_zero_keeps_its_initial_state(route, name, bidirectional):
    layer = make(name, bidirectional=bidirectional)
    x, state = torch.randn(T, B, I, dtype=torch.float64), state_of(layer)
    y, end = layer(x, state, lengths=torch.tensor([0, T, 0, 2]))
    assert not y[:, [0, 2]].any()
    for got, want in zip(as_tuple(end), as_tuple(state), strict=True):
        assert torch.equal(got[:, [0, 2]], want[:, [0, 2]])
        assert not torch.equal(got[:, 1], want[:, 1])
    all_empty, end = layer(x, state, lengths=torch.zeros(B, dtype=torch.int64))
    assert not all_empty.any()
    (found,) = torch.autograd.grad(as_tuple(end)[0].sum(), [as_tuple(state)[0]])
    assert torch.equal(found, torch.ones_like(found))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("junk", [float("nan"), 1e300], ids=str)
def test_what_lies_past_the_end_is_never_looked_at(route, name, junk):
    layer = make(name, bidirectional=True, num_layers=2)
    lengths = torch.tensor([3, 0, 7, 1])
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    past = (torch.arange(T)[:, None] >= lengths)[..., None]
    soiled = torch.where(past, junk, x.detach()).requires_grad_()
    results = []
    for source in (x, soiled):
        y, end = layer(source, lengths=lengths)
        loss = y.pow(2).sum() + sum(s.sum() for s in as_tuple(end))
        results.append({"y": y, **gradients(loss, leaves(layer, source))})
    assert_all_close(*results)
    assert not results[0]["input 0"][past.expand_as(x)].any()


def test_one_hot_indices_past_the_end_may_be_anything(route):
    layer = make("GRU")
    ids = torch.tensor([[0, 2], [1, -100], [2, 99]])
    y, _ = layer(ids, lengths=torch.tensor([3, 1]))
    want, _ = layer(ids.clamp(0, 2), lengths=torch.tensor([3, 1]))
    assert torch.equal(y, want)


@pytest.mark.parametrize("name", LAYERS)
def test_reset_turns_round_with_the_reverse_direction(route, name):
    """Backwards, the state returns before step t as well: steps t, t-1, ... no longer know of t+1."""
    layer = make(name, bidirectional=True)
    x = torch.randn(T, B, I, dtype=torch.float64)
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[4, 2] = True
    y, _ = layer(x, reset=reset)
    cut = torch.cat([layer(x[:5])[0][..., H:], layer(x[5:])[0][..., H:]])
    assert_close("reverse", y[:, 2, H:], cut[:, 2])
    plain, _ = layer(x)
    assert_close("other rows", y[:, [0, 1, 3]], plain[:, [0, 1, 3]])


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("as_packed", [False, True])
def test_reset_of_a_packed_sequence_equals_that_of_a_padded_one(route, name, as_packed):
    layer = make(name, bidirectional=True, num_layers=2)
    x, reset, lengths = torch.randn(T, B, I, dtype=torch.float64), torch.rand(T, B) < 0.4, [7, 5, 5, 2]
    packed_x, packed_reset = (pack_padded_sequence(t, lengths) for t in (x, reset))
    y, end = layer(packed_x, reset=packed_reset if as_packed else packed_reset.data)
    want, want_end = layer(x, lengths=torch.tensor(lengths), reset=reset)
    assert_close("y", pad_packed_sequence(y)[0], want)
    for got, expected in zip(as_tuple(end), as_tuple(want_end), strict=True):
        assert_close("final", got, expected)


@pytest.mark.parametrize("name", LAYERS)
def test_single_sequence_takes_scalar_length_and_one_reset_a_step(route, name):
    layer = make(name, batch_first=True)
    x, reset = torch.randn(T, I, dtype=torch.float64), torch.tensor([False] * 3 + [True] + [False] * 3)
    y, end = layer(x, lengths=torch.tensor(5), reset=reset)
    want, want_end = layer(x[None], lengths=torch.tensor([5]), reset=reset[None])
    assert torch.equal(y, want[0])
    assert torch.equal(as_tuple(end)[0], as_tuple(want_end)[0][:, 0])


GATES = {"RNN": [], "LSTM": ["i", "f", "g", "o"], "GRU": ["r", "z", "n", "hn"]}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("gradient", [False, True])
def test_trace_satisfies_the_equations(route, name, gradient):
    layer = make(name).requires_grad_(gradient)
    x = torch.randn(T, B, I, dtype=torch.float64)
    y, _, trace = layer(x, trace=True)
    assert list(trace.gates) == GATES[name]
    assert torch.equal(trace.h, y)
    assert not trace.h.requires_grad
    before = torch.cat([torch.zeros(1, B, H), y[:-1].detach()])
    if name == "LSTM":
        i, f, g, o = (trace.gates[gate] for gate in "ifgo")
        assert_close("c", trace.c, f * torch.cat([torch.zeros(1, B, H), trace.c[:-1]]) + i * g)
        assert_close("h", y, o * trace.c.tanh())
        assert_close("i", i, (x @ layer.W_ii.T + layer.b_ii + before @ layer.W_hi.T + layer.b_hi).sigmoid())
    elif name == "GRU":
        r, z, n, hn = (trace.gates[gate] for gate in ("r", "z", "n", "hn"))
        assert trace.c is None
        assert_close("h", y, (1 - z) * n + z * before)
        assert_close("hn", hn, before @ layer.W_hn.T + layer.b_hn)
        assert_close("n", n, (x @ layer.W_in.T + layer.b_in + r * hn).tanh())


@pytest.mark.parametrize("form", ["batch_first", "unbatched", "packed"])
def test_trace_is_laid_out_as_the_output(route, form):
    layer = make("LSTM", num_layers=2, bidirectional=True, batch_first=form == "batch_first", dropout=0.5)
    x = torch.randn(*((T,) if form == "unbatched" else (B, T)), I, dtype=torch.float64)
    given = pack_padded_sequence(x.transpose(0, 1), [T, 5, 5, 1]) if form == "packed" else x
    y, _, trace = layer(given, trace=True)
    assert len(trace.layers) == 2
    for below in (trace, *trace.layers):
        for rows in (below.h, below.c, below.gates["f"]):
            if form == "packed":
                assert isinstance(rows, PackedSequence)
                assert rows.data.shape == y.data.shape
            else:
                assert rows.shape == y.shape


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_trace_is_zero_past_the_end(route, name):
    layer = make(name, batch_first=True)
    _, _, trace = layer(torch.randn(B, T, I).double(), lengths=torch.tensor([0, 3, 7, 1]), trace=True)
    for rows in (trace.h, *trace.gates.values(), *([trace.c] if name == "LSTM" else [])):
        assert not rows[1, 3:].any()
        assert not rows[0].any()
        assert rows[1, :3].any()


def test_trace_changes_nothing_else(route):
    layer = make("GRU")
    x = torch.randn(T, B, I).double()
    y, h_n = layer(x)
    traced, traced_end, _ = layer(x, trace=True)
    assert torch.equal(y, traced)
    assert torch.equal(h_n, traced_end)


@pytest.mark.parametrize("argument", ["lengths", "reset", "symbols", "batch_sizes"])
@pytest.mark.parametrize("name", LAYERS)
def test_gradient_is_that_of_the_call_when_numpy_memory_is_used_again(name, argument):
    layer, B, T = getattr(unrolled.nn, name)(4, 6), 3, 7
    x, options = torch.randn(T, B, 4), {}
    if argument == "lengths":
        memory, other = np.array([2, 3, 7]), 7
        options["lengths"] = torch.from_numpy(memory)
    elif argument == "reset":
        memory, other = np.arange(T * B).reshape(T, B) % 4 == 0, True
        options["reset"] = torch.from_numpy(memory)
    elif argument == "symbols":
        memory, other = np.arange(T * B).reshape(T, B) % 4, 0
        x = torch.from_numpy(memory)
    else:
        memory, other = np.array([3, 3, 2, 1]), np.array([3, 2, 2, 2])
        x = PackedSequence(torch.randn(9, 4), torch.from_numpy(memory))

    def gradient_after(change):
        layer.zero_grad()
        y = layer(x, **options)[0]
        y = (y.data if isinstance(y, PackedSequence) else y).square().sum()
        kept = memory.copy()
        memory[...] = change
        y.backward()
        memory[...] = kept
        return layer.weight_hh_l0.grad.clone()

    assert torch.equal(gradient_after(other), gradient_after(memory.copy()))


@pytest.mark.parametrize("grad", [False, True])
def test_lengths_whose_memory_was_freed_are_refused(grad):
    lengths, layer, x = torch.tensor([5, 3]), unrolled.nn.GRU(4, 6), torch.randn(5, 2, 4)
    lengths.untyped_storage().resize_(0)
    with torch.set_grad_enabled(grad), pytest.raises(RuntimeError, match="lengths has elements, but its data is not"):
        layer(x, lengths=lengths)
