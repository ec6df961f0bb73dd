"""Units are found by what they follow; features say of a text what a reader would."""

import numpy as np
import pytest
import torch

from tests.views.small_models import small
from unrolled.lm import Corpus, ModelConfig, SequenceModel, Vocabulary
from unrolled.views.traces import trace
from unrolled.views.units import count, feature, followed, ranked


def counting(symbols="abc"):
    """An LSTM whose unit 2 counts a up and b down, exactly: gates saturated, c += 1 at a, c -= 1 at b."""
    model = small("lstm", hidden_size=5, symbols=symbols)
    with torch.no_grad():
        for name in "ifgo":
            for gate in (f"W_i{name}", f"W_h{name}", f"b_i{name}", f"b_h{name}"):
                getattr(model.rnn, gate)[2] = 0.0
        model.rnn.b_if[2] = 50.0
        model.rnn.b_io[2] = 50.0
        model.rnn.b_ii[2] = -50.0
        for symbol, step in (("a", 50.0), ("b", -50.0)):
            k = model.vocabulary.names.index(symbol)
            model.rnn.W_ig[2, k] = step
            model.rnn.W_ii[2, k] = 100.0
    return model


def test_counter_is_found_among_all_units():
    read = trace(counting(), "aabacabbcbaab")
    best, *others = ranked(read, "count:a-b")
    assert (best.name, best.correlation) == ("c0[2]", pytest.approx(1.0))
    assert len(others) == 9
    assert all(abs(each.correlation) <= 1 for each in others)


def test_ranking_is_by_size_of_the_correlation_and_takes_any_function():
    read = trace(small("gru"), "abcacbbac" * 5)
    wanted = np.array([len(name) + ord(name) for name in read.symbols], float)
    found = ranked(read, lambda symbols: [len(s) + ord(s) for s in symbols])
    for each in found:
        r = np.corrcoef(read.values("h")[:, each.unit], wanted)[0, 1]
        assert each.correlation == pytest.approx(r)
    assert sorted(found, key=lambda each: -abs(each.correlation)) == found


def test_unit_that_never_changes_follows_nothing():
    model = small("rnn")
    with torch.no_grad():
        model.rnn.weight_ih_l0[4] = model.rnn.weight_hh_l0[4] = 0
    found = {each.unit: each.correlation for each in ranked(trace(model, "abcabcc"), "position")}
    assert found[4] == 0
    assert not any(each.correlation for each in ranked(trace(model, "abcabcc"), "depth"))


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("depth", "a(b[c])", [0, 1, 1, 2, 2, 1, 0]),
        ("inside-quotes", 'a"b"“c”', [0, 1, 1, 0, 1, 1, 0]),
        ("line-length", "ab\n\nc", [1, 2, 0, 0, 1]),
        ("count:a", "aba", [1, 1, 2]),
        ("count:ab-c", "abcc", [1, 2, 1, 0]),
        ("position", "xyz", [0, 1, 2]),
    ],
)
def test_feature_has_a_value_for_each_symbol(name, text, wanted):
    assert list(feature(name)(list(text))) == wanted


def test_count_takes_long_symbols_between_commas():
    assert feature("count:up,rise-down")(["up", "down", "rise", "p"]) == [1, 0, 1, 1]
    assert count(["up"])(["up", "u", "p"]) == [1, 1, 1]


def test_wrong_features_are_refused():
    read = trace(small("rnn"), "abc" * 9)
    with pytest.raises(
        ValueError, match="no feature 'colour'; there are position, depth, inside-quotes, line-length, and"
    ):
        ranked(read, "colour")
    with pytest.raises(ValueError, match=r"gives \(2,\) values for 27 symbols"):
        ranked(read, lambda symbols: [1, 2])
    with pytest.warns(RuntimeWarning):
        thinned = trace(small("rnn"), "abc" * 9, at_most=10)
    with pytest.raises(ValueError, match="one step in 3 was traced"):
        ranked(thinned, "position")


@pytest.mark.parametrize("kind", ["characters", "words", "words-and-marks", "bytes", "bpe"])
def test_features_are_of_the_text_that_symbols_write(kind):
    text = 'f(a "so (long" lives)\nthis) and' + " é" * 3
    corpus = Corpus.from_text(text * 40, kind=kind, **({"vocabulary_size": 262} if kind == "bpe" else {}))
    read = trace(SequenceModel(ModelConfig(hidden_size=3), corpus.vocabulary), text)
    assert "".join(read.pieces).replace(" ", "") == text.replace(" ", "")
    for name, last in (("depth", 0), ("count:(-)", 0), ("count:é", 3), ("inside-quotes", 0)):
        values = followed(read, name)
        assert (values[-1], values.max() > 0) == (last, True), name
    after = [t for t, piece in enumerate(read.pieces) if "\n" in piece]
    lengths = followed(read, "line-length")
    assert lengths[after] == 0
    assert (lengths[after[0] + 1], lengths[0]) == (1, 1)


def test_symbol_that_writes_a_line_end_among_others_ends_the_line():
    assert feature("line-length")(["a", ")\n", "b"]) == [1, 0, 1]


def test_what_is_counted_is_one_symbol_where_the_vocabulary_has_it():
    words = ["he", "sat", "the", "t", "cat", "the"]
    read = trace(SequenceModel(ModelConfig(hidden_size=3), Vocabulary([*{*words}], "words")), " ".join(words))
    assert followed(read, "count:the").tolist() == [0, 0, 1, 1, 1, 2]
    assert followed(read, "count:t").tolist() == [0, 0, 0, 1, 1, 1]
