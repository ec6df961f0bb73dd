"""Characters and bytes per symbol, for each kind."""

import pytest

from unrolled.corpus import units
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.units import per_symbol

#: What a model predicts of a stream is all but its first symbol.
TABLE = {
    "ASCII characters": ("characters", "so long lives this", {}),
    "characters of two bytes": ("characters", "déjà vu.", {"byte": 9 / 7}),
    "ASCII bytes": ("bytes", b"so long lives this", {}),
    "bytes of a text": ("bytes", "déjà vu.".encode(), {"char": 7 / 9}),
    "bytes of no text": ("bytes", bytes(range(256)), {}),
    "byte pairs": ("bpe", "so so so so", {"char": 9 / 3}),
    "byte pairs of two-byte letters": ("bpe", "é é é", {"char": 4 / 2, "byte": 6 / 2}),
    "words": ("words", "so long\nlives  this", {"char": 16 / 4}),  # two spaces are read as one
    "words with letters of two bytes": ("words", "déjà vu.", {"char": 4 / 1}),
    "words and marks": ("words-and-marks", "so, long\nlives  this!", {"char": 18 / 6}),
    "names of symbols": ("symbols", "so long lives this", {}),
}


@pytest.mark.parametrize("case", TABLE)
def test_units_of_each_kind(case):
    kind, text, expected = TABLE[case]
    corpus = Corpus.from_text(text, kind=kind, validation=0, test=0)
    assert per_symbol(corpus.vocabulary, corpus.train) == pytest.approx(expected)


def test_eos_and_unk_count_as_one_character_of_one_byte():
    corpus = Corpus.from_text("ab cd\nab é\n", kind="words", lines=True, validation=0, test=0, min_count=2)
    assert corpus.unk_rates["train"] == 2 / 6
    assert per_symbol(corpus.vocabulary, corpus.train) == {"char": 6 / 4}  # ab, then " ?EOS"; twice


def test_bytes_cut_within_a_character_are_text():
    text = ("é" * 200).encode()[1:-1]
    corpus = Corpus.from_text(text, kind="bytes", validation=0, test=0)
    assert per_symbol(corpus.vocabulary, corpus.train) == {"char": 199 / 397}


def test_what_no_model_predicts_is_not_counted():
    """The first symbol of each sequence: a label, often, which is unlike the others."""
    corpus = Corpus.from_text("internationalization b\n" * 9, kind="words", lines=True, validation=0, test=0)
    assert per_symbol(corpus.vocabulary, corpus.train) == {"char": 3 / 2}  # " b" and EOS
    assert per_symbol(corpus.vocabulary, corpus.train, first=True) == {"char": 23 / 3}


@pytest.mark.parametrize("kind", ["characters", "words", "words-and-marks", "bpe"])
def test_parts_of_a_long_sequence_are_counted_as_the_whole(kind, monkeypatch):
    text = "déjà vu, so long lives this\n" * 30
    corpus = Corpus.from_text(text, kind=kind, validation=0, test=0)
    whole = per_symbol(corpus.vocabulary, corpus.train)
    for size in (1, 7):
        monkeypatch.setattr(units, "BLOCK", size)
        assert per_symbol(corpus.vocabulary, corpus.train) == pytest.approx(whole)


def test_all_symbols_are_counted_and_not_a_beginning():
    corpus = Corpus.from_text("a " * 1_200_000 + "b" * 30 + " c" * 2, kind="words", validation=0, test=0)
    assert per_symbol(corpus.vocabulary, corpus.train) == {"char": (2 * 1_200_001 + 31) / 1_200_002}
