"""Flax reads what is written, and what Flax wrote is read: the same numbers, by the real library."""

import re

import numpy as np
import pytest

from tests.formats.equations import inputs, lacking, outputs
from tests.saved.networks import layer, networks
from unrolled.export import to_flax
from unrolled.formats.arrays import read_arrays, write_arrays
from unrolled.formats.network_of import FormatError
from unrolled.imports import from_flax
from unrolled.saved.network import Network

jax = pytest.importorskip("jax", reason="the numbers are compared with those of Flax")
pytest.importorskip("flax", reason="the numbers are compared with those of Flax")
import flax.linen as nn  # noqa: E402
from flax import nnx  # noqa: E402
from flax.traverse_util import flatten_dict, unflatten_dict  # noqa: E402
from safetensors.flax import load_file  # noqa: E402

CELLS = {"LSTM": nn.OptimizedLSTMCell, "GRU": nn.GRUCell, "RNN_TANH": nn.SimpleCell}
NETWORKS = dict(networks())
REFUSED = {name: part for name in NETWORKS if (part := lacking(NETWORKS[name], "projection peepholes initial relu"))}
HELD = [name for name in NETWORKS if name not in REFUSED]
#: One of each; jax compiles for seconds.
RUN = [
    "LSTM-1-1",
    "GRU-3-5",
    "RNN_TANH-4-9",
    "LSTM-two-ways",
    "GRU-two-ways",
    "LSTM-one-hot",
    "head-no-bias",
    "text-mixed",
]


class Linen(nn.Module):
    """What the documentation tells a reader to write."""

    network: Network

    def setup(self):
        network = self.network
        if network.embedding is not None:
            self.embed = nn.Embed(*network.embedding.shape)
        rnn = [[nn.RNN(CELLS[each.kind](each.H)) for _ in each.directions] for each in network.layers]
        self.layers = [nn.Bidirectional(*each) if len(each) == 2 else each[0] for each in rnn]
        if network.head is not None:
            self.head = nn.Dense(network.width)

    def __call__(self, x):
        x = self.embed(x) if self.network.embedding is not None else x
        for each in self.layers:
            x = each(x)
        return x if self.network.head is None else self.head(x)


def flax_outputs(module, variables, network, x):
    """Return what a module of Flax computes, (T, B, width), for what `outputs` takes."""
    if network.one_hot:
        x = np.eye(network.I, dtype=np.float32)[x]
    return np.swapaxes(np.asarray(module.apply(variables, np.swapaxes(x, 0, 1))), 0, 1)


def expected(network, x):
    """Return what the equations give for a head that reads each step, as logits: the rest is code in Flax."""
    head = network.head and type(network.head)(network.head.W, network.head.b)
    return outputs(Network(network.layers, network.embedding, network.one_hot, head), x)


@pytest.mark.parametrize("name", RUN)
def test_flax_computes_the_numbers_of_what_is_written(name, tmp_path):
    network = NETWORKS[name]
    to_flax(network, tmp_path / "model.safetensors")
    variables = unflatten_dict(load_file(tmp_path / "model.safetensors"), "/")
    x = inputs(network)
    found = flax_outputs(Linen(network), variables, network, x)
    np.testing.assert_allclose(found, expected(network, x), atol=1e-5)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
@pytest.mark.parametrize("name", HELD)
def test_network_comes_back(name, suffix, tmp_path):
    network = NETWORKS[name]
    to_flax(network, tmp_path / f"model{suffix}")
    found = from_flax(tmp_path / f"model{suffix}", kind="RNN_TANH" if network.layers[0].kind == "RNN_TANH" else None)
    assert [(each.kind, each.I, each.H, each.D) for each in found.layers] == [
        (each.kind, each.I, each.H, each.D) for each in network.layers
    ]
    assert found.dtype == network.dtype
    x = inputs(network)
    vectors = np.eye(network.I)[x] if network.one_hot else x
    np.testing.assert_allclose(outputs(found, vectors), expected(network, x), atol=1e-6)


@pytest.mark.parametrize("name", REFUSED)
def test_what_flax_cannot_hold_is_said_and_nothing_is_written(name, tmp_path):
    with pytest.raises(FormatError, match=f"Flax cannot hold {REFUSED[name]} of layer"):
        to_flax(NETWORKS[name], tmp_path / "model.npz")
    assert not list(tmp_path.iterdir())


class Compact(nn.Module):
    """Layers without names of their own, two LSTMs of one size, and two directions."""

    @nn.compact
    def __call__(self, ids):
        x = nn.Embed(7, 3)(ids)
        x = nn.RNN(nn.OptimizedLSTMCell(5))(x)
        x = nn.RNN(nn.OptimizedLSTMCell(5))(x)
        x = nn.Bidirectional(nn.RNN(nn.GRUCell(4)), nn.RNN(nn.GRUCell(4)))(x)
        return nn.Dense(7)(nn.RNN(nn.SimpleCell(6), name="top")(x))


def random_like(tree, seed=3):
    """Return parameters of which none is zero, as fresh biases are."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda w: rng.uniform(-0.9, 0.9, w.shape).astype(np.float32), tree)


def test_parameters_of_a_compact_linen_module_are_read(tmp_path):
    module, ids = Compact(), np.random.default_rng(0).integers(0, 7, (5, 3))
    variables = random_like(jax.eval_shape(module.init, jax.random.key(0), ids.T))
    write_arrays(tmp_path / "x.npz", flatten_dict(variables, sep="/"))
    with pytest.raises(FormatError, match="does not say how its parts follow each other") as error:
        from_flax(tmp_path / "x.npz")
    told = str(error.value).rpartition("; say ")[2]
    assert "'GRUCell_0+GRUCell_1'" in told
    network = eval(f"from_flax(path, {told}, kind='RNN_TANH')", {"from_flax": from_flax, "path": tmp_path / "x.npz"})
    assert [each.kind for each in network.layers] == ["LSTM", "LSTM", "GRU", "RNN_TANH"]
    found = np.swapaxes(np.asarray(module.apply(variables, ids.T)), 0, 1)
    np.testing.assert_allclose(found, outputs(network, ids), atol=1e-5)


@pytest.mark.parametrize(
    ("cell", "separator"), [("LSTMCell", "/"), ("OptimizedLSTMCell", "."), ("GRUCell", "/"), ("SimpleCell", ".")]
)
def test_parameters_of_nnx_are_read(cell, separator, tmp_path):
    rngs, x = nnx.Rngs(0), np.random.default_rng(1).normal(size=(5, 2, 3)).astype(np.float32)

    class Model(nnx.Module):
        def __init__(self):
            self.rnn = nnx.RNN(getattr(nnx, cell)(3, 4, rngs=rngs), rngs=rngs)
            ways = [nnx.RNN(getattr(nnx, cell)(4, 6, rngs=rngs), rngs=rngs) for _ in range(2)]
            self.rnn_both = nnx.Bidirectional(*ways, rngs=rngs)
            self.out = nnx.Linear(12, 2, rngs=rngs)

        def __call__(self, x):
            return self.out(self.rnn_both(self.rnn(x)))

    model = Model()
    state = nnx.state(model, nnx.Param)
    nnx.update(model, random_like(state))
    whole = flatten_dict(nnx.to_pure_dict(nnx.state(model)), sep=separator)
    arrays = {name: np.asarray(w) for name, w in whole.items() if "rngs" not in name}
    write_arrays(
        tmp_path / "x.safetensors", arrays | {separator.join(("rnn", "rngs", "count")): np.zeros((), np.uint32)}
    )
    network = from_flax(tmp_path / "x.safetensors", kind="RNN_TANH" if cell == "SimpleCell" else None)
    assert [each.D for each in network.layers] == [1, 2]
    found = np.swapaxes(np.asarray(model(np.swapaxes(x, 0, 1))), 0, 1)
    np.testing.assert_allclose(found, outputs(network, x), atol=1e-5)


GRU = "params/layers_0/cell/"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a.pop(f"{GRU}hn/kernel"), "x.npz: layers_0/cell/hn: has no kernel, expected one"),
        (lambda a: [a.pop(f"{GRU}hn/{w}") for w in ("kernel", "bias")], r"'in', 'ir', 'iz' make no LSTMCell, GRUCell"),
        (lambda a: a.update({f"{GRU}hn/kernel": np.ones((4, 4))}), r"kernels of its gates are \(5, 5\), .*\(4, 4\)"),
        (lambda a: a.update({f"{GRU}hn/kernel": np.ones(5)}), r"hn/kernel is \(5,\), expected a kernel \(I, O\)"),
        (lambda a: a.update({f"{GRU}hn/kernel": np.ones((5, 5), int)}), "hn/kernel: is int64, expected float16"),
        (lambda a: a.update({f"{GRU}hn/kernel": np.full((5, 5), np.nan, "f")}), "x.npz: .* has 25 non-finite numbers"),
        (lambda a: a.update({f"{GRU}hn/bias": np.ones(4, "f")}), r"x.npz: layers_0/cell: b_hh is \(14,\)"),
        (
            lambda a: a.update({"params/conv/kernel": np.ones((5, 5))}),
            r"is 'layers_0/cell' -> 'conv' -> 'head', which no network here is.*, rnn=\['layers_0/cell'\]",
        ),
        (
            lambda a: a.update({"params/norm/scale": np.ones(5)}),
            r"it also holds 'norm/scale', .* say embedding='', rnn=\[.*\], head='head'",
        ),
        (lambda a: a.update({"params/head/kernel": np.ones((6, 5), "f")}), "its parts do not fit each other"),
        (lambda a: [a.pop(k) for k in [*a] if "head" not in k], "has no recurrent layer; it holds"),
        (
            lambda a: a.update({k: v.astype(float) for k, v in a.items() if "head" in k}),
            "is float64, expected one type",
        ),
    ],
)
def test_parameters_that_are_no_network_are_refused_by_name(change, said, tmp_path):
    to_flax(NETWORKS["head-each-False"], tmp_path / "x.npz")
    arrays = read_arrays(tmp_path / "x.npz")
    change(arrays)
    write_arrays(tmp_path / "x.npz", arrays)
    with pytest.raises(FormatError, match=said) as error:
        from_flax(tmp_path / "x.npz")
    assert re.match(f"{re.escape(str(tmp_path / 'x.npz'))}: ", str(error.value))


def test_layers_of_other_names_whose_order_cannot_be_seen_are_refused(tmp_path):
    arrays = {}
    for name, seed in (("lower", 1), ("upper", 2)):
        to_flax(Network((layer("LSTM", 5, 5, seed=seed),)), tmp_path / "one.npz")
        arrays |= {k.replace("layers_0", name): w for k, w in read_arrays(tmp_path / "one.npz").items()}
    write_arrays(tmp_path / "x.npz", arrays)
    with pytest.raises(
        FormatError, match=r"say rnn=\['lower/cell', 'upper/cell'\], or rnn=\['upper/cell', 'lower/cell'\]"
    ):
        from_flax(tmp_path / "x.npz")


def test_other_end_of_a_name_is_refused(tmp_path):
    with pytest.raises(FormatError, match=r"x\.msgpack: arrays are written to .safetensors or .npz"):
        to_flax(NETWORKS["GRU-3-5"], tmp_path / "x.msgpack")


@pytest.mark.parametrize("first", ["cell", "dense"])
def test_stack_that_may_be_two_directions_and_a_dense_layer_that_may_stand_before_are_asked_for(first, tmp_path):
    class Stack(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Dense(5)(x) if first == "dense" else nn.RNN(nn.OptimizedLSTMCell(5))(x)
            return nn.RNN(nn.OptimizedLSTMCell(5))(x)

    x = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32)
    variables = random_like(jax.eval_shape(Stack().init, jax.random.key(0), x))
    write_arrays(tmp_path / "x.npz", flatten_dict(variables, sep="/"))
    said = {
        "cell": "LSTMCell_0', 'OptimizedLSTMCell_1'], or rnn=['OptimizedLSTMCell_0+OptimizedLSTMCell_1']",
        "dense": "it may be 'Dense_0' -> 'OptimizedLSTMCell_0', which no network here is; say head='Dense_0'",
    }
    with pytest.raises(FormatError, match=re.escape(said[first])):
        from_flax(tmp_path / "x.npz")
    if first == "cell":
        network = from_flax(tmp_path / "x.npz", rnn=["OptimizedLSTMCell_0", "OptimizedLSTMCell_1"])
        np.testing.assert_allclose(
            outputs(network, np.swapaxes(x, 0, 1)), np.swapaxes(Stack().apply(variables, x), 0, 1), atol=1e-5
        )


def test_what_no_array_shows_can_be_told(tmp_path):
    """A classifier that reads one-hot symbols, whose SimpleCell has ReLU."""

    class Classifier(nn.Module):
        @nn.compact
        def __call__(self, x):
            h = nn.RNN(nn.SimpleCell(5, activation_fn=jax.nn.relu))(x)
            return jax.nn.softmax(nn.Dense(2)(h[:, -1]))

    ids = np.random.default_rng(0).integers(0, 7, (6, 3))
    x = np.eye(7, dtype=np.float32)[ids.T]
    variables = random_like(jax.eval_shape(Classifier().init, jax.random.key(0), x))
    write_arrays(tmp_path / "x.npz", flatten_dict(variables, sep="/"))
    network = from_flax(tmp_path / "x.npz", kind="RNN_RELU", when="last", softmax=True, one_hot=True)
    np.testing.assert_allclose(outputs(network, ids), np.asarray(Classifier().apply(variables, x)), atol=1e-5)
    to_flax(NETWORKS["GRU-3-5"], tmp_path / "gru.npz")
    with pytest.raises(FormatError, match="kind='RNN_TANH', but the weights are those of GRU"):
        from_flax(tmp_path / "gru.npz", kind="RNN_TANH")


@pytest.mark.parametrize("cell", CELLS.values())
@pytest.mark.parametrize("I", [5, 3])
def test_cells_of_nested_calls_are_numbered_backward(cell, I, tmp_path):
    class Nested(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(nn.RNN(cell(5))(nn.RNN(cell(5))(x)))

    x = np.random.default_rng(0).normal(size=(2, 3, I)).astype(np.float32)
    variables = random_like(jax.eval_shape(Nested().init, jax.random.key(0), x))
    write_arrays(tmp_path / "x.npz", flatten_dict(variables, sep="/"))
    upper, lower = (f"{cell.__name__}_{n}" for n in range(2))
    told = {"kind": "RNN_TANH"} if cell is nn.SimpleCell else {}
    if I == 5:  # else only one order fits
        said = f"say rnn=['{upper}', '{lower}'], or rnn=['{lower}', '{upper}']"
        with pytest.raises(FormatError, match=re.escape(said)):
            from_flax(tmp_path / "x.npz", **told)
        told["rnn"] = [lower, upper]
    found = outputs(from_flax(tmp_path / "x.npz", **told), np.swapaxes(x, 0, 1))
    np.testing.assert_allclose(found, np.swapaxes(Nested().apply(variables, x), 0, 1), atol=1e-5)


def test_of_two_directions_in_a_nested_call_the_first_is_the_forward_one(tmp_path):
    class Nested(nn.Module):
        @nn.compact
        def __call__(self, x):
            both = nn.Bidirectional(nn.RNN(nn.GRUCell(4)), nn.RNN(nn.GRUCell(4)))
            return nn.RNN(nn.GRUCell(5))(both(x))

    x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
    variables = random_like(jax.eval_shape(Nested().init, jax.random.key(0), x))
    write_arrays(tmp_path / "x.npz", flatten_dict(variables, sep="/"))
    with pytest.raises(FormatError) as error:
        from_flax(tmp_path / "x.npz")
    answers = str(error.value).rpartition("; say ")[2].split(", or ")
    assert not any("GRUCell_1+GRUCell_0" in answer for answer in answers)
    read = [eval(f"from_flax(path, {a})", {"from_flax": from_flax, "path": tmp_path / "x.npz"}) for a in answers]
    expected = np.swapaxes(Nested().apply(variables, x), 0, 1)
    assert any(np.allclose(outputs(each, np.swapaxes(x, 0, 1)), expected, atol=1e-5) for each in read)
