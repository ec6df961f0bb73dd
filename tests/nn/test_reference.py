"""The layer, on each route, against NumPy: outputs, states, traces and every gradient by name."""

import numpy as np
import pytest
import torch

from tests.nn import oracle
from tests.nn.compare import assert_all_close, assert_close
from unrolled.nn import functional, reference
from unrolled.nn.dispatch import layer
from unrolled.notation import Weights, gate_count, has_cell_state, weight_shapes

KINDS = ["RNN_TANH", "RNN_RELU", "LSTM", "GRU", "LSTM_PEEPHOLE"]
NAMES = Weights._fields
STATES = ("h_0", "c_0", "h_reset", "c_reset")
#: T, B, I, H: odd on purpose.
SIZES = [(1, 1, 1, 1), (2, 3, 5, 7), (7, 1, 4, 9), (7, 3, 2, 33)]


def make(kind, T, B, I, H, *, D=1, bias=True, P=0, seed=0):
    """x, h_0, c_0 and weights as float64 arrays; weights as one dict a direction."""
    rng = np.random.default_rng(seed)
    x, h_0 = rng.normal(size=(T, B, I)), rng.normal(size=(D, B, P or H))
    c_0 = rng.normal(size=(D, B, H)) if has_cell_state(kind) else None
    weights = []
    for _ in range(D):
        shapes = weight_shapes(kind, I, H, bias=bias, proj_size=P)
        weights.append(dict.fromkeys(NAMES) | {name: rng.uniform(-0.6, 0.6, s) for name, s in shapes.items()})
    return x, h_0, c_0, weights


def entry(states, d):
    return None if states is None else states[d]


def by_oracle(kind, x, h_0, c_0, weights, upstream, lengths=None, reset=None, h_reset=None, c_reset=None):
    """y, h_n, c_n, traces and gradients by name, from NumPy; x may hold one-hot rows."""
    H = weights[0]["W_hh"].shape[0] // gate_count(kind)
    results, gradients, dx = [], {}, 0
    for d, w in enumerate(weights):
        full = {n: np.zeros(len(w["W_ih"])) if n[0] == "b" and v is None else v for n, v in w.items()}
        c, to = entry(c_0, d), {"h_reset": entry(h_reset, d), "c_reset": entry(c_reset, d)}
        y, h_n, c_n, tape = oracle.unroll(kind, x, h_0[d], c, full, lengths=lengths, reset=reset, reverse=d == 1, **to)
        trace = {n: np.zeros((*x.shape[:2], H)) for n in tape[0][4] if n not in ("h", "m")} if tape else {}
        for t, b, _, _, kept in tape:
            for n in trace:
                trace[n][t, b] = kept[n]
        results.append((y, h_n, c_n, trace))
        dy, dh_n, dc_n = upstream
        P = y.shape[2]
        back = oracle.unroll_back(
            kind, x, h_0[d], c, full, tape, dy[..., d * P : (d + 1) * P], dh_n[d], None if c is None else dc_n[d]
        )
        dx = dx + back[0]
        gradients.update({f"d{n}[{d}]": g for n, g in zip(STATES, back[1:5], strict=True)})
        gradients.update({f"d{n}[{d}]": g for n, g in back[5].items() if w[n] is not None})
    gradients["dx"] = dx
    return results, gradients


def tensors(values, dtype=torch.float64):
    return None if values is None else torch.tensor(values, dtype=dtype, requires_grad=True)


def check_against_oracle(
    kind, arrays, *, lengths=None, reset=None, reset_state=(None, None), dtype=torch.float64, x_ids=None, **options
):
    """Compare unrolled's layer with the oracle; everything is in time-major layout."""
    x, h_0, c_0, weights = arrays
    rng = np.random.default_rng(9)
    T, B, _ = x.shape
    D, P, H = len(weights), h_0.shape[2], weights[0]["W_hh"].shape[0] // gate_count(kind)
    upstream = rng.normal(size=(T, B, D * P)), rng.normal(size=(D, B, P)), rng.normal(size=(D, B, H))
    results, want = by_oracle(kind, x, h_0, c_0, weights, upstream, lengths, reset, *reset_state)

    tx = tensors(x, dtype) if x_ids is None else torch.tensor(x_ids)
    th, tc, *to = (tensors(s, dtype) for s in (h_0, c_0, *reset_state))
    tw = [tuple(tensors(w[n], dtype) for n in NAMES) for w in weights]
    extra = {
        "lengths": None if lengths is None else torch.tensor(lengths),
        "reset": None if reset is None else torch.tensor(reset),
        "reset_state": tuple(to),
    }
    y, h_n, c_n, trace = layer(kind, tx, th, tc, tw, trace=True, **extra, **options)
    assert_close("y", y, torch.tensor(np.concatenate([r[0] for r in results], -1), dtype=dtype))
    assert_close("h_n", h_n, torch.tensor(np.stack([r[1] for r in results]), dtype=dtype))
    outputs = [(y, upstream[0]), (h_n, upstream[1])]
    if has_cell_state(kind):
        assert_close("c_n", c_n, torch.tensor(np.stack([r[2] for r in results]), dtype=dtype))
        outputs.append((c_n, upstream[2]))
    else:
        assert c_n is None
    for name in results[0][3]:
        want_gate = torch.tensor(np.stack([r[3][name] for r in results]), dtype=dtype)
        assert_close(f"trace {name}", trace[name], want_gate)
    assert all(not gate.requires_grad for gate in trace.values())

    sum((o * torch.tensor(u, dtype=dtype)).sum() for o, u in outputs).backward()
    got = {} if x_ids is not None else {"dx": tx.grad}
    for d, w in enumerate(tw):
        states = zip(STATES, (th, tc, *to), strict=True)
        got.update({f"d{n}[{d}]": s.grad[d] for n, s in states if s is not None})
        got.update({f"d{n}[{d}]": value.grad for n, value in zip(NAMES, w, strict=True) if value is not None})
    want = {name: torch.tensor(want[name], dtype=dtype) for name in got}
    assert_all_close(got, want)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_layer_matches_numpy(route, kind, sizes, dtype):
    check_against_oracle(kind, make(kind, *sizes), dtype=dtype)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("D", [1, 2])
def test_layer_matches_numpy_with_directions_and_without_bias(route, kind, bias, D):
    check_against_oracle(kind, make(kind, 7, 3, 4, 9, D=D, bias=bias))


@pytest.mark.parametrize("kind", ["LSTM", "LSTM_PEEPHOLE"])
@pytest.mark.parametrize("P", [1, 4])
@pytest.mark.parametrize("D", [1, 2])
def test_layer_matches_numpy_with_projection(route, kind, P, D):
    check_against_oracle(kind, make(kind, 7, 3, 4, 9, D=D, P=P))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", [[7, 7, 7], [1, 7, 3], [0, 5, 7], [0, 0, 1]], ids=str)
def test_layer_matches_numpy_with_lengths_and_resets(route, kind, lengths):
    reset = np.random.default_rng(3).random((7, 3)) < 0.4
    reset[0, 1] = True
    arrays = make(kind, 7, 3, 4, 9, D=2)
    check_against_oracle(kind, arrays, lengths=lengths, reset=reset)
    _, *to, _ = make(kind, 7, 3, 4, 9, D=2, seed=1)
    check_against_oracle(kind, arrays, lengths=lengths, reset=reset, reset_state=to)


@pytest.mark.parametrize("kind", KINDS)
def test_layer_matches_numpy_with_one_hot_input(route, kind):
    _, h_0, c_0, weights = make(kind, 7, 3, 5, 9, D=2)
    ids = np.random.default_rng(4).integers(0, 5, (7, 3))
    check_against_oracle(kind, (np.eye(5)[ids], h_0, c_0, weights), x_ids=ids)


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_functions_match_numpy(kind):
    x, h_0, c_0, (w,) = make(kind, 1, 3, 4, 9)
    states = [torch.tensor(s[0]) for s in (h_0, c_0) if s is not None]
    step = {"RNN": functional.rnn_step, "LSTM": functional.lstm_step, "GRU": functional.gru_step}[kind.split("_")[0]]
    options = {"nonlinearity": kind[4:].lower()} if kind.startswith("RNN") else {}
    weights = {name: torch.tensor(value) for name, value in w.items() if value is not None}
    h = step(torch.tensor(x[0]), *states, **weights, **options)
    h, c = h if has_cell_state(kind) else (h, None)
    for b in range(3):
        want_h, want_c, _ = oracle.step(kind, x[0, b], h_0[0, b], None if c_0 is None else c_0[0, b], w)
        assert_close("h", h[b], torch.tensor(want_h))
        if c is not None:
            assert_close("c", c[b], torch.tensor(want_c))


@pytest.mark.parametrize("kind", KINDS)
def test_oracle_gradient_is_the_slope_of_its_output(kind):
    """The hand-written chain rule against differences: the oracle must not be trusted either."""
    reset = np.zeros((3, 2), bool)
    reset[1, 0] = True
    P = 2 if has_cell_state(kind) else 0
    x, h_0, c_0, (w,) = make(kind, 3, 2, 2, 3, P=P)
    c = entry(c_0, 0)
    _, h_reset, c_reset, _ = make(kind, 3, 2, 2, 3, P=P, seed=1)
    to = {"h_reset": h_reset[0], "c_reset": entry(c_reset, 0)}
    reset[0, 1] = True

    def loss():
        y, h_n, c_n, tape = oracle.unroll(kind, x, h_0[0], c, w, lengths=[3, 2], reset=reset, **to)
        return (y**2).sum() + h_n.sum() + (0 if c_n is None else (c_n**3).sum()), (y, h_n, c_n, tape)

    _, (y, h_n, c_n, tape) = loss()
    back = oracle.unroll_back(
        kind, x, h_0[0], c, w, tape, 2 * y, np.ones_like(h_n), None if c_n is None else 3 * c_n**2
    )
    slopes = {"x": back[0], **dict(zip(STATES, back[1:5], strict=True)), **back[5]}
    for name, array in {"x": x, "h_0": h_0[0], "c_0": c, **to, **w}.items():
        if array is None:
            continue
        place = tuple(0 if name in STATES and axis == 0 else size // 2 for axis, size in enumerate(array.shape))
        value = array[place]
        array[place] = value + 1e-6
        above = loss()[0]
        array[place] = value - 1e-6
        below = loss()[0]
        array[place] = value
        assert abs((above - below) / 2e-6 - slopes[name][place]) < 1e-7, name


def test_routes_are_the_ones_asked_for(route):
    from unrolled.nn import GRU, explain_backend

    assert explain_backend(GRU(4, 6), torch.zeros(5, 3, 4)).path == route


def test_reference_is_what_the_reference_route_runs(monkeypatch):
    monkeypatch.setenv("UNROLLED_BACKEND", "reference")
    called = []
    monkeypatch.setattr(reference, "layer", lambda *a, **k: called.append(a) or (torch.zeros(1),) * 4)
    layer("GRU", torch.zeros(1, 1, 1), None, None, [(torch.zeros(3, 1), torch.zeros(3, 1), None, None, None)])
    assert called


def test_unknown_backend_is_refused(monkeypatch):
    monkeypatch.setenv("UNROLLED_BACKEND", "fast")
    with pytest.raises(ValueError, match="UNROLLED_BACKEND='fast'; expected 'fused' or 'reference'"):
        layer("GRU", torch.zeros(1, 1, 1), None, None, [(torch.zeros(3, 1), torch.zeros(3, 1), None, None, None)])
