"""A trace holds what the model computed: bit for bit where the core saved it, to rounding where it is recomputed."""

import math

import numpy as np
import pytest
import torch
from torch.nn.utils import prune

from tests.views.small_models import CONFIGS, small, unrolled
from unrolled.views import traces
from unrolled.views.gradients import gradients
from unrolled.views.traces import largest, trace

TEXT = "abacabbc?"


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CONFIGS)
def test_trace_holds_the_logits_of_the_model_to_the_bit(name, dtype):
    model = small(name, dtype=dtype)
    ids = torch.from_numpy(model.vocabulary.encode(TEXT))[:, None]
    with torch.no_grad():
        logits, _ = model(ids)
    found = trace(model, TEXT)
    assert np.array_equal(found.logits, logits[:, 0].numpy())
    np.testing.assert_allclose(found.probabilities, logits[:, 0].softmax(1).numpy(), atol=1e-6)


@pytest.mark.parametrize("name", CONFIGS)
def test_trace_holds_every_state_of_a_chain_of_single_steps(name):
    model = small(name)
    _, nodes = unrolled(model, TEXT)
    for layer, steps in zip(trace(model, TEXT).layers, nodes, strict=True):
        for k, values in enumerate([layer.h] if layer.c is None else [layer.h, layer.c]):
            wanted = torch.stack([states[k][0] for states in steps]).detach().numpy()
            np.testing.assert_allclose(values, wanted, rtol=1e-12, atol=1e-14)
        assert np.array_equal(layer.h_prev[1:], layer.h[:-1])


@pytest.mark.parametrize("name", CONFIGS)
def test_equations_hold_between_the_arrays_of_a_trace(name):
    for layer in trace(small(name), TEXT).layers:
        a, at = layer.pre_activations, layer.signals
        if layer.kind == "LSTM":
            wanted = {gate: (np.tanh if gate == "g" else sigmoid)(a[gate]) for gate in "ifgo"}
            wanted["c"] = at["f"] * layer.c_prev + at["i"] * at["g"]
            wanted["h"] = at["o"] * np.tanh(at["c"])
        elif layer.kind == "GRU":
            wanted = {"r": sigmoid(a["r"]), "z": sigmoid(a["z"]), "n": np.tanh(a["n"])}
            wanted["h"] = (1 - at["z"]) * at["n"] + at["z"] * layer.h_prev
        else:
            wanted = {"h": np.tanh(a["h"]) if layer.kind == "RNN_TANH" else np.maximum(a["h"], 0)}
        assert list(at) == list(wanted)
        for signal, values in wanted.items():
            np.testing.assert_allclose(at[signal], values, rtol=0, atol=1e-13, err_msg=signal)


def test_bits_are_those_that_scoring_charges():
    model = small("gru", dtype=torch.float32)
    model.start.copy_(torch.tensor([0.5, 0.25, 0.15, 0.05, 0.05]).log())
    found = trace(model, TEXT)
    np.testing.assert_allclose(found.bits, model.score(TEXT).bits[:-1], rtol=0, atol=1e-5)
    assert found.bits[0] == pytest.approx(1.0)
    after_a = -math.log2(found.probabilities[0, 1])
    assert found.bits[1] == pytest.approx(after_a, abs=1e-5)


def test_likeliest_symbols_come_best_first():
    found = trace(small(), TEXT)
    for row, p in zip(found.likeliest(3), found.probabilities, strict=True):
        assert [name for name, _ in row] == [found.names[k] for k in np.argsort(-p)[:3]]
        assert row[0][1] == p.max()


def test_slices_of_a_large_vocabulary_change_no_bit(monkeypatch):
    model = small("lstm", dtype=torch.float32)
    whole = trace(model, TEXT)
    monkeypatch.setattr(traces, "LOGITS", 2 * len(model.vocabulary))
    parts = trace(model, TEXT)
    np.testing.assert_array_equal(parts.bits, whole.bits)
    for few, all in zip(parts.best(3), whole.best(3), strict=True):
        np.testing.assert_array_equal(few, all)


def test_equal_logits_are_named_in_the_order_of_their_ids():
    rows = np.random.default_rng(0).integers(0, 4, (50, 20)).astype(np.float32)
    for count in (1, 3, 20, 30):
        want = np.argsort(-rows, axis=1, kind="stable")[:, :count]
        np.testing.assert_array_equal(largest(rows, count), want)


def test_trace_of_a_large_vocabulary_holds_no_more_logits_than_it_may(monkeypatch):
    model = small("rnn")
    monkeypatch.setattr(traces, "AT_MOST_LOGITS", 100 * len(model.vocabulary))
    with pytest.warns(RuntimeWarning, match="900 symbols; all are read, but only one step in 9 is kept"):
        found = trace(model, TEXT * 100)
    assert found.logits.shape == (100, len(model.vocabulary))
    np.testing.assert_allclose(found.bits, trace(model, TEXT * 100, at_most=900).bits[::9], rtol=1e-12)


@pytest.mark.parametrize("name", ["rnn", "lstm of two layers", "gru embedded"])
def test_trace_of_a_long_text_keeps_every_kth_step_and_warns(name):
    model, text = small(name, dtype=torch.float32), TEXT * 1000
    whole = trace(model, text)
    with pytest.warns(RuntimeWarning, match="9,000 symbols; all are read, but only one step in 4 is kept"):
        found = trace(model, text, at_most=2500)
    assert found.T == 2250
    assert np.array_equal(found.steps, np.arange(0, 9000, 4))
    exact = name != "gru embedded"  # the first product takes another path for another number of symbols
    for thin, full in zip(found.layers, whole.layers, strict=True):
        for signal, values in full.signals.items():
            np.testing.assert_allclose(thin.signals[signal], values[::4], rtol=0, atol=0 if exact else 1e-5)
        np.testing.assert_allclose(thin.h_prev, full.h_prev[::4], rtol=0, atol=0 if exact else 1e-5)
    np.testing.assert_allclose(found.bits, whole.bits[::4], rtol=0, atol=0 if exact else 1e-4)


def test_unseen_symbols_are_read_as_unk_and_counted():
    found = trace(small(), "a?b!")
    assert found.symbols == ("a", "UNK", "b", "UNK")
    assert found.unknown == 2


def test_table_has_a_row_for_each_symbol(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    found = trace(small("lstm of two layers"), "ab")
    rows = found.table("f", "c")
    assert [row["symbol"] for row in rows] == ["a", "b"]
    assert [key for key in rows[0] if key.startswith("f1")] == [f"f1[{unit}]" for unit in range(7)]
    assert rows[1]["c0[3]"] == found.layers[0].c[1, 3]
    assert rows[0]["p(EOS)"] == found.probabilities[0, 3]


@pytest.mark.parametrize("part", ["rnn", "head", "embedding"])
def test_views_read_pruned_weights_as_the_next_call_does(part):
    model, text = small("gru embedded"), "abcab"
    changed, weight = getattr(model, part), "weight_hh_l0" if part == "rnn" else "weight"
    prune.l1_unstructured(changed, weight, 0.5)
    with torch.no_grad():
        getattr(changed, f"{weight}_orig").mul_(-3)  # as an optimiser steps, after the last call
    seen, lags = trace(model, text), gradients(model, text)
    logits = model(torch.from_numpy(seen.ids.astype(np.int64))[:, None])[0][:, 0].detach().numpy()
    np.testing.assert_allclose(seen.logits, logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(lags.layers[0].dh, gradients(model, text).layers[0].dh)


def test_views_of_a_model_with_hooks_say_that_they_leave_them_out():
    model = small("gru embedded")
    model.head.register_forward_pre_hook(lambda _, given: (2 * given[0],))
    with pytest.warns(UserWarning, match="views read only the weights, so .* have no effect"):
        trace(model, "ab")


def test_trace_in_training_mode_is_without_dropout():
    model = small()
    quiet = trace(model, TEXT).logits
    object.__setattr__(model.config, "dropout", 0.9)
    model.train()
    assert np.array_equal(trace(model, TEXT).logits, quiet)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m: trace(m, ""), "the text is empty"),
        (lambda m: trace(m, "ab").values("f"), "GRU has no gate or state 'f'; it has r, z, n, h"),
        (lambda m: trace(m, "ab").values("r", 2), "layer is 2; the model has layers 0 to 0"),
    ],
)
def test_trace_of_what_is_not_there_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call(small("gru"))
