"""Baselines against numbers worked out by hand, and against what they are made of."""

import bz2
import lzma
from dataclasses import replace

import numpy as np
import pytest

from unrolled.corpus import baselines
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.sonnets import sonnets
from unrolled.corpus.splitting import as_stream


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
    assert list(found) == ["uniform", "unigram", "bigram", "5-gram", "mixture", "xz", "bz2"]
    assert found["uniform"] > found["unigram"] > found["bigram"] > found["5-gram"] > 1.5
    assert found["mixture"] < found["5-gram"] < found["bz2"]


@pytest.fixture(scope="module")
def spelled():
    """A text of a few long words over two letters: short contexts say little."""
    chance = np.random.default_rng(0)
    words = ["".join(chance.choice(list("ab"), 12)) for _ in range(6)]
    return "".join(chance.choice(words, 2000))


@pytest.mark.parametrize(("validation", "where"), [(0.05, "the validation split"), (0, "the end of training")])
def test_the_order_is_the_best_on_other_symbols_than_those_scored(spelled, validation, where):
    corpus = Corpus.from_text(spelled, validation=validation)
    found = {baseline.name: baseline for baseline in baselines.table(corpus)}
    [order] = found.keys() - {"uniform", "unigram", "bigram", "5-gram", "mixture", "xz", "bz2"}
    assert 5 < int(order.removesuffix("-gram")) <= baselines.LONGEST
    assert found[order].bits_per_symbol < found["5-gram"].bits_per_symbol / 2
    assert where in found[order].note
    assert where in found["mixture"].note
    noise = as_stream(np.random.default_rng(1).integers(0, 2, 1000).astype(np.uint8))
    other = {baseline.name: baseline for baseline in baselines.table(replace(corpus, test=noise))}
    assert other[order].note == found[order].note  # noise is predicted best by the shortest
    assert other[order].bits_per_symbol > other["unigram"].bits_per_symbol


def test_what_little_data_cannot_choose_is_left_out():
    corpus = Corpus.from_text("abab", validation=0, test=0)
    assert [each.name for each in baselines.table(corpus, "train")] == ["uniform", "unigram", "bigram", "5-gram"]


def test_mark_is_the_strongest_ngram_on_a_bounded_part(monkeypatch, spelled):
    corpus = Corpus.from_text(spelled)
    ngrams = [each for each in baselines.table(corpus, "validation") if each.name not in ("uniform", "xz", "bz2")]
    assert baselines.mark(corpus) == min(ngrams, key=lambda each: each.bits_per_symbol)
    monkeypatch.setattr(baselines, "COUNTED", 1000)
    monkeypatch.setattr(baselines, "MARK_SCORED", 100)
    small = replace(
        corpus, train=as_stream(corpus.train.ids[-1000:]), validation=as_stream(corpus.validation.ids[:100])
    )
    assert baselines.mark(corpus).bits_per_symbol == baselines.mark(small).bits_per_symbol
    with pytest.raises(ValueError, match="no symbols in split 'validation'"):
        baselines.mark(Corpus.from_text(spelled, validation=0))


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


@pytest.mark.parametrize(("kind", "end"), [("words", "\n"), ("bpe", "")])
def test_symbols_of_a_large_vocabulary_are_compressed_as_their_text(kind, end):
    lines = [f"w{k % 300} Käse{end}" for k in range(3000)]
    corpus = Corpus.from_text(" ".join(lines), kind=kind, vocabulary_size=600, validation=0, test=0)
    found = {each.name: each.bits_per_symbol for each in baselines.table(corpus, "train")}
    text = (corpus.vocabulary.text(corpus.train.ids) + "\n").encode()
    assert found["xz"] == 8 * len(lzma.compress(text)) / len(corpus.train.ids)


@pytest.mark.parametrize("stream", [True, False])
def test_table_counts_no_more_than_its_limit(monkeypatch, stream):
    monkeypatch.setattr(baselines, "COUNTED", 100)
    text = "ab\n" * 200 + "ba\n" * 200
    corpus = Corpus.from_text(text, lines=not stream, validation=0)
    before, tail = baselines._cut(corpus.train, 100)
    assert 97 < len(tail.ids) <= 100
    assert len(before) == (1 if stream else len(corpus.train) - len(tail))
    for part in (before, tail):
        assert part.offsets[-1] == len(part.ids)
    assert "its last" in baselines.table(corpus)[1].note


def test_table_names_the_splits_there_are():
    with pytest.raises(ValueError, match="no symbols in split 'test'; it has train"):
        baselines.table(Corpus.from_text("abc" * 9, validation=0, test=0))
