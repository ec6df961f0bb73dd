"""RTNeural's JSON: what a reader of the published format computes from it is what the network gives."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.formats.stepping import inputs, outputs
from tests.saved.networks import layer, networks
from unrolled.export import to_rtneural
from unrolled.formats.network_of import FormatError
from unrolled.imports import from_rtneural
from unrolled.saved.network import Head, Network

#: Files written here, and what RTNeural itself (commit 1fb1f07) computed from them.
GOLDEN = json.loads((Path(__file__).parent / "golden" / "rtneural.json").read_text())


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def computed(file, x):
    """What the published format means: (T, width) for x (T, I), in float64."""
    for part in file["layers"]:
        weights = [np.array(w) for w in part["weights"]]
        if part["type"] == "dense":
            x = x @ weights[0] + weights[1]
            if part["activation"] == "softmax":
                x = np.exp(x) / np.exp(x).sum(1, keepdims=True)
            continue
        W, U, b = weights
        H, h, c, ys = part["shape"][-1], 0, 0, []
        h = c = np.zeros(H)
        for x_t in x:
            if part["type"] == "lstm":
                i, f, g, o = np.split(x_t @ W + h @ U + b, 4)
                c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                h = sigmoid(o) * np.tanh(c)
            else:
                (z, r, n), (z_h, r_h, n_h) = np.split(x_t @ W + b[0], 3), np.split(h @ U + b[1], 3)
                z = sigmoid(z + z_h)
                h = (1 - z) * np.tanh(n + sigmoid(r + r_h) * n_h) + z * h
            ys.append(h)
        x = np.array(ys)
    return x


def head(V, P, **options):
    rng = np.random.default_rng(4)
    return Head(rng.normal(size=(V, P)).astype(np.float32), rng.normal(size=V).astype(np.float32), **options)


KEPT = {
    "lstm": Network((layer("LSTM", 1, 7),), head=head(1, 7)),
    "gru": Network((layer("GRU", 3, 5),), head=head(2, 5)),
    "mixed": Network((layer("LSTM", 3, 4), layer("GRU", 4, 6, seed=1)), head=head(4, 6, softmax=True)),
    "no-head": Network((layer("GRU", 2, 3),)),
    "no-bias": Network((layer("LSTM", 2, 3, bias=False),), head=Head(head(1, 3).W)),
    "float64": Network((layer("GRU", 2, 3, dtype=np.float64),)),
}


@pytest.mark.parametrize("name", KEPT)
def test_file_means_what_the_network_gives(name, tmp_path):
    network = KEPT[name]
    to_rtneural(network, tmp_path / "net.json")
    x = inputs(network, 50)
    file = json.loads((tmp_path / "net.json").read_text())
    assert file["in_shape"] == [None, None, network.I]
    assert np.abs(computed(file, x) - outputs(network, x)).max() <= 1e-5


@pytest.mark.parametrize("name", [name for name in KEPT if name not in ("float64", "no-bias")])
def test_file_gives_the_network_back_bit_by_bit(name, tmp_path):
    network = KEPT[name]
    to_rtneural(network, tmp_path / "a.json")
    back = from_rtneural(tmp_path / "a.json")
    to_rtneural(back, tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    for one, other in zip(network.layers, back.layers, strict=True):
        assert np.array_equal(one.directions[0].W_ih, other.directions[0].W_ih)
        assert np.array_equal(one.directions[0].W_hh, other.directions[0].W_hh)
    x = inputs(network, 20)
    assert np.abs(outputs(network, x) - outputs(back, x)).max() < 1e-6


@pytest.mark.parametrize("case", GOLDEN, ids=["lstm", "gru", "mixed"])
def test_network_and_file_give_what_the_library_computed(case, tmp_path):
    (tmp_path / "net.json").write_text(json.dumps(case["file"]))
    network, x, y = from_rtneural(tmp_path / "net.json"), np.array(case["x"], np.float32), np.array(case["y"])
    assert np.abs(outputs(network, x) - y).max() <= 1e-6
    assert np.abs(computed(case["file"], x) - y).max() <= 1e-6
    to_rtneural(network, tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == case["file"]


REFUSED = {
    "RNN_TANH-3-5": "the tanh cell of layer 0: the library has LSTM and GRU layers",
    "RNN_RELU-3-5": "the ReLU cell of layer 0",
    "LSTM_PEEPHOLE-3-5": "the peepholes of layer 0",
    "LSTM-two-ways": "the reverse direction of layer 0",
    "GRU-initial": "the learned initial state of layer 0: it starts from zeros",
    "GRU-one-hot": "symbols: it reads vectors",
    "head-no-bias": "symbols: it reads vectors",
    "head-last-False": "a head after the last step: it gives an output each step",
    "mixed": "the ReLU cell of layer 2",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_format_cannot_hold_is_refused_before_anything_is_written(name, tmp_path):
    with pytest.raises(FormatError, match=f"RTNeural cannot hold {REFUSED[name]}"):
        to_rtneural(dict(networks())[name], tmp_path / "net.json")
    assert list(tmp_path.iterdir()) == []


def test_projection_is_refused(tmp_path):
    with pytest.raises(FormatError, match="the projection of layer 0: its layers give all units"):
        to_rtneural(Network((layer("LSTM", 3, 5, P=2),)), tmp_path / "net.json")


DENSE = {"type": "dense", "activation": "", "shape": [None, 1], "weights": [[[1.0]] * 3, [0.0]]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f["layers"].insert(0, DENSE), "layer 0, 'dense', is not expected here"),
        (lambda f: f["layers"].append(DENSE), "layer 2, 'dense', is not expected here"),
        (lambda f: f["layers"][0].update(type="conv1d"), "layer 0, 'conv1d', is not expected here"),
        (
            lambda f: f["layers"][0].update(activation="relu"),
            "layer 0, 'lstm', has the activation 'relu', expected tanh",
        ),
        (lambda f: f["layers"][1].update(activation="tanh"), "layer 1, 'dense', has the activation 'tanh'"),
        (lambda f: f["layers"][0]["weights"].pop(), "layer 0, 'lstm', weights are no list of 3 arrays"),
        (
            lambda f: f["layers"][0]["weights"][1].pop(),
            "layer 0, 'lstm', weights[1] has another shape, expected numbers of shape 7 x 28",
        ),
        (lambda f: f["layers"][0]["weights"][2].append(1), "weights[2] has another shape, expected numbers of"),
        (lambda f: f["layers"][0]["weights"][2].__setitem__(3, 1e39), "weights[2] holds a number that is too large"),
        (lambda f: f["layers"][0]["weights"][2].__setitem__(3, 10**400), "too large"),
        (
            lambda f: f["layers"][0]["weights"][2].__setitem__(3, True),
            "weights[2] has another shape, expected numbers of shape 28",
        ),
        (lambda f: f["layers"][0].update(shape=[None, 2**40]), "shape does not end with a width of 1 to"),
        (lambda f: f.update(in_shape=[]), "in_shape does not end with a width"),
        (lambda f: f.update(layers=[]), "has no lstm or gru layer"),
        (lambda f: f.pop("layers"), "damaged, or of another format"),
    ],
)
def test_file_that_is_no_network_is_refused_with_its_place(change, said, tmp_path):
    to_rtneural(KEPT["lstm"], tmp_path / "net.json")
    file = json.loads((tmp_path / "net.json").read_text())
    change(file)
    (tmp_path / "net.json").write_text(json.dumps(file))
    with pytest.raises(FormatError, match=re.escape(f"{tmp_path / 'net.json'}: ") + ".*" + re.escape(said)):
        from_rtneural(tmp_path / "net.json")


@pytest.mark.parametrize("data", [b"", b"[" * 10**6, b'{"a":' * 10**6, b"NaN", b"\xff\xfe", b"9" * 10**6], ids=range(6))
def test_hostile_json_is_refused(data, tmp_path):
    (tmp_path / "net.json").write_bytes(data)
    with pytest.raises(FormatError, match=r"net\.json: damaged"):
        from_rtneural(tmp_path / "net.json")


def test_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FormatError, match=r"gone\.json: cannot read: No such file"):
        from_rtneural(tmp_path / "gone.json")


@pytest.mark.parametrize("name", ["in_skip", "in_gain", "out_gain"])
def test_what_a_player_would_add_to_the_network_is_refused(name, tmp_path):
    to_rtneural(dict(networks())["LSTM-3-5"], tmp_path / "x.json")
    held = json.loads((tmp_path / "x.json").read_text())
    for value, legal in ((0, True), (0.0, True), (1, False), (-6.5, False), ("x", False)):
        (tmp_path / "x.json").write_text(json.dumps(held | {name: value}))
        if legal:
            assert from_rtneural(tmp_path / "x.json").I == 3
        else:
            with pytest.raises(FormatError, match=f"{name} is .*, which players apply and no network here does"):
                from_rtneural(tmp_path / "x.json")
