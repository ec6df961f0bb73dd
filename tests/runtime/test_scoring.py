"""Texts scored in one batch have the bits of each alone, and these are the log-probabilities of single steps."""

import math

import numpy as np
import pytest

from tests.saved.networks import layer, text_networks
from unrolled import runtime
from unrolled.core.sampling import log_softmax, log_softmax_at
from unrolled.saved.network import Head, Network, TextPart
from unrolled.saved.vocabulary import Vocabulary

MODELS = dict(text_networks())


def framed(V=5, H=9):
    """A network of V symbols that learned sequences, which end with EOS."""
    rng, vocabulary = np.random.default_rng(4), Vocabulary(map(chr, range(0x4E00, 0x4E00 + V)), "characters")
    W, b, start = (rng.normal(size=shape).astype(np.float32) for shape in ((V + 2, H), (V + 2,), (V + 2,)))
    part = TextPart(vocabulary, True, start)
    return Network((layer("GRU", V + 2, H),), one_hot=True, head=Head(W, b), text=part)


def texts(vocabulary, count, longest, seed=0):
    """Random texts of one to so many symbols, some unknown."""
    rng = np.random.default_rng(seed)
    symbols = [*vocabulary.symbols, "?"]
    return ["".join(rng.choice(symbols, rng.integers(1, longest + 1))) for _ in range(count)]


def stepped(model, text):
    """The bits of each symbol, from the logits of single steps."""
    ids = [*model.vocabulary.encode(text), *([model.vocabulary.eos_id] if model.framed else [])]
    logits, bits = model.start, []
    for symbol in ids:
        bits.append(-log_softmax(logits)[symbol] / math.log(2))
        logits = model.step(symbol)
    model.reset()
    return bits


@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", [*MODELS, "framed", "many symbols"])
def test_scores_of_a_batch_have_the_bits_of_steps_alone(name, weights, monkeypatch):
    monkeypatch.setattr("unrolled.runtime.scoring.TEXTS", 7)
    monkeypatch.setattr("unrolled.runtime.scoring.LOGITS", 1 << 10)
    network = {"framed": framed, "many symbols": lambda: framed(3000)}.get(name, lambda: MODELS[name])()
    model = runtime.load(network, weights=weights)
    given = texts(model.vocabulary, 30, 40)
    for text, score in zip(given, model.score_each(given), strict=True):
        assert score.bits.tolist() == stepped(model, text)
        alone = model.score(text)
        assert (score.pieces, score.unknown) == (alone.pieces, alone.unknown)
        np.testing.assert_array_equal(score.bits, alone.bits)
        assert len(score.pieces) == len(score.bits)


def test_scores_come_in_the_order_of_the_texts_and_know_what_was_unknown():
    model = runtime.load(framed())
    a, b, *_ = model.vocabulary.symbols
    scores = model.score_each([a + b + "?", a, b * 9])
    assert [score.pieces for score in scores] == [(a, b, "?", " EOS"), (a, " EOS"), (*b * 9, " EOS")]
    assert [score.unknown for score in scores] == [1, 0, 0]
    assert model.score_each([]) == []


def test_empty_text_among_others_is_refused_by_its_place():
    model = runtime.load(framed())
    with pytest.raises(ValueError, match="text 2 of 2 to score is empty; give at least one symbol"):
        model.score_each(["\u4e00", ""])
    with pytest.raises(ValueError, match=r"^the text to score is empty"):
        model.score("")


def test_equations_score_as_the_core_does(monkeypatch):
    model = runtime.load(MODELS["text-mixed"])
    want = [score.bits for score in model.score_each(["abc", "e", "abcdeabcde"])]
    monkeypatch.setenv("UNROLLED_BACKEND", "reference")
    for score, bits in zip(model.score_each(["abc", "e", "abcdeabcde"]), want, strict=True):
        np.testing.assert_allclose(score.bits, bits, atol=1e-5)


@pytest.mark.parametrize("V", [1, 7, 300, 40_000])
def test_log_probability_of_one_symbol_has_the_bits_of_all(V):
    rng = np.random.default_rng(V)
    logits, ids = 9 * rng.normal(size=(50, V)).astype(np.float32), rng.integers(0, V, 50)
    found = log_softmax_at(logits, ids)
    for row, symbol, nats in zip(logits, ids, found, strict=True):
        assert log_softmax(row)[symbol] == nats
        assert log_softmax(row[None])[0, symbol] == nats


def test_long_text_among_short_ones_is_not_what_they_are_filled_up_to(monkeypatch):
    """A batch of one long line and 255 short ones would take 256 times the memory of the long one."""
    monkeypatch.setattr("unrolled.runtime.scoring.PLACES", 200)
    model = runtime.load(framed())
    long, short = texts(model.vocabulary, 1, 300, seed=2)[0] * 40, texts(model.vocabulary, 60, 4)
    seen, read_on = [], type(model).read_on
    monkeypatch.setattr(
        type(model), "read_on", lambda self, ids, *more: seen.append(ids.size) or read_on(self, ids, *more)
    )
    scores = model.score_each([*short[:30], long, *short[30:]])
    assert sum(seen) < 2 * (len(long) + sum(map(len, short)) + len(short))
    np.testing.assert_array_equal(scores[30].bits, model.score(long).bits)
