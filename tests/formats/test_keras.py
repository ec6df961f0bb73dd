"""Keras loads what is written, and what Keras wrote is read: the same numbers, by the real library."""

import io
import os
import zipfile

import numpy as np
import pytest

from tests.formats.equations import inputs, lacking, outputs
from tests.saved.networks import layer, networks
from unrolled.export import to_keras
from unrolled.formats.network_of import FormatError
from unrolled.imports import from_keras
from unrolled.saved.network import Head, Network

h5py = pytest.importorskip("h5py", reason="the extra [keras] is not installed")
os.environ["KERAS_BACKEND"] = "torch"
keras = pytest.importorskip("keras", reason="the numbers are compared with those of Keras")
L = keras.layers
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")  # Keras's

NETWORKS = dict(networks()) | {
    f"last-two-ways-{kind}": Network(
        (layer(kind, 3, 5, 2),),
        head=Head(np.random.default_rng(0).normal(size=(7, 10)).astype(np.float32), None, "last"),
    )
    for kind in ("LSTM", "GRU", "RNN_TANH")
}
#: A Keras layer gives what it has read at every step, or in each direction at last.
OUTPUT = NETWORKS.pop("head-two-ways-last_output")
REFUSED = {name: part for name in NETWORKS if (part := lacking(NETWORKS[name], "projection peepholes initial"))}
HELD = [name for name in NETWORKS if name not in REFUSED]
WEIGHTS_HOLD = [name for name in HELD if not lacking(NETWORKS[name], "relu")]


def run(model, network, x):
    """Return what a Keras model computes, time first, for what `outputs` takes."""
    if network.one_hot:
        x = np.eye(network.I, dtype=network.dtype)[x]
    y = model(np.swapaxes(x, 0, 1)).detach().numpy()
    return y if y.ndim == 2 else np.swapaxes(y, 0, 1)


def rebuilt(network):
    """Return the model that the documentation tells a reader to write for a file of weights."""
    classes = {"LSTM": L.LSTM, "GRU": L.GRU, "RNN_TANH": L.SimpleRNN}
    dtype, head = str(network.dtype), network.head
    made = [keras.Input((None,) if network.embedding is not None else (None, network.I))]
    if network.embedding is not None:
        made.append(L.Embedding(*network.embedding.shape, dtype=dtype))
    for k, each in enumerate(network.layers):
        last = head is not None and head.when == "last" and k == len(network.layers) - 1
        rnn = classes[each.kind](each.H, return_sequences=not last, use_bias=each.has_bias, dtype=dtype)
        made.append(L.Bidirectional(rnn, dtype=dtype) if each.D == 2 else rnn)
    if head is not None:
        activation = "softmax" if head.softmax else None
        made.append(L.Dense(len(head.W), activation, use_bias=head.b is not None, dtype=dtype))
    return keras.Sequential(made)


@pytest.mark.parametrize("name", HELD)
def test_keras_loads_a_model_and_computes_its_numbers(name, tmp_path):
    network = NETWORKS[name]
    to_keras(network, tmp_path / "model.keras")
    x = inputs(network)
    found = run(keras.models.load_model(tmp_path / "model.keras"), network, x)
    exact = network.dtype == np.float64 and not network.layers[0].kind.startswith("RNN")  # its cell is float32 in Keras
    np.testing.assert_allclose(found, outputs(network, x), atol=1e-12 if exact else 1e-5)


@pytest.mark.parametrize("name", WEIGHTS_HOLD)
def test_keras_loads_weights_into_a_model_built_to_match(name, tmp_path):
    network = NETWORKS[name]
    to_keras(network, tmp_path / "model.weights.h5")
    model = rebuilt(network)
    model.load_weights(tmp_path / "model.weights.h5")
    x = inputs(network)
    np.testing.assert_allclose(run(model, network, x), outputs(network, x), atol=1e-5)


@pytest.mark.parametrize("name", HELD)
def test_network_comes_back_from_a_model(name, tmp_path):
    network = NETWORKS[name]
    to_keras(network, tmp_path / "model.keras")
    found = from_keras(tmp_path / "model.keras")
    assert described(found) == described(network)
    x = inputs(network)
    vectors = np.eye(network.I)[x] if network.one_hot else x
    np.testing.assert_allclose(outputs(found, vectors), outputs(network, x), atol=1e-6)


@pytest.mark.parametrize("name", WEIGHTS_HOLD)
def test_network_comes_back_from_weights_with_a_plain_head(name, tmp_path):
    network = NETWORKS[name]
    to_keras(network, tmp_path / "model.weights.h5")
    head = network.head and Head(network.head.W, network.head.b)
    plain = Network(network.layers, network.embedding, network.one_hot, head)
    # without its place the dense layer of a network that gives as many numbers as it reads may stand before the others
    kind = "RNN_TANH" if network.layers[0].kind == "RNN_TANH" else None
    found = from_keras(tmp_path / "model.weights.h5", head="dense" if head else None, kind=kind)
    assert described(found) == described(plain)
    x = inputs(network)
    vectors = np.eye(network.I)[x] if network.one_hot else x
    np.testing.assert_allclose(outputs(found, vectors), outputs(plain, x), atol=1e-6)


def described(network):
    head = network.head and (network.head.when, network.head.softmax, network.head.b is None)
    return [(each.kind, each.I, each.H, each.D, each.has_bias) for each in network.layers], head, network.dtype


@pytest.mark.parametrize("name", REFUSED)
def test_what_keras_cannot_hold_is_said_and_nothing_is_written(name, tmp_path):
    with pytest.raises(FormatError, match=f"Keras cannot hold {REFUSED[name]} of layer"):
        to_keras(NETWORKS[name], tmp_path / "model.keras")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "file", "said"),
    [
        ("RNN_RELU-3-5", "m.weights.h5", "Keras cannot hold the ReLU cell of layer 0: a file of weights does not say"),
        ("GRU-3-5", "m.h5", r"m\.h5: Keras reads files whose names end in \.keras or \.weights\.h5"),
    ],
)
def test_file_that_would_mean_something_else_is_not_written(name, file, said, tmp_path):
    with pytest.raises(FormatError, match=said):
        to_keras(NETWORKS[name], tmp_path / file)
    assert not list(tmp_path.iterdir())


def test_head_that_reads_one_output_of_both_directions_is_refused(tmp_path):
    with pytest.raises(FormatError, match="Keras cannot hold a head that reads the output at the last step"):
        to_keras(OUTPUT, tmp_path / "model.keras")
    assert not list(tmp_path.iterdir())


def sequential(*made):
    """Return a model with random weights, biases too, which Keras starts at zero."""
    model = keras.Sequential(made)
    rng = np.random.default_rng(5)
    model.set_weights([rng.uniform(-0.9, 0.9, w.shape) for w in model.get_weights()])
    return model


def functional():
    x = made = keras.Input((None, 3))
    for each in (L.LSTM(4, return_sequences=True), L.Dropout(0.5), L.GRU(4), L.Dense(2), L.Activation("softmax")):
        x = each(x)
    model = keras.Model(made, x)
    rng = np.random.default_rng(6)
    model.set_weights([rng.uniform(-0.9, 0.9, w.shape) for w in model.get_weights()])
    return model


THEIRS = {
    "every layer": lambda: sequential(
        keras.Input((None,)),
        L.Embedding(7, 3),
        L.SpatialDropout1D(0.1),
        L.LSTM(5, return_sequences=True, dropout=0.1, recurrent_dropout=0.1, stateful=False),
        L.Bidirectional(L.GRU(4, return_sequences=True)),
        L.RNN([L.LSTMCell(5), L.LSTMCell(6), L.GRUCell(3)], return_sequences=True),
        L.Bidirectional(L.RNN(L.LSTMCell(2), return_sequences=True)),
        L.SimpleRNN(6, return_sequences=True, activation="relu"),
        L.LSTM(5, return_sequences=True, use_bias=False),
        L.TimeDistributed(L.Dense(7, activation="softmax")),
    ),
    "the last step": lambda: sequential(keras.Input((None, 3)), L.GRU(5, return_sequences=True), L.LSTM(4), L.Dense(2)),
    "the last step of both directions": lambda: sequential(
        keras.Input((None, 3)), L.Bidirectional(L.GRU(4, return_sequences=True)), L.Bidirectional(L.LSTM(3)), L.Dense(2)
    ),
    "the last step of both directions, no head": lambda: sequential(
        keras.Input((None, 3)), L.Bidirectional(L.SimpleRNN(4))
    ),
    "softmax as a layer": lambda: sequential(keras.Input((None, 3)), L.SimpleRNN(5), L.Dense(2), L.Softmax()),
    "no head": lambda: sequential(keras.Input((None, 3)), L.GRU(5)),
    "functional": functional,
    "double": lambda: sequential(keras.Input((None, 3)), L.LSTM(5, return_sequences=True, dtype="float64")),
}


@pytest.mark.parametrize("name", THEIRS)
def test_model_that_keras_saved_computes_the_same_here(name, tmp_path):
    model = THEIRS[name]()
    model.save(tmp_path / "model.keras")
    network = from_keras(tmp_path / "model.keras")
    x = inputs(network)
    np.testing.assert_allclose(outputs(network, x), run(model, network, x), atol=1e-5)


@pytest.mark.parametrize(
    "layers",
    [
        [L.LSTM, L.LSTM, L.LSTM],
        [L.SimpleRNN, lambda H, **_: L.Bidirectional(L.GRU(4, return_sequences=True)), L.LSTM],
        [L.LSTM, lambda H, **_: L.RNN([L.GRUCell(4), L.GRUCell(4)], return_sequences=True)],
    ],
    ids=["one kind", "both directions", "stacked cells"],
)
def test_weights_that_keras_saved_compute_the_same_here(layers, tmp_path):
    rnn = [each(H, return_sequences=True) for each, H in zip(layers, (5, 5, 6), strict=False)]
    model = sequential(keras.Input((None,)), L.Embedding(7, 3), *rnn, L.Dense(7))
    model.save_weights(tmp_path / "model.weights.h5")
    network = from_keras(tmp_path / "model.weights.h5", kind="RNN_TANH" if L.SimpleRNN in layers else None)
    x = inputs(network)
    np.testing.assert_allclose(outputs(network, x), run(model, network, x), atol=1e-5)


def lstm(**options):
    return [keras.Input((None, 3)), L.LSTM(4, return_sequences=True, **options)]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            [keras.Input((None, 3)), L.GRU(4, reset_after=False)],
            r"'gru.*' \(GRU\): reset_after is False, expected True: r mul",
        ),
        (lstm(activation="relu"), r"\(LSTM\): activation is 'relu', expected 'tanh'"),
        (lstm(recurrent_activation="hard_sigmoid"), "recurrent_activation is 'hard_sigmoid', expected 'sigmoid'"),
        (
            lstm(go_backwards=True),
            "go_backwards is True, expected False: a network has no layer that reads only backward",
        ),
        ([keras.Input((None, 3)), L.Bidirectional(L.LSTM(4, return_sequences=True), "sum")], "merge_mode is 'sum'"),
        (
            [*lstm(), L.LayerNormalization()],
            r"layer 2, 'layer_normalization.*' \(LayerNormalization\): expected an Embedding",
        ),
        ([*lstm(), L.Dense(3, "relu")], r"'dense.*' \(Dense\): activation is 'relu', expected"),
        ([*lstm(), L.Dense(3), L.Dense(2)], r"layer 3, 'dense.*' \(Dense\): expected an Embedding, then"),
        ([keras.Input((8, 3)), L.Conv1D(4, 3), L.LSTM(4)], r"layer 1, 'conv1d.*' \(Conv1D\): expected an Embedding"),
        ([keras.Input((None, 3)), L.Dense(4)], r"layer 1, 'dense.*' \(Dense\): expected an Embedding"),
        ([keras.Input((None, 3)), L.Masking(), L.LSTM(4)], r"'masking.*' \(Masking\): expected an Embedding"),
        ([*lstm(), L.Lambda(lambda x: x)], r"'lambda.*' \(Lambda\): expected an Embedding"),
    ],
)
def test_layer_that_is_none_of_ours_is_named_with_its_place(made, said, tmp_path):
    keras.Sequential(made).save(tmp_path / "model.keras")
    with pytest.raises(FormatError, match=said) as error:
        from_keras(tmp_path / "model.keras")
    assert str(error.value).startswith(f"{tmp_path / 'model.keras'}: ")


def test_class_of_its_author_is_refused_and_not_run(tmp_path):
    @keras.saving.register_keras_serializable("mine")
    class LSTM(L.LSTM):
        pass

    keras.Sequential([keras.Input((None, 3)), LSTM(4)]).save(tmp_path / "model.keras")
    with pytest.raises(FormatError, match=r"is a class of its author's, whose code is not in the file and is not run"):
        from_keras(tmp_path / "model.keras")


def test_model_that_branches_is_refused(tmp_path):
    x = keras.Input((None, 3))
    y = L.LSTM(3, return_sequences=True, name="one")(x)
    z = L.GRU(3, return_sequences=True, name="two")(x)
    keras.Model(x, L.Add(name="sum")([y, z])).save(tmp_path / "model.keras")
    with pytest.raises(FormatError, match=r"'two' \(GRU\): reads 'input_layer.*', expected 'one' alone"):
        from_keras(tmp_path / "model.keras")


def test_padding_that_was_masked_is_noted(tmp_path):
    made = [keras.Input((None,)), L.Embedding(7, 3, mask_zero=True), L.LSTM(4)]
    keras.Sequential(made).save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match="mask_zero, so symbol 0 was padding; here it is a symbol as any other"):
        from_keras(tmp_path / "model.keras")


def zipped(path, **parts):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr({"config": "config.json", "weights": "model.weights.h5"}[name], data)


def parts_of(path):
    with zipfile.ZipFile(path) as archive:
        return {"config": archive.read("config.json"), "weights": archive.read("model.weights.h5")}


@pytest.fixture
def good(tmp_path):
    """The parts of a good file, and where to write a bad one."""
    to_keras(NETWORKS["head-each-True"], tmp_path / "good.keras")
    return parts_of(tmp_path / "good.keras"), tmp_path / "bad.keras"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: p.pop("config"), r"has no config\.json; expected one"),
        (lambda p: p.update(config=b"[" * 10**6), r"config\.json is damaged"),
        (lambda p: p.update(config=b"9" * 10**6), r"config\.json is damaged: Integer value out of range"),
        (lambda p: p.update(config=b"[]"), r"the model \[\] is no layer, expected a class_name and a config"),
        (lambda p: p.update(config=b" " * 10**8), r"config\.json unpacks to more than 20 times its file; refused"),
        (
            lambda p: p.update(config=p["config"].replace(b'"units": 5', b'"units": 6')),
            "units is 6, expected 5: that many",
        ),
        (lambda p: p.update(config=p["config"].replace(b'"GRU"', b'"LSTM"')), r"layers/lstm/cell/vars/0 is missing"),
        (lambda p: p.update(weights=p["weights"][:2000]), r"model\.weights\.h5: .* is damaged"),
        (lambda p: p.update(weights=b"{}"), r"model\.weights\.h5: damaged, or no HDF5 file"),
    ],
)
def test_damaged_model_is_refused_by_its_name(change, said, good):
    parts, path = good
    change(parts)
    zipped(path, **parts)
    with pytest.raises(FormatError, match=said) as error:
        from_keras(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def hdf5(change):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        change(file)
    return buffer.getvalue()


SHAPES = {"0": (3, 15), "1": (5, 15), "2": (2, 15)}
CELL = "layers/gru/cell/vars"


def gru(file, **others):
    for name, shape in SHAPES.items():
        if name not in others:
            file[f"{CELL}/{name}"] = np.ones(shape, np.float32)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda f: f.create_dataset(f"{CELL}/0", (2**40, 15), "f4"),
            r"vars/0 is \(1099511627776, 15\) .* has 0 bytes",
        ),
        (lambda f: f.create_dataset(f"{CELL}/0", (3, 15), "f4", chunks=(3, 15)), "expected numbers in one piece"),
        (
            lambda f: f.create_dataset(f"{CELL}/0", (3, 15), "f4", external=[("/etc/passwd", 0, 180)]),
            "the file has 0",
        ),
        (
            lambda f: f.update({f"{CELL}/0": h5py.ExternalLink("/etc/x.h5", "y")}),
            "is a link to another place, which is not",
        ),
        (lambda f: f.update({f"{CELL}/0": h5py.SoftLink("/")}), "is a link to another place, which is not followed"),
        (lambda f: f.update({f"{CELL}/0": np.ones((3, 15), int)}), r"vars/0 is \(3, 15\) of int64"),
        (
            lambda f: f.update({f"{CELL}/0": np.ones((3, 14), "f")}),
            r"its kernels are \(3, 14\) and \(5, 15\), expected",
        ),
        (lambda f: f.update({f"{CELL}/0": np.full((3, 15), np.inf, "f")}), "has 45 non-finite numbers"),
        (lambda f: f.create_group(f"{CELL}/0"), "vars/0 is missing, expected an array"),
    ],
)
def test_arrays_that_lie_or_are_elsewhere_are_refused(change, said, tmp_path):
    path = tmp_path / "bad.weights.h5"
    path.write_bytes(hdf5(lambda file: (gru(file, **{"0": 1}), change(file))))
    with pytest.raises(FormatError, match=said) as error:
        from_keras(path)
    assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.update({f"{CELL}/2": np.ones(15, "f")}), "so reset_after is False: r multiplies h before W_hn"),
        (lambda f: f.update({f"{CELL}/2": np.ones((3, 15), "f")}), r"its bias is \(3, 15\), expected \(2, 15\)"),
        (lambda f: f.update({f"{CELL}/2": np.ones((2, 14), "f")}), r"its bias is \(2, 14\), expected \(2, 15\)"),
        (
            lambda f: f.update({"layers/conv1d/vars/0": np.ones(3, "f")}),
            "it also holds 'conv1d', which is no part of a network here",
        ),
    ],
)
def test_weights_that_are_no_network_are_refused(change, said, tmp_path):
    path = tmp_path / "bad.weights.h5"
    path.write_bytes(hdf5(lambda file: (gru(file, **{"2": 1}), change(file))))
    with pytest.raises(FormatError, match=said):
        from_keras(path)


def test_old_model_of_another_keras_is_refused(tmp_path):
    (tmp_path / "old.h5").write_bytes(hdf5(lambda file: file.create_group("model_weights")))
    with pytest.raises(FormatError, match=r"old\.h5: has no group layers; expected weights of Keras 3"):
        from_keras(tmp_path / "old.h5")


def test_one_network_gives_one_file(tmp_path):
    for name in ("a", "b"):
        to_keras(NETWORKS["GRU-two-ways"], tmp_path / f"{name}.keras")
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()
