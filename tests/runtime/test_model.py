"""A network of any shape runs without torch: steps, whole sequences, the equations and torch's layers agree."""

import copy
import os
import pickle
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from tests.runtime.torch_networks import outputs
from tests.saved.networks import layer, networks, text_networks
from unrolled import nn, runtime
from unrolled.runtime import RuntimeModel, TextModel
from unrolled.saved.network import Head, Network
from unrolled.saved.network_folder import save_network


def more_networks():
    """Shapes that formats need not hold, beside those of the shared grid."""
    rng = np.random.default_rng(9)
    W, b, E = (rng.normal(size=shape) for shape in ((7, 8), (7,), (6, 3)))
    both = (layer("LSTM", 3, 5, 2, dtype=np.float64, initial=True), layer("GRU", 10, 4, 2, dtype=np.float64, seed=1))
    for when in ("each", "last", "last_output"):
        yield f"two-ways-{when}", Network(both, E, head=Head(W, b, when, softmax=True))
    one = (
        layer("LSTM_PEEPHOLE", 3, 5, initial=True),
        layer("LSTM", 5, 9, P=4, seed=1),
        layer("RNN_TANH", 4, 33, seed=2),
    )
    yield "peephole-projected", Network(one, head=Head(np.float32(W[:, :1] @ np.ones((1, 33)))))


NETWORKS = {**dict(networks()), **dict(more_networks())}
STEPPABLE = [name for name, network in NETWORKS.items() if network.is_steppable]


def inputs(network, T, B, seed=0):
    """Random symbols (T, B), or vectors (T, B, I)."""
    rng = np.random.default_rng(seed)
    if network.reads_symbols:
        return rng.integers(0, network.I, (T, B))
    return rng.normal(size=(T, B, network.I)).astype(network.dtype)


def tolerance(network):
    return {"atol": 1e-12, "rtol": 1e-12} if network.dtype == np.float64 else {"atol": 1e-5, "rtol": 1e-5}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("backend", ["fused", "reference"])
def test_sequences_match_torch(name, backend, monkeypatch):
    monkeypatch.setenv("UNROLLED_BACKEND", backend)
    network = NETWORKS[name]
    model, x = RuntimeModel(network), inputs(network, 7, 3)
    lengths = [7, 4, 1]
    want = outputs(network, x, lengths)
    got = model.feed(x, lengths=lengths)
    assert got.dtype == network.dtype
    for b, n in enumerate(lengths):
        of_row = got[b] if got.ndim == 2 else got[:n, b]
        np.testing.assert_allclose(of_row, want[b], **tolerance(network))


@pytest.mark.parametrize("name", STEPPABLE)
@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
def test_steps_have_the_bits_of_a_whole_sequence(name, weights):
    network = NETWORKS[name]
    model, x = RuntimeModel(network, weights), inputs(network, 11, 1)[:, 0]
    x = x if network.reads_symbols or weights == "float32" else x.astype(np.float32)
    steps = np.stack([model.step(x_t) for x_t in x])
    after = model.state
    model.reset()
    fed = model.feed(x)
    np.testing.assert_array_equal(fed, steps if fed.ndim == 2 else steps[-1])
    assert model.state.equals(after)
    model.reset()
    model.feed(x[:4])
    fed = model.feed(x[4:])
    np.testing.assert_array_equal(fed, steps[4:] if fed.ndim == 2 else steps[-1])


@pytest.mark.parametrize("name", STEPPABLE)
def test_steps_match_those_of_the_equations(name, monkeypatch):
    network = NETWORKS[name]
    model, x = RuntimeModel(network), inputs(network, 5, 1)[:, 0]
    want = [model.step(x_t) for x_t in x]
    monkeypatch.setenv("UNROLLED_BACKEND", "reference")
    again = RuntimeModel(network)
    for x_t, y in zip(x, want, strict=True):
        np.testing.assert_allclose(again.step(x_t), y, **tolerance(network))


@pytest.mark.parametrize("name", ["two-ways-each", "two-ways-last", "LSTM-two-ways"])
def test_network_of_two_directions_reads_whole_sequences_and_does_not_step(name):
    network = NETWORKS[name]
    model, x = RuntimeModel(network), inputs(network, 6, 2)
    one = model.feed(x[:, 0])
    np.testing.assert_array_equal(one, model.feed(x[:, 0]))  # it carries no state
    together = model.feed(x)
    np.testing.assert_array_equal(together[0] if together.ndim == 2 else together[:, 0], one)
    for call in (lambda: model.step(x[0, 0]), model.streams, model.reset, lambda: model.state):
        with pytest.raises(ValueError, match=r"bidirectional and has no next step.*model\.feed"):
            call()


@pytest.mark.parametrize("name", ["LSTM-3-5", "GRU-one-hot", "mixed", "head-last-True", "text-LSTM", "two-ways-each"])
def test_folder_and_network_give_the_same_model(name, tmp_path):
    network = NETWORKS[name]
    save_network(tmp_path / "model", network)
    x = inputs(network, 5, 2)
    loaded, direct = runtime.load(tmp_path / "model"), runtime.load(network)
    assert type(loaded) is type(direct)
    np.testing.assert_array_equal(loaded.feed(x), direct.feed(x))


def test_network_of_text_generates_and_another_does_not():
    for name, network in text_networks():
        model = runtime.load(network)
        assert isinstance(model, TextModel), name
        assert len(model.generate("a", max_length=5, seed=2)[0]) <= 5
        assert len("".join(model.stream("a", max_length=5, seed=2))) <= 5
        assert model.score("abc").bits.shape == (3,)
    assert type(runtime.load(NETWORKS["mixed"])) is RuntimeModel
    with pytest.raises(ValueError, match="predicts no next symbol of a text"):
        TextModel(NETWORKS["mixed"])


def test_learned_state_is_where_a_stream_begins_and_returns_to():
    network = NETWORKS["LSTM-initial"]
    model, x = RuntimeModel(network), inputs(network, 3, 1)[:, 0]
    for own, learned in zip(model.state[0], network.layers[0].initial[0], strict=True):
        np.testing.assert_array_equal(own[0], learned)
    first = model.step(x[0])
    model.step(x[1])
    model.reset()
    np.testing.assert_array_equal(model.step(x[0]), first)


def test_state_that_is_set_is_where_the_stream_goes_on():
    network = NETWORKS["mixed"]
    model, x = RuntimeModel(network), inputs(network, 6, 1)[:, 0]
    model.feed(x[:3])
    kept = model.state
    want = model.feed(x[3:])
    assert not model.state.equals(kept)
    model.state = kept
    np.testing.assert_array_equal(model.feed(x[3:]), want)
    other = RuntimeModel(network)
    other.state = runtime.State.from_bytes(kept.to_bytes())
    np.testing.assert_array_equal(other.feed(x[3:]), want)


def test_result_of_a_step_is_the_callers():
    model, x = RuntimeModel(NETWORKS["GRU-3-5"]), inputs(NETWORKS["GRU-3-5"], 2, 1)[:, 0]
    first = model.step(x[0])
    kept = first.copy()
    first[:] = 7
    again = model.step(x[1])
    model.reset()
    np.testing.assert_array_equal(model.step(x[0]), kept)
    np.testing.assert_array_equal(model.step(x[1]), again)


@pytest.mark.parametrize("backend", ["fused", "reference"])
def test_input_that_does_not_fit_is_refused_with_what_was_expected(backend, monkeypatch):
    monkeypatch.setenv("UNROLLED_BACKEND", backend)
    vectors, symbols = RuntimeModel(NETWORKS["LSTM-3-5"]), RuntimeModel(NETWORKS["GRU-one-hot"])
    for x in (np.zeros(4, np.float32), np.zeros((1, 3), np.float32), np.zeros(3), np.zeros(3, np.int64), [1, 2]):
        with pytest.raises(ValueError, match=r"x is .* expected float32 vectors \(B, I\) = \(1, 3\)"):
            vectors.step(x)
    for symbol in (-1, 6, 10**6):
        with pytest.raises(IndexError, match=f"symbol {symbol} .*expected 0 to V - 1 = 5"):
            symbols.step(symbol)
    with pytest.raises(TypeError):
        symbols.step(1.0)
    with pytest.raises(ValueError, match=r"x is float64 .*convert it, x\.astype\('float32'\)"):
        vectors.feed(np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"x is float64 .*expected int64 symbols"):
        symbols.feed(np.zeros(4))
    with pytest.raises(ValueError, match=r"expected vectors \(T, I\) or \(T, B, I\) with I = 3"):
        vectors.feed(np.zeros((4, 2), np.float32))
    with pytest.raises(ValueError, match=r"expected symbols \(T,\) or \(T, B\)"):
        symbols.feed(np.zeros((4, 2, 6), np.int64))
    with pytest.raises(ValueError, match=r"lengths is \[5, 1\], expected .* each from 0 to T = 4"):
        vectors.feed(np.zeros((4, 2, 3), np.float32), lengths=[5, 1])
    with pytest.raises(ValueError, match="lengths are those of several sequences"):
        vectors.feed(np.zeros((4, 3), np.float32), lengths=[4])


def test_symbol_out_of_range_in_a_sequence_is_named_with_its_place():
    model = RuntimeModel(NETWORKS["GRU-one-hot"])
    x = np.zeros((4, 2), np.int64)
    x[2, 1] = 6
    with pytest.raises(IndexError, match="symbol 6 at step 2 of row 1, expected 0 to V - 1 = 5"):
        model.feed(x)
    model.feed(x, lengths=[4, 2])  # it is not read
    before = model.state
    with pytest.raises(IndexError, match="symbol 6 at step 2"):
        model.feed(x[:, 1])
    assert model.state.equals(before)


@pytest.mark.parametrize("name", STEPPABLE)
def test_sequence_without_steps_leaves_the_state(name):
    network = NETWORKS[name]
    model = RuntimeModel(network)
    model.step(inputs(network, 1, 1)[0, 0])
    before = model.state
    y = model.feed(inputs(network, 0, 1)[:, 0])
    assert y.shape == ((network.width,) if network.head and network.head.when != "each" else (0, network.width))
    assert model.state.equals(before)
    assert model.feed(inputs(network, 3, 0)).size == 0


def test_lists_are_read_as_arrays_are():
    symbols, vectors = RuntimeModel(NETWORKS["GRU-one-hot"]), RuntimeModel(NETWORKS["GRU-3-5"])
    np.testing.assert_array_equal(symbols.feed([1, 2, 3]), symbols.feed(np.array([[1], [2], [3]], np.int8))[:, 0])
    y = vectors.step([0.5, 1, 2])
    vectors.reset()
    np.testing.assert_array_equal(vectors.feed([[0.5, 1, 2]])[0], y)


def test_sequence_in_pieces_of_any_size_has_the_same_bits(monkeypatch):
    network = NETWORKS["mixed"]
    x = inputs(network, 50, 3)
    want = RuntimeModel(network).feed(x, lengths=[50, 0, 31])
    for rows in (1, 7, 40):
        monkeypatch.setattr("unrolled.runtime.engine.ROWS", rows)
        np.testing.assert_array_equal(RuntimeModel(network).feed(x, lengths=[50, 0, 31]), want)


def test_model_needs_no_torch(tmp_path):
    for name in ("two-ways-last", "mixed", "text-GRU"):
        save_network(tmp_path / name, NETWORKS[name])
    code = f"""
import sys
sys.modules["torch"] = None  # an import of torch would raise
import numpy as np
from unrolled import runtime
runtime.load({str(tmp_path / "two-ways-last")!r}).feed([[1, 2], [3, 4]])
mixed = runtime.load({str(tmp_path / "mixed")!r})
mixed.feed(np.ones((3, 2, 3), np.float32))
mixed.step([1, 2, 3])
mixed.streams(3).step(np.ones((3, 3), np.float32))
text = runtime.load({str(tmp_path / "text-GRU")!r})
text.score_each(["abc", "a"])
text.step(2)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_model_can_be_pickled_and_copied_and_the_copy_begins_anew():
    network = NETWORKS["mixed"]
    model, x = RuntimeModel(network), inputs(network, 1, 1)[0, 0]
    want = model.step(x)
    for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model)):
        np.testing.assert_array_equal(again.step(x), want)


def test_threads_that_share_a_model_each_get_their_own_results():
    network = NETWORKS["text-LSTM"]
    model, x = runtime.load(network), inputs(network, 400, 4)
    alone = model.feed(x)
    found, problems = {}, []

    def serve(row):
        try:
            streams = model.streams()
            found[row] = np.stack([streams.step(x[t, row : row + 1])[0] for t in range(len(x))])
            assert model.score("abcde" * 9).bits.shape == (45,)
            model.step(0)
        except Exception as problem:
            problems.append(problem)

    threads = [threading.Thread(target=serve, args=(row,)) for row in range(x.shape[1])]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert problems == []
    for row, y in found.items():
        np.testing.assert_array_equal(y, alone[:, row])


@pytest.mark.whole_process
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_forked_child_waits_for_no_thread_that_was_stepping():
    model = RuntimeModel(NETWORKS["GRU-one-hot"])
    first = model.step(1)
    with model._lock:  # as a thread of the parent holds it, which the child has not
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            os._exit(0 if np.array_equal(model.step(1), first) else 1)  # it begins anew
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.whole_process
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_forked_child_goes_on_where_its_parent_is():
    model = RuntimeModel(NETWORKS["GRU-one-hot"])
    model.step(1)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        before = model.state
        model.reset()
        model.step(1)
        os._exit(0 if model.state.equals(before) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_layer_saves_itself_for_the_runtime(tmp_path):
    import torch

    for made in (nn.LSTM(3, 5, 2), nn.GRU(3, 5, bidirectional=True), nn.RNN(3, 5, nonlinearity="relu")):
        made.save_pretrained(tmp_path / "layer", overwrite=True)
        x = torch.randn(6, 2, 3)
        np.testing.assert_array_equal(runtime.load(tmp_path / "layer").feed(x.numpy()), made(x)[0].detach().numpy())


@pytest.mark.parametrize("backend", ["fused", "reference"])
@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
def test_probability_that_is_too_small_is_zero_whatever_the_caller_makes_of_underflow(weights, backend, monkeypatch):
    monkeypatch.setenv("UNROLLED_BACKEND", backend)
    head = Head(np.array([[900.0], [0.0]], np.float32) * np.ones(5, np.float32), np.zeros(2, np.float32), softmax=True)
    model = RuntimeModel(Network((layer("LSTM", 3, 5),), head=head), weights)
    x = np.full((9, 3), 8, np.float32)
    want = model.feed(x)
    model.reset()
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(model.feed(x), want)
        model.reset()
        for x_t, y_t in zip(x, want, strict=True):
            np.testing.assert_array_equal(model.step(x_t), y_t)
    assert (want.min(axis=1) == 0).any()


@pytest.mark.parametrize("weights", ["stored", "float32", "bfloat16", "int8"])
def test_model_keeps_the_weights_that_its_network_had(weights):
    network = Network((layer("LSTM", 3, 5, initial=True),), head=Head(np.ones((2, 5), np.float32)))
    for w in network.tensors().values():
        w.flags.writeable = True
    model = RuntimeModel(network, weights)
    x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    before = model.feed(x)
    for w in network.tensors().values():
        w *= 2
    for read in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        read.reset()
        np.testing.assert_array_equal(read.feed(x), before)
        read.reset()
        np.testing.assert_array_equal(np.stack([read.step(x_t) for x_t in x]), before)
    assert not np.array_equal(RuntimeModel(network, weights).feed(x), before)


def test_arrays_of_the_other_byte_order_are_read_as_their_numbers():
    def swapped(a):
        return a.astype(a.dtype.newbyteorder())

    vectors = RuntimeModel(Network((layer("GRU", 3, 5),)))
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    want = vectors.feed(x)
    vectors.reset()
    np.testing.assert_array_equal(np.stack([vectors.step(x_t) for x_t in swapped(x)]), want)
    vectors.reset()
    np.testing.assert_array_equal(vectors.feed(swapped(x)), want)
    np.testing.assert_array_equal(vectors.streams(4).step(swapped(x)), vectors.streams(4).step(x))
    vectors.state = runtime.State([tuple(map(swapped, s)) for s in vectors.initial(1)])
    np.testing.assert_array_equal(vectors.feed(x), want)
    symbols = RuntimeModel(Network((layer("GRU", 3, 5),), one_hot=True))
    ids = np.array([[0, 2], [1, 1]])
    np.testing.assert_array_equal(symbols.feed(swapped(ids)), symbols.feed(ids))
    np.testing.assert_array_equal(symbols.streams(2).step(swapped(ids[0])), symbols.streams(2).step(ids[0]))
    for wrong in (x.astype(">f8"), x[:, :2].astype(">f4")):
        with pytest.raises(ValueError, match=r"expected float32 vectors \(B, I\) = \(4, 3\)"):
            vectors.streams(4).step(wrong)


@pytest.mark.parametrize("x", [[None, 1.0, 2.0], ["1", "2", "3"], [True, False, True], [1j, 0, 0]])
def test_what_is_no_number_is_no_step(x):
    """NumPy made NaN of None, and numbers of texts."""
    model = RuntimeModel(Network((layer("GRU", 3, 5),)))
    with pytest.raises(ValueError, match=r"x is .* \(3,\), expected float32"):
        model.step(x)


def test_bool_is_no_symbol():
    model = RuntimeModel(Network((layer("GRU", 4, 5),), one_hot=True))
    for read in (model.step, lambda x: model.feed([x])):
        with pytest.raises(ValueError, match=r"x is bool .*, expected int64 symbols"):
            read(True)
