"""Baselines against the formula written out with dictionaries, and against numbers worked out by hand."""

import bz2
import lzma
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.corpus import baselines
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.sonnets import sonnets
from unrolled.corpus.splitting import Sequences

V = 5
ragged = st.lists(st.lists(st.integers(0, V - 1), min_size=1, max_size=9), min_size=1, max_size=9)


def sequences_of(lists) -> Sequences:
    return Sequences(np.array([k for ids in lists for k in ids], np.uint8), np.cumsum([0, *map(len, lists)]))


def kneser_ney(lists, order):
    """The formula of the docstring, in exact arithmetic, one symbol at a time; -1 stands before a sequence."""
    raw = [Counter() for _ in range(order)]
    for ids in lists:
        padded = [-1] * order + ids
        for t in range(order + 1, len(padded)):
            for length in range(order):
                raw[length][tuple(padded[t - length : t + 1])] += 1
    counts = [Counter(gram[1:] for gram in raw[length + 1]) for length in range(order - 1)] + [raw[-1]]

    def discount(c, k):
        n = Counter(c.values())
        if not k or not all(n[m] for m in range(1, k + 2)):
            return Fraction(bool(k), 2)
        D = k - (k + 1) * Fraction(n[1], n[1] + 2 * n[2]) * Fraction(n[k + 1], n[k])
        return D if D > 0 else Fraction(1, 2)

    def p(w, h):
        lower = p(w, h[1:]) if h else Fraction(1, V)
        c = counts[len(h)]
        d = [discount(c, k) for k in range(4)]
        after = [c[(*h, v)] for v in range(V)]
        if not any(after):
            return lower
        return (c[(*h, w)] - d[min(c[(*h, w)], 3)] + sum(d[min(k, 3)] for k in after) * lower) / sum(after)

    return p


@settings(deadline=None)
@given(ragged, ragged, st.integers(1, 4), st.sampled_from([0, 1 << 27]))
def test_ngrams_match_the_formula(known, scored, order, table):
    p = kneser_ney(known, order)
    expected = [
        float(p(ids[t], tuple(([-1] * order + ids)[t + 1 : t + order]))) for ids in scored for t in range(1, len(ids))
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "TABLE", table)
        [*_, got] = baselines.ngram_probabilities(sequences_of(known), sequences_of(scored), V, [1, order])
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@given(ragged, st.lists(st.integers(0, V - 1), max_size=4))
def test_ngrams_sum_to_one_over_the_vocabulary(known, context):
    scored = sequences_of([[0, *context, w] for w in range(V)])
    got = baselines.ngram_probabilities(sequences_of(known), scored, V, [3])[0]
    assert np.isclose(got[len(context) :: len(context) + 1].sum(), 1)


def test_table_of_the_textbook_example_by_hand():
    corpus = Corpus.from_sequences([["a", "b"], ["a", "a", "b", "b"]], validation=0, test=0)
    uniform, unigram, *_ = baselines.table(corpus, "train")
    assert uniform.bits_per_symbol == 2
    # predicted: b EOS a b b EOS; c = 1 a, 2 EOS, 3 b; one count each of 1, 2 and 3, none of 4, so that
    # d(1) = 1 - 2/3, d(2) = 2 - 3/3, d(3) = 1/2, and 1/3 + 1 + 1/2 = 11/6 is freed for p = 1/4
    p = {"a": (1 - 1 / 3 + 11 / 24) / 6, "EOS": (2 - 1 + 11 / 24) / 6, "b": (3 - 1 / 2 + 11 / 24) / 6}
    bits = -np.log2([p["b"], p["EOS"], p["a"], p["b"], p["b"], p["EOS"]]).mean()
    assert unigram.bits_per_symbol == pytest.approx(bits, rel=1e-12)


def test_table_of_the_sonnets_improves_with_order():
    found = {baseline.name: baseline.bits_per_symbol for baseline in baselines.table(Corpus.from_text(sonnets()))}
    assert list(found) == ["uniform", "unigram", "bigram", "5-gram", "xz", "bz2"]
    assert found["uniform"] > found["unigram"] > found["bigram"] > found["5-gram"] > 1.5
    assert found["5-gram"] < found["bz2"]


@pytest.mark.parametrize(("name", "compress"), [("xz", lzma.compress), ("bz2", bz2.compress)])
def test_table_compressors_count_what_the_scored_text_adds(name, compress):
    corpus = Corpus.from_text(sonnets(), validation=0, test=0.1)
    found = {baseline.name: baseline.bits_per_symbol for baseline in baselines.table(corpus)}
    text, cut = sonnets().encode(), corpus.split.sizes[0]
    expected = 8 * (len(compress(text)) - len(compress(text[:cut]))) / (len(text) - cut)
    assert found[name] == pytest.approx(expected, rel=0.02)  # ids are other bytes than letters, in the same pattern
    alone = {baseline.name: baseline.bits_per_symbol for baseline in baselines.table(corpus, "train")}
    assert alone[name] == pytest.approx(8 * len(compress(text[:cut])) / cut, rel=0.02)


def test_table_counts_unknown_symbols_as_symbols():
    corpus = Corpus.from_text("ab" * 50 + "c" * 20, validation=0, test=1 / 6)
    assert corpus.unk_rates["test"] == 1
    assert all(np.isfinite(baseline.bits_per_symbol) for baseline in baselines.table(corpus))


def test_table_of_a_large_vocabulary_compresses_text():
    text = " ".join(f"w{k % 300}" for k in range(3000))
    found = {b.name: b.bits_per_symbol for b in baselines.table(Corpus.from_text(text, kind="words"))}
    assert found["xz"] < found["unigram"]


@pytest.mark.parametrize("stream", [True, False])
def test_table_counts_no_more_than_its_limit(monkeypatch, stream):
    monkeypatch.setattr(baselines, "COUNTED", 100)
    text = "ab\n" * 200 + "ba\n" * 200
    corpus = Corpus.from_text(text, lines=not stream, validation=0)
    tail = baselines._tail(corpus.train)
    assert 97 < len(tail.ids) <= 100
    assert tail.offsets[-1] == len(tail.ids)
    assert "its last" in baselines.table(corpus)[1].note


def test_table_names_the_splits_there_are():
    with pytest.raises(ValueError, match="no symbols in split 'test'; it has train"):
        baselines.table(Corpus.from_text("abc" * 9, validation=0, test=0))
