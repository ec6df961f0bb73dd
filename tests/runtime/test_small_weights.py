"""Networks in bfloat16 and int8: computed as they are stored, in steps and in whole sequences alike."""

import numpy as np
import pytest

from tests.saved.networks import networks, text_networks
from unrolled import runtime
from unrolled.saved.narrow import narrowed
from unrolled.saved.network_folder import load_network, save_network

STEPPABLE = {name: network for name, network in networks() if network.is_steppable}


def inputs(network, T=9, B=3):
    rng = np.random.default_rng(0)
    x = rng.integers(0, network.I, (T, B)) if network.reads_symbols else rng.normal(size=(T, B, network.I))
    return x if network.reads_symbols else x.astype(np.float32)


@pytest.mark.parametrize("name", STEPPABLE)
def test_int8_sequences_have_the_bits_of_steps(name):
    network = narrowed(STEPPABLE[name], "int8")
    x = inputs(network)
    streams, others = (runtime.load(network).streams(3) for _ in range(2))
    each = network.head is None or network.head.when == "each"
    by_steps = np.stack([streams.step(x_t) for x_t in x])
    np.testing.assert_array_equal(others.feed(x), by_steps if each else by_steps[-1])
    for a, b in zip(streams.state, others.state, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["mixed", "GRU-one-hot", "head-last-False", "text-LSTM"])
def test_int8_rows_of_other_lengths_end_where_they_end(name):
    network = narrowed(STEPPABLE[name], "int8")
    model, x, lengths = runtime.load(network), inputs(network), [9, 4, 1]
    together = model.feed(x, lengths=lengths)
    streams = model.streams(3)
    streams.feed(x, lengths=lengths)
    for b, n in enumerate(lengths):
        one = model.streams(1)
        one.feed(x[:n, b : b + 1])
        for states, own in zip(streams.state.select([b]), one.state, strict=True):
            np.testing.assert_array_equal(states, own)
        alone = model.feed(x[:n, b : b + 1])
        each = network.head is None or network.head.when == "each"
        np.testing.assert_array_equal(together[:n, b] if each else together[b], alone[:, 0] if each else alone[0])
        if each:
            zeros = 0 if network.head is None else network.head.b
            np.testing.assert_array_equal(together[n:, b], np.broadcast_to(zeros, together[n:, b].shape))


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
@pytest.mark.parametrize("name", ["mixed", "text-GRU", "head-each-False", "LSTM-two-ways"])
def test_network_is_computed_as_it_is_stored_or_as_asked(name, weights, tmp_path):
    small = narrowed(dict(networks())[name], weights)
    save_network(tmp_path, small)
    x = inputs(small)
    stored, asked, wide = (runtime.load(tmp_path, weights=w).feed(x) for w in ("stored", weights, "float32"))
    np.testing.assert_array_equal(stored, asked)
    scale = np.abs(wide).max()
    assert np.abs(stored - wide).max() < 0.06 * scale
    if not (weights == "int8" and name == "LSTM-two-ways"):  # which has no steps
        assert (stored != wide).any()
    assert load_network(tmp_path).stored == weights


def test_float_network_is_brought_to_int8_when_asked():
    network = STEPPABLE["mixed"]
    x = inputs(network)
    asked = runtime.load(network, weights="int8").feed(x)
    np.testing.assert_array_equal(asked, runtime.load(narrowed(network, "int8")).feed(x))


@pytest.mark.parametrize("name", ["text-LSTM", "text-RNN_RELU-one-hot"])
def test_text_in_int8_scores_and_is_written(name):
    model = runtime.load(narrowed(dict(text_networks())[name], "int8"))
    wide = runtime.load(dict(text_networks())[name])
    assert abs(model.score("abcde").mean - wide.score("abcde").mean) < 0.05
    assert len(model.generate("ab", max_length=20, seed=1)) <= 20
    assert model.generate("ab", max_length=20, seed=1) == model.generate("ab", max_length=20, seed=1)
