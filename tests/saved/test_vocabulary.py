"""The vocabulary: the textbook order, round trips, and no crash on what it has never seen."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.saved.vocabulary import REPLACEMENT, Vocabulary

texts = st.text(st.characters(codec="utf-8"))
symbol_lists = st.lists(st.text(st.characters(codec="utf-8"), min_size=1))


def test_vocabulary_keeps_the_textbook_order():
    vocabulary = Vocabulary.build([["a", "b", "EOS"], ["a", "a", "b", "b", "EOS"]], "symbols")
    assert vocabulary.names == ("a", "b", "EOS", "UNK")
    assert vocabulary.encode(["a", "a", "b", "b", "EOS", "c"]).tolist() == [0, 0, 1, 1, 2, 3]
    np.testing.assert_array_equal(vocabulary.one_hot([0, 1, 2, 3]), np.eye(4, dtype=np.float32))


def test_vocabulary_of_nothing_still_has_eos_and_unk():
    vocabulary = Vocabulary.build("", "characters")
    assert len(vocabulary) == 2
    assert vocabulary.encode("any").tolist() == [vocabulary.unk_id] * 3


@given(st.lists(texts), st.sampled_from(["symbols", "characters", "bytes", "words", "words-and-marks"]), st.booleans())
def test_ids_of_many_texts_are_those_of_each(many, kind, nfc):
    known = {"bytes": ["61", "c3"], "words": ["a", "b"]}.get(kind, ["a", "e\u0301"[0], "\u00e9"])
    vocabulary = Vocabulary(known, kind, nfc=nfc and kind not in ("bytes", "symbols"))
    many = [*many, "ae\u0301", "\u0301e", ""]
    for found, text in zip(vocabulary.encode_each(many), many, strict=True):
        assert found.dtype == np.int64
        assert found.tolist() == vocabulary.encode(text).tolist()


def test_ids_of_many_are_refused_as_those_of_one_are():
    assert Vocabulary("ab", "characters").encode_each([]) == []
    assert [each.tolist() for each in Vocabulary("ab", "characters").encode_each([["a"], "b"])] == [[0], [1]]
    with pytest.raises(ValueError, match="the text is bytes and the kind 'characters'"):
        Vocabulary("ab", "characters").encode_each(["a", b"b"])


@given(texts)
def test_vocabulary_characters_round_trip(text):
    vocabulary = Vocabulary.build(text, "characters")
    assert vocabulary.decode(vocabulary.encode(text)) == text


@given(st.binary())
def test_vocabulary_bytes_round_trip(data):
    vocabulary = Vocabulary.build(data, "bytes")
    assert vocabulary.decode_bytes(vocabulary.encode(data)) == data


@given(texts)
def test_vocabulary_bytes_of_text_decode_to_the_text(text):
    vocabulary = Vocabulary.build(text, "bytes")
    assert vocabulary.decode(vocabulary.encode(text)) == text


@given(symbol_lists)
def test_vocabulary_symbols_round_trip(symbols):
    vocabulary = Vocabulary.build([symbols], "symbols")
    assert vocabulary.decode(vocabulary.encode(symbols)) == symbols


@given(texts)
def test_vocabulary_words_round_trip_up_to_spaces(text):
    vocabulary = Vocabulary.build(text, "words")
    ids = vocabulary.encode(text)
    assert vocabulary.encode(vocabulary.decode(ids)).tolist() == ids.tolist()
    assert "".join(vocabulary.decode(ids).split()) == "".join(text.split())


@given(texts, st.sampled_from(["symbols", "characters", "bytes", "words", "words-and-marks"]))
def test_vocabulary_reads_any_text_without_failing(text, kind):
    vocabulary = Vocabulary(["61"] if kind == "bytes" else ["a"], kind)
    ids = vocabulary.encode(text)
    assert ids.dtype == np.int64
    assert vocabulary.unk_rate(ids) == np.mean(ids == vocabulary.unk_id) if len(ids) else True
    assert "".join(vocabulary.pieces(ids.tolist())) == vocabulary.text(ids)


@given(st.lists(st.text(st.characters(codec="utf-8")).filter(lambda s: s not in ("EOS", "UNK")), unique=True))
def test_vocabulary_json_round_trip(symbols):
    vocabulary = Vocabulary(symbols, "symbols")
    again = Vocabulary.from_json(vocabulary.to_json())
    assert again == vocabulary
    assert next(iter(json.loads(vocabulary.to_json()))) == "format_version"


def test_vocabulary_json_keeps_kind_and_normal_form():
    vocabulary = Vocabulary.build("cafe\u0301", "characters", nfc=True)
    again = Vocabulary.from_json(vocabulary.to_json())
    assert again.encode("e\u0301").tolist() == again.encode("\u00e9").tolist() == [again.symbols.index("\u00e9")]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a vocabulary"),
        (b"[]", "not a vocabulary"),
        (b"\xff", "not a vocabulary"),
        (b'{"format_version": 2}', "format version 2; this release reads 1"),
        (
            b'{"format_version": 1, "kind": "runes", "nfc": false, "symbols": []}',
            "kind is 'runes', expected one of",
        ),
        (b'{"format_version": 1, "kind": "bytes", "nfc": false, "symbols": [5]}', r"\$.symbols"),
        (b'{"format_version": 1, "kind": "bytes", "nfc": false, "symbols": [], "x": 1}', "unknown field"),
        (b'{"format_version": 1, "kind": "characters", "nfc": false, "symbols": ["a", "a"]}', "occurs twice"),
    ],
)
def test_vocabulary_json_refuses_what_it_did_not_write(data, says):
    with pytest.raises(ValueError, match=says):
        Vocabulary.from_json(data)


@pytest.mark.parametrize(
    ("symbols", "kind", "says"),
    [
        (["a", "EOS"], "symbols", "always there"),
        (["ab"], "characters", "2 code points, expected 1"),
        (["\ud800"], "characters", "lone surrogate"),
        (["zz"], "bytes", "hexadecimal"),
        (["a b"], "words", "not one word"),
        ([""], "words", "not one word"),
        ([7], "symbols", "is a int"),
        (["a"], "runes", "expected one of symbols"),
    ],
)
def test_vocabulary_refuses_a_symbol_of_another_kind(symbols, kind, says):
    with pytest.raises(ValueError, match=says):
        Vocabulary(symbols, kind)


def test_vocabulary_min_count_makes_rare_symbols_unknown():
    vocabulary = Vocabulary.build("aaab", "characters", min_count=2)
    ids = vocabulary.encode("aaab")
    assert vocabulary.unk_rate(ids) == 0.25
    assert vocabulary.decode(ids) == "aaa" + REPLACEMENT


def test_vocabulary_encodes_lone_surrogates_as_unknown():
    assert Vocabulary("a", "characters").encode("a\ud800\U0010ffff").tolist() == [0, 2, 2]


def test_vocabulary_decode_names_the_position_of_a_wrong_id():
    with pytest.raises(ValueError, match="id 4 at position 1, expected 0 to 3"):
        Vocabulary("ab").decode([0, 4])
    with pytest.raises(ValueError, match="expected integers"):
        Vocabulary("ab").decode([[0.5]])


def test_vocabulary_sets_words_apart_but_not_from_line_ends():
    vocabulary = Vocabulary.build("a b\n", "words")
    assert vocabulary.text(vocabulary.encode("a  b \n b\n\na")) == "a b\nb\n\na"


def test_vocabulary_pieces_hold_back_half_a_code_point():
    vocabulary = Vocabulary.build("\u00e9", "bytes")
    assert list(vocabulary.pieces(vocabulary.encode("\u00e9").tolist())) == ["", "\u00e9", ""]


def test_vocabulary_repr_is_short_for_a_long_alphabet():
    assert repr(Vocabulary(map(chr, range(200, 400)), "characters")).endswith("... EOS UNK)")
    assert repr(Vocabulary("ab")) == "Vocabulary(4 symbols: a b EOS UNK)"


def test_vocabulary_reads_integers_in_a_list_as_their_digits_and_names_what_is_no_symbol():
    symbols = Vocabulary(["a", "5"], "symbols")
    assert symbols.encode(["a", 5, 7]).tolist() == [0, 1, symbols.unk_id]
    for wrong, said in ((["a", None], "symbol 1 of the text is None, expected text"), (5, "the text is 5, expected")):
        with pytest.raises(TypeError, match=said):
            symbols.encode(wrong)


def test_vocabulary_of_limited_size_keeps_the_most_frequent_symbols():
    assert Vocabulary.build("c c c a b b", "words", size=4).names == ("b", "c", "EOS", "UNK")
    assert Vocabulary.build("c b a", "words", size=4).names == ("a", "b", "EOS", "UNK")
    assert len(Vocabulary.build("c c c a b b", "words", size=9)) == 5
    with pytest.raises(ValueError, match="size is 1, expected 2 or more"):
        Vocabulary.build("a", "words", size=1)
