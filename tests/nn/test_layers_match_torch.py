"""unrolled.nn against torch.nn: every constructor argument in combination, every shape of input, every gradient."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import unrolled.nn
from tests.nn.compare import assert_all_close, assert_close
from tests.nn.layers import LAYERS, as_tuple, gradients, pair
from unrolled.nn import fused

# torch's own remark about its slow path, made once a process.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


@st.composite
def constructions(draw):
    name = draw(st.sampled_from(LAYERS))
    H = draw(st.sampled_from([1, 2, 7, 9, 16, 33]))
    L = draw(st.integers(1, 3))
    options = {
        "input_size": draw(st.sampled_from([1, 3, 5, 8])),
        "hidden_size": H,
        "num_layers": L,
        "bias": draw(st.booleans()),
        "batch_first": draw(st.booleans()),
        "dropout": draw(st.sampled_from([0.0, 0.3, 1.0])) if L > 1 else 0.0,
        "bidirectional": draw(st.booleans()),
    }
    if name == "RNN":
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    if name == "LSTM" and H > 1:
        options["proj_size"] = draw(st.sampled_from([0, 1, H - 1]))
    return name, options


def state_for(layer, B, dtype):
    LD = layer.num_layers * (1 + layer.bidirectional)
    shapes = [(LD, *B, layer.proj_size or layer.hidden_size), (LD, *B, layer.hidden_size)]
    return [torch.randn(s, dtype=dtype, requires_grad=True) for s in shapes[: 1 + (layer.mode == "LSTM")]]


def run(layer, x, states, sizes=None):
    """Outputs, and gradients by name of a loss that weighs every output differently."""
    torch.manual_seed(11)  # dropout masks
    hx = None if not states else tuple(states) if layer.mode == "LSTM" else states[0]
    given = x if sizes is None else pack_padded_sequence(x, sizes, layer.batch_first, enforce_sorted=False)
    y, finals = layer(given, hx)
    data = y.data if isinstance(y, PackedSequence) else y
    outputs = {"y": data, **{f"final {k}": s for k, s in enumerate(as_tuple(finals))}}
    torch.manual_seed(13)
    loss = sum((o * torch.randn(o.shape, dtype=o.dtype)).sum() for o in outputs.values())  # whatever its strides
    loss = loss.real if loss.is_complex() else loss
    leaves = {"x": x, **{f"state {k}": s for k, s in enumerate(states)}, **dict(layer.named_parameters())}
    return {**outputs, **{f"d{name}": g for name, g in gradients(loss, leaves).items()}}


@given(
    construction=constructions(),
    T=st.sampled_from([1, 2, 7]),
    B=st.sampled_from([1, 3, 5]),
    form=st.sampled_from(["batched", "unbatched", "packed"]),
    with_state=st.booleans(),
    training=st.booleans(),
    dtype=st.sampled_from([torch.float64, torch.complex128]),
    data=st.data(),
)
def test_layer_matches_torch_in_every_combination(route, construction, T, B, form, with_state, training, dtype, data):
    name, options = construction
    if dtype.is_complex:  # for which torch has no relu, no dropout and no derivative of packing
        assume(options.get("nonlinearity") != "relu" and form != "packed" and not training)
    theirs, ours = (layer.train(training) for layer in pair(name, **options, dtype=dtype))
    shape = (T, ours.input_size) if form == "unbatched" else (B, T, ours.input_size)
    if form != "unbatched" and not ours.batch_first:
        shape = (T, B, ours.input_size)
    x = torch.randn(shape, dtype=dtype, requires_grad=True)
    states = state_for(ours, () if form == "unbatched" else (B,), dtype) if with_state else []
    sizes = data.draw(st.lists(st.integers(1, T), min_size=B, max_size=B)) if form == "packed" else None
    assert_all_close(run(ours, x, states, sizes), run(theirs, x, states, sizes))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_layer_matches_torch_in_float32(route, name, bidirectional):
    theirs, ours = pair(name, 17, 33, bidirectional=bidirectional)
    x = torch.randn(23, 6, 17, requires_grad=True)
    assert_all_close(run(ours, x, []), run(theirs, x, []))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("sizes", [None, [7, 2, 5]], ids=["padded", "packed"])
def test_dropout_draws_the_masks_that_torch_draws(route, name, batch_first, sizes):
    theirs, ours = pair(name, 3, 5, num_layers=3, dropout=0.4, batch_first=batch_first, dtype=torch.float64)
    x = torch.randn(*((3, 7) if batch_first else (7, 3)), 3, dtype=torch.float64, requires_grad=True)
    assert_all_close(run(ours, x, [], sizes), run(theirs, x, [], sizes))


@pytest.mark.parametrize("name", LAYERS)
def test_packed_output_carries_the_order_of_its_input(route, name):
    theirs, ours = pair(name, 3, 5, dtype=torch.float64)
    packed = pack_padded_sequence(torch.randn(7, 4, 3).double(), [2, 7, 1, 4], enforce_sorted=False)
    for got, want in zip(ours(packed)[0], theirs(packed)[0], strict=True):
        assert_close("packed", got, want)


@pytest.mark.parametrize("steps", [None, 2])
@pytest.mark.parametrize("name", LAYERS)
def test_packed_steps_at_the_end_without_a_row_change_nothing(route, name, steps):
    theirs, ours = pair(name, 3, 5, num_layers=2, dtype=torch.float64)
    ours.checkpoint_steps = steps
    data, results = torch.randn(6, 3, dtype=torch.float64), []
    for layer, sizes in ((theirs, [3, 2, 1, 0, 0]), (ours, [3, 2, 1, 0, 0]), (ours, [3, 2, 1])):
        y, end = layer(PackedSequence(data, torch.tensor(sizes)))
        loss = y.data.sin().sum()
        found = dict(enumerate((y.data, *as_tuple(end)))) | gradients(loss, dict(layer.named_parameters()))
        results.append(found)
    assert_all_close(results[1], results[0])
    assert all(torch.equal(results[1][key], results[2][key]) for key in results[1])


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("T", [1, 7])
def test_half_types_return_what_torch_returns(route, name, dtype, T):
    theirs, ours = pair(name, 3, 9, bidirectional=True, dtype=dtype)
    x = torch.randn(T, 5, 3, dtype=dtype)
    for (label, got), want in zip(flat(ours(x)).items(), flat(theirs(x)).values(), strict=True):
        assert_close(label, got, want)


def test_float16_is_computed_in_float32(route):
    ours = pair("LSTM", 3, 9, dtype=torch.float16)[1]
    wide = unrolled.nn.LSTM(3, 9)
    wide.load_state_dict({name: w.float() for name, w in ours.state_dict().items()})
    x = torch.randn(7, 5, 3, dtype=torch.float16)
    assert torch.equal(ours(x)[0], wide(x.float())[0].half())


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_autocast_returns_what_torch_returns(route, name, dtype):
    if name == "LSTM" and dtype == torch.float32 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("without units for bfloat16 torch's LSTM fails under autocast: oneDNN has none")
    theirs, ours = pair(name, 3, 9, num_layers=2)
    x = torch.randn(7, 5, 3, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16):
        got, want = flat(ours(x)), flat(theirs(x))
    for label, tensor in got.items():
        assert_close(label, tensor.float(), want[label].float(), tolerance=2e-2)
        assert tensor.dtype == want[label].dtype


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_autocast_leaves_float64_and_complex_numbers_alone(route, name, dtype):
    theirs, ours = pair(name, 3, 9, dtype=dtype)
    x = torch.randn(7, 5, 3, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16):
        assert_all_close(flat(ours(x)), flat(theirs(x)))


def flat(result):
    y, finals = result
    return {"y": y, **{f"final {k}": s for k, s in enumerate(as_tuple(finals))}}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("shape", [(5, 0), (1, 0)], ids=str)
def test_empty_batch_gives_empty_output(route, name, shape):
    theirs, ours = pair(name, 3, 5, bidirectional=True, dtype=torch.float64)
    x = torch.zeros(*shape, 3, dtype=torch.float64, requires_grad=True)
    assert_all_close(run(ours, x, []), run(theirs, x, []))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("how", ["transposed", "expanded", "overlapping", "strided", "offset"])
def test_any_memory_layout_of_input_and_state_is_read_right(route, name, how):
    theirs, ours = pair(name, 3, 5, dtype=torch.float64)
    layouts = {
        "transposed": lambda *s: torch.randn(*s[::-1]).double().permute(2, 1, 0),
        "expanded": lambda *s: torch.randn(1, 1, s[2]).double().expand(s),
        "overlapping": lambda *s: torch.randn(100).double().as_strided(s, (2, 1, 1)),
        "strided": lambda *s: torch.randn(s[0], s[1] * 2, s[2] * 3).double()[:, ::2, ::3],
        "offset": lambda *s: torch.randn(s[0] + 1, s[1], s[2]).double()[1:],
    }
    make = layouts[how]
    x, states = make(7, 4, 3), [make(1, 4, 5) for _ in range(1 + (name == "LSTM"))]
    before = x.clone()
    got = run(ours, x.requires_grad_(), [s.requires_grad_() for s in states])
    assert_all_close(got, run(theirs, x, states))
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", LAYERS)
def test_upstream_gradients_may_have_any_layout_or_be_missing(route, name):
    theirs, ours = pair(name, 3, 5, bidirectional=True, batch_first=True, dtype=torch.float64)
    x = torch.randn(4, 7, 3, dtype=torch.float64, requires_grad=True)
    losses = {
        "expanded": lambda y, h: y.sum(),
        "one column": lambda y, h: y[:, 3, ::2].sum(),
        "last state only": lambda y, h: h.pow(2).sum(),
        "transposed": lambda y, h: (y.transpose(0, 2) * torch.arange(4.0)).sum(),
    }
    for label, loss in losses.items():
        found = []
        for layer in (ours, theirs):
            y, h = layer(x)
            leaves = {f"{label} d{n}": t for n, t in {"x": x, **dict(layer.named_parameters())}.items()}
            found.append(gradients(loss(y, as_tuple(h)[-1]), leaves))
        assert_all_close(*found)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")], ids=str)
def test_nan_stays_in_its_own_row_and_later_steps(route, name, value):
    theirs, ours = pair(name, 3, 9, dtype=torch.float64)
    x = torch.randn(7, 4, 3, dtype=torch.float64)
    clean = ours(x)[0]
    x[2, 1, 0] = value
    y = ours(x)[0]
    assert_close("y", y, theirs(x)[0])
    assert torch.equal(y[:, [0, 2, 3]], clean[:, [0, 2, 3]])
    assert torch.equal(y[:2, 1], clean[:2, 1])
    if value != value:
        assert y[2:, 1].isnan().all()


@pytest.mark.parametrize("name", LAYERS)
def test_only_what_needs_a_gradient_gets_one(route, name):
    _, ours = pair(name, 3, 5, dtype=torch.float64)
    ours.weight_hh_l0.requires_grad_(False)
    x = torch.randn(7, 4, 3, dtype=torch.float64)
    ours(x)[0].sum().backward()
    assert ours.weight_hh_l0.grad is None
    assert ours.weight_ih_l0.grad is not None
    with torch.no_grad():
        assert not ours(x)[0].requires_grad
    for w in ours.parameters():
        w.requires_grad_(False)
    assert not ours(x)[0].requires_grad
    assert ours(x.requires_grad_())[0].requires_grad


def test_core_is_asked_only_for_what_is_needed(monkeypatch):
    asked = []
    backward = fused.backward

    def spy(kind, layout, net, *upstream, needs, segment):
        asked.append((needs, [d is not None for d in upstream]))
        return backward(kind, layout, net, *upstream, needs=needs, segment=segment)

    monkeypatch.setattr(fused, "backward", spy)
    layer = unrolled.nn.LSTM(3, 5)
    x, hx = torch.randn(7, 4, 3), tuple(torch.randn(2, 1, 4, 5, requires_grad=True))
    layer(x)[0].sum().backward()
    only_weights = (False, False, False, False, False, True)  # of x, h_0, c_0, h_reset, c_reset and the weights
    assert asked.pop() == (only_weights, [True, False, False])
    torch.compile(layer, backend="aot_eager", fullgraph=True)(x)[0].sum().backward()
    assert asked.pop()[0] == only_weights
    layer.requires_grad_(False)
    layer(x, hx)[1][1].sum().backward()
    assert asked.pop() == ((False, True, True, False, False, False), [False, False, True])
    reset = torch.zeros(7, 4, dtype=torch.bool)
    layer(x, reset=reset, reset_state=hx)[0].sum().backward()
    assert asked.pop() == ((False, False, False, True, True, False), [True, False, False])


@pytest.mark.parametrize("name", LAYERS)
def test_step_by_step_equals_the_whole_sequence(route, name):
    _, ours = pair(name, 3, 5, num_layers=2, batch_first=True, dtype=torch.float64)
    x = torch.randn(4, 7, 3, dtype=torch.float64)
    tolerance = 0 if route == "fused" else None  # the core promises the same bits
    y, final = ours(x)
    state = None
    for t in range(7):
        y_t, state = ours.step(x[:, t], state)
        assert_close(f"y[{t}]", y_t, y[:, t], tolerance)
    assert_all_close(flat((y, state)), flat((y, final)), tolerance)
    alone, _ = ours.step(x[2, 0])
    assert_close("a single sequence", alone, y[2, 0], tolerance)


def test_step_reads_one_hot_symbols(route):
    gru = unrolled.nn.GRU(5, 9)
    ids = torch.tensor([3, 0, 4])
    dense = gru.step(torch.eye(5)[ids])[0]
    assert_close("batched", gru.step(ids)[0], dense)
    assert_close("single", gru.step(ids[0])[0], dense[0])


def test_step_is_refused_for_two_directions():
    with pytest.raises(ValueError, match="one direction"):
        unrolled.nn.GRU(3, 5, bidirectional=True).step(torch.zeros(1, 3))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("form", ["padded", "batch_first", "unbatched", "packed"])
def test_one_hot_input_equals_its_dense_form(route, name, form):
    options = {"input_size": 5, "hidden_size": 9, "num_layers": 2, "bidirectional": True}
    _, ours = pair(name, **options, batch_first=form == "batch_first", dtype=torch.float64)
    ids = torch.randint(0, 5, (7,) if form == "unbatched" else (7, 4))
    dense = torch.eye(5, dtype=torch.float64)[ids]
    if form == "packed":
        ids, dense = (pack_padded_sequence(t, [7, 5, 5, 1]) for t in (ids, dense))
    results = []
    for x in (ids, dense):
        y, _ = ours(x)
        data = y.data if form == "packed" else y
        results.append({"y": data, **gradients((data**2).sum(), dict(ours.named_parameters()))})
    assert_all_close(*results)


@pytest.mark.parametrize("name", LAYERS)
def test_other_devices_go_to_torchs_own_operator(name):
    """The meta device takes the path of CUDA; there is none here to take it on."""
    theirs, ours = pair(name, 3, 5, num_layers=2, bidirectional=True, dropout=0.5, dtype=torch.float64)
    theirs, ours = theirs.to("meta"), ours.to("meta")
    x = torch.zeros(7, 4, 3, dtype=torch.float64, device="meta")
    assert unrolled.nn.explain_backend(ours, x).path == "torch"
    for got, want in zip(flat(ours(x)).values(), flat(theirs(x)).values(), strict=True):
        assert (got.shape, got.device, got.dtype) == (want.shape, want.device, want.dtype)
    lengths = torch.zeros(4, dtype=torch.int64, device="meta")
    assert unrolled.nn.explain_backend(ours, x, lengths=lengths).path == "reference"
    assert ours(x, lengths=lengths)[0].shape == (7, 4, 10)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}], ids=str)
def test_what_a_layer_of_torch_answers_is_answered_alike(name, options):
    theirs, ours = pair(name, 3, 5, **options)
    assert {*dir(theirs)} <= {*dir(ours)}
    x, D = torch.randn(4, 2, 3), theirs.num_layers * (1 + theirs.bidirectional)
    states = (torch.randn(D, 2, 5), torch.randn(D, 2, 5)) if name == "LSTM" else (torch.randn(D, 2, 5),)
    hx, swapped = states if name == "LSTM" else states[0], torch.tensor([1, 0])
    for layer in (theirs, ours):
        layer.check_forward_args(x, hx, None)
        with pytest.raises(RuntimeError, match="Expected hidden"):
            layer.check_forward_args(torch.randn(4, 3, 3), hx, None)
        permuted = layer.permute_hidden(hx, swapped)
        for s, moved in zip(states, permuted if name == "LSTM" else (permuted,), strict=True):
            assert torch.equal(moved, s[:, [1, 0]])
