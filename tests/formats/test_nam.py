"""Neural Amp Modeler's files: what a reader of the published layout computes from them is what the network gives."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.formats.stepping import inputs, outputs
from tests.formats.test_rtneural import head, sigmoid
from tests.saved.networks import layer, networks
from unrolled.export import to_nam
from unrolled.formats.network_of import FormatError
from unrolled.imports import from_nam
from unrolled.saved.network import Head, Network

#: Files written here, and what NeuralAmpModelerCore itself (commit daae2d0) computed from them.
GOLDEN = json.loads((Path(__file__).parent / "golden" / "nam.json").read_text())
KEPT = {
    "one": Network((layer("LSTM", 1, 5),), head=head(1, 5)),
    "learned": Network((layer("LSTM", 1, 5, initial=True),), head=head(1, 5)),
    "stack": Network((layer("LSTM", 1, 4, initial=True), layer("LSTM", 4, 4, seed=1, initial=True)), head=head(1, 4)),
    "channels": Network((layer("LSTM", 3, 4), layer("LSTM", 4, 4, seed=1)), head=head(2, 4)),
    "no-bias": Network((layer("LSTM", 1, 3, bias=False),), head=Head(head(1, 3).W)),
}


def computed(file, x):
    """What the published layout means: (T, out_channels) for x (T, in_channels), in float64."""
    config, weights = file["config"], iter(file["weights"])
    H, V = config["hidden_size"], config.get("out_channels", 1)

    def take(*shape):
        return np.array([next(weights) for _ in range(int(np.prod(shape)))]).reshape(shape)

    cells = []
    for k in range(config["num_layers"]):
        I = H if k else config["input_size"]
        cells.append([take(4 * H, I + H), take(4 * H), take(H), take(H)])
    W_y, b_y = take(V, H), take(V)
    assert next(weights, None) is None
    ys = []
    for h in x:
        for cell in cells:
            W, b, h_prev, c = cell
            i, f, g, o = np.split(W @ np.concatenate([h, h_prev]) + b, 4)
            cell[3] = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = cell[2] = sigmoid(o) * np.tanh(cell[3])
        ys.append(W_y @ h + b_y)
    return np.array(ys)


@pytest.mark.parametrize("name", KEPT)
def test_file_means_what_the_network_gives(name, tmp_path):
    network = KEPT[name]
    to_nam(network, tmp_path / "amp.nam", sample_rate=44100.0, metadata={"name": "Amp", "gear_type": "amp"})
    file = json.loads((tmp_path / "amp.nam").read_text())
    x = inputs(network, 50)
    assert np.abs(computed(file, x) - outputs(network, x)).max() <= 1e-5
    assert (file["version"], file["architecture"], file["sample_rate"]) == ("0.5.4", "LSTM", 44100.0)
    assert file["metadata"] == {"name": "Amp", "gear_type": "amp"}


@pytest.mark.parametrize("name", KEPT)
def test_file_gives_the_network_back(name, tmp_path):
    network = KEPT[name]
    to_nam(network, tmp_path / "a.nam")
    back = from_nam(tmp_path / "a.nam")
    to_nam(back, tmp_path / "b.nam")
    assert (tmp_path / "a.nam").read_bytes() == (tmp_path / "b.nam").read_bytes()
    for one, other in zip(network.layers, back.layers, strict=True):
        assert np.array_equal(one.directions[0].W_ih, other.directions[0].W_ih)
        assert np.array_equal(one.directions[0].W_hh, other.directions[0].W_hh)
        assert (one.initial is None) == (other.initial is None)
    x = inputs(network, 20)
    assert np.abs(outputs(network, x) - outputs(back, x)).max() < 1e-6


@pytest.mark.parametrize("case", GOLDEN, ids=["learned", "stack"])
def test_network_and_file_give_what_the_library_computed(case, tmp_path):
    (tmp_path / "amp.nam").write_text(json.dumps(case["file"]))
    network, x, y = from_nam(tmp_path / "amp.nam"), np.array(case["x"], np.float32), np.array(case["y"])
    assert np.abs(outputs(network, x) - y).max() <= 1e-6
    assert np.abs(computed(case["file"], x) - y).max() <= 1e-6
    to_nam(network, tmp_path / "again.nam")
    assert json.loads((tmp_path / "again.nam").read_text()) == case["file"]


def test_mono_file_has_the_three_sizes_that_every_reader_knows(tmp_path):
    to_nam(KEPT["stack"], tmp_path / "amp.nam")
    config = json.loads((tmp_path / "amp.nam").read_text())["config"]
    assert config == {"input_size": 1, "hidden_size": 4, "num_layers": 2}


REFUSED = {
    "RNN_TANH-3-5": "the tanh cell of layer 0",
    "RNN_RELU-3-5": "the ReLU cell of layer 0",
    "GRU-3-5": "the GRU of layer 0: this format has only LSTM layers",
    "LSTM_PEEPHOLE-3-5": "the peepholes of layer 0",
    "LSTM-two-ways": "the reverse direction of layer 0",
    "LSTM-float64": "the float64 weights of layer 0",
    "LSTM-one-hot": "symbols: it reads sound",
    "LSTM-3-5": "a network without a head",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_format_cannot_hold_is_refused_before_anything_is_written(name, tmp_path):
    with pytest.raises(FormatError, match=f"NAM cannot hold {REFUSED[name]}"):
        to_nam(dict(networks())[name], tmp_path / "amp.nam")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (Network((layer("LSTM", 1, 5, P=2),), head=head(1, 2)), "the projection of layer 0"),
        (Network((layer("LSTM", 1, 5), layer("LSTM", 5, 4)), head=head(1, 4)), r"layers of different sizes \(5, 4\)"),
        (Network((layer("LSTM", 1, 5),), head=head(1, 5, softmax=True)), "the softmax: its head is linear"),
        (Network((layer("LSTM", 1, 5),), head=head(1, 5, when="last")), "a head after the last step"),
        (Network((layer("LSTM", 1, 5),), head=Head(np.full((1, 5), np.inf, np.float32))), "head.weight: a number"),
    ],
)
def test_other_shapes_of_networks_are_refused(network, said, tmp_path):
    with pytest.raises(FormatError, match=f"NAM cannot hold {said}"):
        to_nam(network, tmp_path / "amp.nam")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.update(architecture="WaveNet"), "the architecture is 'WaveNet'; this release reads LSTM"),
        (lambda f: f.update(version="1.0.0"), "version '1.0.0'; this release reads 0.5 to 0.7"),
        (lambda f: f["weights"].pop(), "weights: 155, expected 156 numbers"),
        (lambda f: f["weights"].append(0), "weights: 157, expected 156 numbers"),
        (lambda f: f["weights"].__setitem__(0, None), "weights has another shape, expected numbers of shape 156"),
        (lambda f: f["weights"].__setitem__(0, 1e39), "weights holds a number that is too large"),
        (lambda f: f["config"].update(num_layers=2**31), "config: Expected `int` <="),
        (lambda f: f["config"].update(num_layers=2**30), "weights: 156, expected"),
        (lambda f: f["config"].update(num_layers=0), "config: Expected `int` >= 1"),
        (lambda f: f["config"].update(hidden_size="5"), "config: Expected `int`"),
        (lambda f: f["config"].update(in_channels=2), "in_channels is 2, expected input_size = 1"),
        (lambda f: f["config"].pop("hidden_size"), "config: Object missing required field `hidden_size`"),
        (lambda f: f.update(weights={}), "weights: no list"),
    ],
)
def test_file_that_is_no_lstm_is_refused_with_its_place(change, said, tmp_path):
    to_nam(KEPT["one"], tmp_path / "amp.nam")
    file = json.loads((tmp_path / "amp.nam").read_text())
    change(file)
    (tmp_path / "amp.nam").write_text(json.dumps(file))
    with pytest.raises(FormatError, match=re.escape(f"{tmp_path / 'amp.nam'}: ") + ".*" + re.escape(said)):
        from_nam(tmp_path / "amp.nam")


@pytest.mark.parametrize(
    "options",
    [
        *({"sample_rate": rate} for rate in (0, -1.0, np.nan, np.inf, 2**70, "48000", None, True)),
        *({"metadata": given} for given in (["amp"], "amp", {1: 2}, {"loudness": np.nan}, {"loudness": np.float32(1)})),
    ],
)
def test_rate_and_metadata_that_no_program_reads_are_refused(options, tmp_path):
    with pytest.raises(ValueError, match=f"^{next(iter(options))} is "):
        to_nam(next(iter(KEPT.values())), tmp_path / "a.nam", **options)
    assert not (tmp_path / "a.nam").exists()


@pytest.mark.parametrize("rate", [44100, np.int64(44100), np.float32(44100)])
def test_rate_may_be_a_number_of_numpy(rate, tmp_path):
    to_nam(next(iter(KEPT.values())), tmp_path / "a.nam", sample_rate=rate)
    assert json.loads((tmp_path / "a.nam").read_text())["sample_rate"] == 44100
