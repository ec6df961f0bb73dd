"""reset and reset_state, against the masked loop that recurrent policies are trained with."""

from itertools import pairwise

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import unrolled.nn
from tests.core.cases import assert_same_bits
from tests.nn.compare import assert_all_close, assert_close
from tests.nn.layers import LAYERS, as_tuple, gradients, hx

T, B, I, H = 7, 5, 3, 9
DTYPES = [torch.float32, torch.float64]


def some_resets(T=T, B=B):
    """Row 0 starts with a reset, row 1 has two in a row, the last row none."""
    reset = torch.rand(T, B) < 0.3
    reset[0, 0] = reset[2:4, 1] = True
    reset[0, 1:] = reset[:, -1] = False
    return reset


def masked_loop(layer, x, state, reset, reset_state=None, lengths=None):
    """Outputs (T, B, D*P) and final states by torch's own layers, a step at a time: (1 - done) * state before each.

    A stack is one torch layer a layer and direction; x (T, B, I), states (L*D, B, P or H).
    """
    T, B = x.shape[:2]
    L, D, kept = layer.num_layers, 1 + layer.bidirectional, (1 - reset.to(x.dtype))[..., None]
    lengths = torch.full((B,), T) if lengths is None else lengths
    finals = []
    for k in range(L):
        outputs = []
        for d in range(D):
            alone, names = one_direction(layer, k, d), layer._all_weights[k * D + d]
            weights = {new: getattr(layer, old) for new, old in zip(alone._all_weights[0], names, strict=True)}
            now = tuple(s[k * D + d] for s in as_tuple(state))
            to = (0, 0) if reset_state is None else tuple(s[k * D + d] for s in as_tuple(reset_state))
            y = [None] * T
            for t in reversed(range(T)) if d else range(T):
                before = tuple(kept[t] * s + (1 - kept[t]) * r for s, r in zip(now, to, strict=False))
                given = tuple(s[None] for s in before)
                out, after = torch.func.functional_call(
                    alone, weights, (x[t : t + 1], given if len(given) == 2 else given[0])
                )
                here = (t < lengths)[:, None]
                y[t] = torch.where(here, out[0], 0)
                now = tuple(torch.where(here, a[0], s) for a, s in zip(as_tuple(after), now, strict=True))
            outputs.append(torch.stack(y))
            finals.append(now)
        x = torch.cat(outputs, -1)
    return x, tuple(torch.stack(s) for s in zip(*finals, strict=True))


def one_direction(layer, k, d):
    """torch's layer with the shapes of one layer and direction."""
    options = {"nonlinearity": layer.nonlinearity} if hasattr(layer, "nonlinearity") else {}
    options |= {"proj_size": layer.proj_size} if layer.proj_size else {}
    width = getattr(layer, layer._all_weights[k * (1 + layer.bidirectional) + d][0]).shape[1]
    dtype = layer.weight_hh_l0.dtype
    return layer.stock(width, layer.hidden_size, bias=layer.bias, dtype=dtype, **options)


def made(name, dtype, **options):
    layer = getattr(unrolled.nn, name)(I, H, dtype=dtype, **options)
    LD = layer.num_layers * (1 + layer.bidirectional)

    def state():
        h = torch.randn(LD, B, layer.proj_size or H, dtype=dtype, requires_grad=True)
        return (h, torch.randn(LD, B, H, dtype=dtype, requires_grad=True)) if "LSTM" in name else h

    x = torch.randn(T, B, I, dtype=dtype, requires_grad=True)
    return layer, x, state(), state()


def results(layer, y, end, **inputs):
    """Outputs, final states and every gradient by name."""
    scale = torch.arange(1, y.numel() + 1, dtype=y.dtype).reshape(y.shape) / y.numel()
    loss = (y * scale).sum() + sum((s * (k + 2)).sin().sum() for k, s in enumerate(as_tuple(end)))
    leaves = dict(layer.named_parameters())
    for name, given in inputs.items():
        leaves |= {f"{name} {k}": t for k, t in enumerate(as_tuple(given))}
    return {"y": y, **{f"final {k}": s for k, s in enumerate(as_tuple(end))}, **gradients(loss, leaves)}


OPTIONS = {
    "plain": {},
    "stacked both ways": {"num_layers": 2, "bidirectional": True},
    "no bias": {"bias": False},
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_reset_equals_the_masked_loop_of_torch(route, name, dtype, options):
    layer, x, state, _ = made(name, dtype, **options)
    reset = some_resets()
    got = results(layer, *layer(x, state, reset=reset), x=x, state=state)
    want = results(layer, *masked_loop(layer, x, state, reset), x=x, state=state)
    assert_all_close(got, want)
    assert not got["state 0"][0, 0].any()  # row 0 is reset before its first step: nothing of hx reaches it


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_reset_state_is_what_a_reset_returns_to(route, name, dtype, options):
    layer, x, state, to = made(name, dtype, **options)
    reset = some_resets()
    got = results(layer, *layer(x, state, reset=reset, reset_state=to), x=x, state=state, reset_state=to)
    want = results(layer, *masked_loop(layer, x, state, reset, to), x=x, state=state, reset_state=to)
    assert_all_close(got, want)
    assert not got["reset_state 0"][:, -1].any()  # the last row has no reset


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_reset_equals_the_masked_loop_with_a_projection(route):
    layer, x, state, to = made("LSTM", torch.float64, proj_size=4, bidirectional=True)
    reset = some_resets()
    got = results(layer, *layer(x, state, reset=reset, reset_state=to), x=x, state=state, reset_state=to)
    want = results(layer, *masked_loop(layer, x, state, reset, to), x=x, state=state, reset_state=to)
    assert_all_close(got, want)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "PeepholeLSTM"])
def test_reset_to_hx_starts_every_piece_from_it(route, name):
    layer, x, state, _ = made(name, torch.float64)
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[[2, 5, 6]] = True
    y, end = layer(x, state, reset=reset, reset_state=state)
    pieces = [layer(p, state) for p in x.split([2, 3, 1, 1])]
    got = results(layer, y, end, x=x, state=state)
    want = results(layer, torch.cat([p[0] for p in pieces]), pieces[-1][1], x=x, state=state)
    assert_all_close(got, want)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "PeepholeLSTM"])
def test_reset_without_a_carried_state_returns_to_zeros_too(route, name):
    layer, x, _, _ = made(name, torch.float64)
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[3] = True
    want = torch.cat([layer(x[:3])[0], layer(x[3:])[0]])
    assert_close("y", layer(x, reset=reset)[0], want)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("form", ["batch_first", "unbatched", "packed", "packed in any order", "lengths"])
def test_reset_takes_every_layout(route, name, form):
    layer, x, state, to = made(name, torch.float64, num_layers=2, bidirectional=True, batch_first=form == "batch_first")
    reset, lengths = some_resets(), torch.tensor([7, 2, 5, 1, 4])
    inputs = {"x": x, "state": state, "reset_state": to}
    if form == "batch_first":
        y, end = layer(x.transpose(0, 1), state, reset=reset.t(), reset_state=to)
        y, lengths = y.transpose(0, 1), None
    elif form == "unbatched":
        x, reset = x[:, :1].detach().requires_grad_(), reset[:, :1]
        state, to = (tuple(s[:, :1].detach().requires_grad_() for s in as_tuple(given)) for given in (state, to))
        inputs, lengths = {"x": x, "state": state, "reset_state": to}, None
        alone = [tuple(s[:, 0] for s in given) for given in (state, to)]
        one, other = (given if name == "LSTM" else given[0] for given in alone)
        y, end = layer(x[:, 0], one, reset=reset[:, 0], reset_state=other)
        y, end = y[:, None], tuple(s[:, None] for s in as_tuple(end))
    elif form == "lengths":
        y, end = layer(x, state, lengths=lengths, reset=reset, reset_state=to)
    else:
        sort = form == "packed"
        lengths = lengths.sort(descending=True).values if sort else lengths
        packed, done = (pack_padded_sequence(t, lengths, enforce_sorted=sort) for t in (x, reset))
        y, end = layer(packed, state, reset=done, reset_state=to)
        y = pad_packed_sequence(y)[0]
    got = results(layer, y, end, **inputs)
    state, to = inputs["state"], inputs["reset_state"]
    assert_all_close(got, results(layer, *masked_loop(layer, x, state, reset, to, lengths), **inputs))


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "PeepholeLSTM"])
@pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64"])
def test_episodes_in_a_batch_have_the_bits_that_they_have_alone(name, dtype):
    layer, x, state, to = made(name, dtype)
    reset, first = some_resets(), {"reset_state": to}
    for options in ({}, first):
        y, _ = layer(x, state, reset=reset, **options)
        (dx,) = torch.autograd.grad(y.sum(), x)
        for b in range(B):
            starts = [0, *(reset[1:, b].nonzero()[:, 0] + 1).tolist(), T]
            for begin, end in pairwise(starts):
                source = (to if options else None) if reset[begin, b] else state
                own = None if source is None else tuple(s[:, b : b + 1] for s in as_tuple(source))
                piece = x[begin:end, b : b + 1].detach().requires_grad_()
                want, _ = layer(piece, own if own is None or len(own) == 2 else own[0])
                (want_dx,) = torch.autograd.grad(want.sum(), piece)
                got = {"y": y[begin:end, b : b + 1], "dx": dx[begin:end, b : b + 1]}
                assert_same_bits(got, {"y": want, "dx": want_dx})


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "PeepholeLSTM"])
def test_steps_with_resets_give_the_bits_of_the_sequence(name):
    layer, x, state, to = made(name, torch.float32, num_layers=2)
    reset = some_resets()
    with torch.no_grad():
        for options in ({}, {"reset_state": to}):
            want, end = layer(x, state, reset=reset, **options)
            now, outputs = state, []
            for x_t, done in zip(x, reset, strict=True):
                y_t, now = layer.step(x_t, now, reset=done, **options)
                outputs.append(y_t)
            stepper = unrolled.nn.Stepper(layer, batch_size=B)
            stepper.state = state
            by_stepper = torch.stack([stepper(x_t, reset=r, **options) for x_t, r in zip(x, reset, strict=True)])
            ends = dict(enumerate(as_tuple(end)))
            assert_same_bits({"y": torch.stack(outputs), **dict(enumerate(as_tuple(now)))}, {"y": want, **ends})
            assert_same_bits({"y": by_stepper, **dict(enumerate(as_tuple(stepper.state)))}, {"y": want, **ends})


@pytest.mark.parametrize("name", LAYERS)
def test_steps_with_resets_are_differentiated_as_the_sequence_is(route, name):
    layer, x, state, to = made(name, torch.float64)
    reset = some_resets()
    now, outputs = state, []
    for x_t, done in zip(x, reset, strict=True):
        y_t, now = layer.step(x_t, now, reset=done, reset_state=to)
        outputs.append(y_t)
    inputs = {"x": x, "state": state, "reset_state": to}
    want = results(layer, *masked_loop(layer, x, state, reset, to), **inputs)
    assert_all_close(results(layer, torch.stack(outputs), now, **inputs), want)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("batched", [True, False])
def test_cell_with_resets_equals_torchs_masked_cell(route, name, batched):
    cell = getattr(unrolled.nn, f"{name}Cell")(I, H, dtype=torch.float64)
    stock, shape = cell.to_torch(), (B,) if batched else ()
    x, reset = torch.randn(T, *shape, I).double(), torch.rand(T, *shape) < 0.4
    state, to = (hx(name, *shape, H, dtype=torch.float64, requires_grad=True) for _ in range(2))
    for goal in (None, to):
        ours, theirs = state, state
        for x_t, done in zip(x, reset, strict=True):
            ours = cell(x_t, ours, reset=done, reset_state=goal)
            other = [torch.zeros_like(s) for s in as_tuple(state)] if goal is None else as_tuple(goal)
            mask = done.double()[..., None]
            before = tuple((1 - mask) * s + mask * r for s, r in zip(as_tuple(theirs), other, strict=True))
            theirs = stock(x_t, before if len(before) == 2 else before[0])
        leaves = {"state": state, **({} if goal is None else {"reset_state": goal})}
        assert_all_close(*(results(cell, as_tuple(h)[0], h, **leaves) for h in (ours, theirs)))


def test_step_and_cell_without_a_state_may_be_reset(route):
    gru, cell, x = unrolled.nn.GRU(I, H), unrolled.nn.GRUCell(I, H), torch.randn(B, I)
    to, reset = torch.randn(1, B, H), torch.tensor([True, False, True, False, False])
    before = torch.where(reset[:, None], to, 0)
    assert torch.equal(gru.step(x, reset=reset, reset_state=to)[0], gru.step(x, before)[0])
    assert torch.equal(cell(x, reset=reset, reset_state=to[0]), cell(x, before[0]))
    assert torch.equal(cell(x, reset=reset), cell(x))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_reset_state_of_a_half_type(route, name, dtype):
    layer, x, state, to = made(name, dtype)
    wide, reset = made(name, torch.float32)[0], some_resets()
    wide.load_state_dict(layer.state_dict())
    x_wide, state_wide, to_wide = (torch.utils._pytree.tree_map(lambda t: t.float(), t) for t in (x, state, to))
    got, _ = layer(x, state, reset=reset, reset_state=to)
    want, _ = wide(x_wide, state_wide, reset=reset, reset_state=to_wide)
    assert_close("y", got, want.to(dtype), tolerance=None if dtype == torch.bfloat16 else 0)
