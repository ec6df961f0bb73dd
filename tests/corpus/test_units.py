"""Characters and bytes per symbol, for each kind."""

import pytest

from unrolled.corpus.corpus import Corpus
from unrolled.corpus.units import per_symbol

TABLE = {
    "ASCII characters": ("characters", "so long lives this", {}),
    "characters of two bytes": ("characters", "déjà vu.", {"byte": 10 / 8}),
    "ASCII bytes": ("bytes", b"so long lives this", {}),
    "bytes of a text": ("bytes", "déjà vu.".encode(), {"char": 8 / 10}),
    "bytes of no text": ("bytes", bytes(range(256)), {}),
    "byte pairs": ("bpe", "so so so so", {"char": 11 / 4}),
    "byte pairs of two-byte letters": ("bpe", "é é é", {"char": 5 / 3, "byte": 8 / 3}),
    "words": ("words", "so long\nlives  this", {"char": 18 / 5}),  # two spaces are read as one
    "words with letters of two bytes": ("words", "déjà vu.", {"char": 8 / 2, "byte": 10 / 2}),
    "words and marks": ("words-and-marks", "so, long\nlives  this!", {"char": 20 / 7}),
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
    assert per_symbol(corpus.vocabulary, corpus.train) == {"char": 10 / 6}  # ab ?EOS ab ?EOS


def test_bytes_cut_within_a_character_are_text():
    text = ("é" * 200).encode()[1:-1]
    corpus = Corpus.from_text(text, kind="bytes", validation=0, test=0)
    assert per_symbol(corpus.vocabulary, corpus.train) == {"char": 200 / 398}
