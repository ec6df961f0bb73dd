"""Equinox loads what is written, and what Equinox wrote is read: the same numbers, by the real library."""

import io

import numpy as np
import pytest

from tests.formats.equations import inputs, lacking, outputs
from tests.saved.networks import layer, networks
from unrolled.export import to_equinox
from unrolled.formats.network_of import FormatError
from unrolled.imports import from_equinox
from unrolled.saved.network import Head, Network

jax = pytest.importorskip("jax", reason="the numbers are compared with those of Equinox")
eqx = pytest.importorskip("equinox", reason="the numbers are compared with those of Equinox")

NETWORKS = dict(networks())
PARTS = "elman relu two_ways projection peepholes initial"
REFUSED = {name: part for name in NETWORKS if (part := lacking(NETWORKS[name], PARTS))}
HELD = [name for name in NETWORKS if name not in REFUSED]
KEY = jax.random.key(0)


class Model(eqx.Module):
    """What the documentation tells a reader to write."""

    embed: eqx.nn.Embedding | None
    cells: list
    head: eqx.nn.Linear | None

    def __init__(self, network):
        cells = {"LSTM": eqx.nn.LSTMCell, "GRU": eqx.nn.GRUCell}
        self.embed = None if network.embedding is None else eqx.nn.Embedding(*network.embedding.shape, key=KEY)
        self.cells = [cells[each.kind](each.I, each.H, each.has_bias, key=KEY) for each in network.layers]
        head = network.head
        self.head = None if head is None else eqx.nn.Linear(*head.W.shape[::-1], head.b is not None, key=KEY)

    def __call__(self, x):
        x = x if self.embed is None else jax.vmap(self.embed)(x)
        for cell in self.cells:
            zeros = np.zeros(cell.hidden_size, np.float32)
            is_lstm = isinstance(cell, eqx.nn.LSTMCell)

            def step(state, x, cell=cell, is_lstm=is_lstm):
                state = cell(x, state)
                return state, state[0] if is_lstm else state

            _, x = jax.lax.scan(step, (zeros, zeros) if is_lstm else zeros, x)
        return x if self.head is None else jax.vmap(self.head)(x)


def run(model, network, x):
    x = np.eye(network.I, dtype=np.float32)[x] if network.one_hot else x
    return np.stack([np.asarray(model(row)) for row in np.swapaxes(x, 0, 1)], 1)


def plain(network):
    """The network with a head that gives logits after each step: the rest is code in Equinox."""
    head = network.head and Head(network.head.W, network.head.b)
    return Network(network.layers, network.embedding, network.one_hot, head)


@pytest.mark.parametrize("name", [name for name in HELD if "float64" not in name])
def test_equinox_computes_the_numbers_of_what_is_written(name, tmp_path):
    network = NETWORKS[name]
    to_equinox(network, tmp_path / "model.eqx")
    model = eqx.tree_deserialise_leaves(tmp_path / "model.eqx", Model(network))
    x = inputs(network, B=1)
    np.testing.assert_allclose(run(model, network, x), outputs(plain(network), x), atol=1e-5)


@pytest.mark.parametrize("name", HELD)
def test_network_comes_back(name, tmp_path):
    network = NETWORKS[name]
    to_equinox(network, tmp_path / "model.eqx")
    found = from_equinox(tmp_path / "model.eqx")
    assert [(each.kind, each.I, each.H, each.has_bias) for each in found.layers] == [
        (each.kind, each.I, each.H, each.has_bias) for each in network.layers
    ]
    x = inputs(network)
    vectors = np.eye(network.I)[x] if network.one_hot else x
    np.testing.assert_allclose(outputs(found, vectors), outputs(plain(network), x), atol=1e-6)


def test_embedding_that_could_be_a_kernel_is_told_from_one(tmp_path):
    network = Network((layer("LSTM", 5, 5), layer("LSTM", 5, 5, seed=1)), np.ones((20, 5), np.float32))
    to_equinox(network, tmp_path / "model.eqx")
    assert from_equinox(tmp_path / "model.eqx").embedding.shape == (20, 5)


def zeros(*shape):
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_leaves_that_equinox_wrote_are_read(kind, tmp_path):
    network = Network((layer(kind, 3, 4), layer(kind, 4, 5)), zeros(7, 3), head=Head(zeros(7, 5), zeros(7)))
    rng = np.random.default_rng(4)
    model = jax.tree.map(lambda w: jax.numpy.asarray(rng.uniform(-0.9, 0.9, w.shape), "float32"), Model(network))
    eqx.tree_serialise_leaves(tmp_path / "model.eqx", model)
    x = inputs(network, B=1)
    np.testing.assert_allclose(outputs(from_equinox(tmp_path / "model.eqx"), x), run(model, network, x), atol=1e-5)


def test_leaves_that_fit_with_an_embedding_and_without_one_are_refused(tmp_path):
    layers = (layer("LSTM", 5, 5, bias=False), layer("LSTM", 5, 5, bias=False))
    to_equinox(Network(layers, np.ones((20, 5), np.float32)), tmp_path / "model.eqx")
    with pytest.raises(FormatError, match=r"does not say how its parts follow each other: .* say head='4', or head=''"):
        from_equinox(tmp_path / "model.eqx")
    assert from_equinox(tmp_path / "model.eqx", head="").embedding.shape == (20, 5)
    assert from_equinox(tmp_path / "model.eqx", head="4").embedding is None


def test_linear_before_the_cells_is_no_embedding_and_a_learned_state_no_head(tmp_path):
    cells = [np.ones(shape, np.float32) for shape in ((20, 5), (20, 5), (20,))]
    for leaves, said, told in (
        (
            [np.ones((5, 9), np.float32), *cells],
            "is '0' -> '1', which no network here is",
            {"embedding": "", "head": ""},
        ),
        ([np.ones((5, 5), np.float32), *cells], "say embedding='0'", {"embedding": "0"}),
        ([*cells, np.ones((1, 5), np.float32)], "its parts do not fit|say head=''", {"head": "3"}),
    ):
        (tmp_path / "x.eqx").write_bytes(saved(*leaves))
        with pytest.raises(FormatError, match=said):
            from_equinox(tmp_path / "x.eqx")
        rnn = ["1"] if leaves[0] is not cells[0] else ["0"]
        network = from_equinox(tmp_path / "x.eqx", rnn=rnn, **told)
        assert (network.embedding is not None, network.head is not None) == (
            bool(told.get("embedding")),
            bool(told.get("head")),
        )


@pytest.mark.parametrize("name", REFUSED)
def test_what_equinox_cannot_hold_is_said_and_nothing_is_written(name, tmp_path):
    with pytest.raises(FormatError, match=f"Equinox cannot hold {REFUSED[name]} of layer"):
        to_equinox(NETWORKS[name], tmp_path / "model.eqx")
    assert not list(tmp_path.iterdir())


def saved(*arrays):
    buffer = io.BytesIO()
    for array in arrays:
        np.save(buffer, array)
    return buffer.getvalue()


LSTM = (np.ones((20, 3), "f"), np.ones((20, 5), "f"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "are no LSTMCells or GRUCells with an Embedding"),
        (b"\x93NUMPY\x01\x00", "leaf at byte 0: damaged, or no array"),
        (saved(*LSTM)[:-1], r"leaf at byte 368: cut off: \(20, 5\) of float32 is more than its 399 bytes"),
        (saved(*LSTM).replace(b"(20, 5)", b"(2**9,)"), "leaf at byte 368: damaged, or no array"),
        (saved(*LSTM).replace(b"(20, 5), }   ", b"(999999999999,), }"), "leaf at byte 368: damaged|cut off"),
        (saved(*LSTM, np.array([{}], object)), "of object, expected one of numbers; nothing else is read"),
        (saved(*LSTM, np.ones(20, int)), "is int64, expected float16, float32 or float64"),
        (saved(*LSTM, np.ones(19, "f")), r"leaves \(20, 3\), \(20, 5\), \(19,\) are no LSTMCells"),
        (
            saved(np.ones((15, 3), "f"), np.ones((15, 5), "f"), np.ones(15, "f")),
            "are no LSTMCells or GRUCells with an Embedding",
        ),
        (saved(*LSTM, np.full(20, np.nan, "f")), "has 20 non-finite numbers"),
        (saved(*LSTM, np.ones((7, 6), "f")), r"its parts do not fit each other: '0' \(LSTM, 3 to 5\), '2' \(6 to 7\)"),
    ],
)
def test_leaves_that_are_no_network_are_refused(data, said, tmp_path):
    path = tmp_path / "bad.eqx"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=said) as error:
        from_equinox(path)
    assert str(error.value).startswith(f"{path}: ")


def test_half_precision_is_widened(tmp_path):
    halves = [np.linspace(-1, 1, w.size).reshape(w.shape).astype(np.float16) for w in LSTM]
    (tmp_path / "half.eqx").write_bytes(saved(*halves))
    (weights,) = from_equinox(tmp_path / "half.eqx").layers[0].directions
    np.testing.assert_array_equal(weights.W_ih, halves[0].astype(np.float32), strict=True)


@pytest.mark.parametrize("bias", [True, False])
def test_stack_of_many_layers_comes_back(bias, tmp_path):
    layers = tuple(layer("LSTM", 3 if k == 0 else 2, 2, bias=bias, seed=k) for k in range(120))
    to_equinox(Network(layers), tmp_path / "deep.eqx")
    found = from_equinox(tmp_path / "deep.eqx").layers
    assert len(found) == 120
    np.testing.assert_array_equal(found[77].directions[0].W_ih, layers[77].directions[0].W_ih)


def test_leaves_that_can_be_divided_in_many_ways_are_not_searched_for_ever(tmp_path):
    same = [np.ones((4, 1), np.float32)] * 90
    for leaves, said in (
        ([*same, np.ones(7, np.float32)], "are no LSTMCells"),
        ([*same, np.ones((4, 9), np.float32)], "do not fit each other|does not say how|which no network here is"),
        (same, "does not say how its parts follow each other|do not fit each other|which no network here is"),
        ([np.ones((4, 1), np.float32)] * 700, "has 700 leaves, expected 600 at most"),
    ):
        (tmp_path / "x.eqx").write_bytes(saved(*leaves))
        with pytest.raises(FormatError, match=said):
            from_equinox(tmp_path / "x.eqx")


def test_cells_are_told_in_another_order_than_that_of_the_fields(tmp_path):
    lower, upper = layer("LSTM", 3, 4, seed=1), layer("GRU", 4, 5, seed=2)
    to_equinox(Network((upper,)), tmp_path / "upper.eqx")
    to_equinox(Network((lower,)), tmp_path / "lower.eqx")
    (tmp_path / "x.eqx").write_bytes((tmp_path / "upper.eqx").read_bytes() + (tmp_path / "lower.eqx").read_bytes())
    with pytest.raises(
        FormatError, match=r"its parts do not fit each other: '0' \(GRU, 4 to 5\), '4' \(LSTM, 3 to 4\)"
    ):
        from_equinox(tmp_path / "x.eqx")
    assert [each.kind for each in from_equinox(tmp_path / "x.eqx", rnn=["4", "0"]).layers] == ["LSTM", "GRU"]
