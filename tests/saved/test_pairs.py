"""Byte pairs: every byte is read back, and the symbols are those that the library of tokenizers learns and finds."""

import json
import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from unrolled.corpus.corpus import Corpus
from unrolled.corpus.sonnets import sonnets
from unrolled.saved.tokenizers import tokenizer
from unrolled.saved.tokenizers.pairs import ALPHABET, LONGEST, SIZE
from unrolled.saved.vocabulary import Vocabulary

BPE = tokenizer("bpe")
WHOLE = {"validation": 0, "test": 0}
TEXT = "so long as men can breathe or eyes can see\nso long lives this, déjà vu — 1609's   rose\n" * 8
#: Texts with what pre-tokens turn on: white space of all kinds, letters with marks, digits, contractions, long runs.
assigned = st.characters(codec="utf-8", exclude_categories=["Cn"])  # of what is not, the library may know more
texts = st.text(assigned) | st.text("ab '’st1٣½ \n\t\r\u00a0\u2028\u3000\x1c\x85é\u0301नि中。😀_-", max_size=200)


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary.build(TEXT, "bpe", size=400)


@given(data=st.binary())
def test_any_bytes_are_read_back(vocabulary, data):
    ids = vocabulary.encode(data)
    assert vocabulary.unk_id not in ids
    assert vocabulary.decode_bytes(ids) == data


@given(text=texts)
def test_any_text_is_read_back_and_is_its_own_bytes(vocabulary, text):
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == text
    assert vocabulary.decode_bytes(ids) == text.encode()
    assert vocabulary.encode(text.encode()).tolist() == ids.tolist()


def test_lone_surrogates_are_three_bytes_as_of_kind_bytes(vocabulary):
    of_bytes = Vocabulary.build(bytes(range(256)), "bytes")
    for text in ("a\ud800b", "\udfff é"):
        assert vocabulary.decode_bytes(vocabulary.encode(text)) == of_bytes.decode_bytes(of_bytes.encode(text))


def test_normal_form_keeps_what_is_no_text():
    vocabulary = Vocabulary.build(TEXT, "bpe", size=400, nfc=True)
    assert vocabulary.decode_bytes(vocabulary.encode(b"e\xcc\x81\xff")) == b"\xc3\xa9\xff"
    assert vocabulary.decode_bytes(vocabulary.encode("e\u0301\udfff")) == b"\xc3\xa9\xed\xbf\xbf"
    assert vocabulary.decode_bytes(vocabulary.encode("\udcff")) == b"\xff"  # a byte, as Python writes it


@pytest.mark.parametrize(
    "text", ["don't", "a  b", "a\n\n b\t\n", "x²½3 12345", "नमस्ते दुनिया", "y" * 200, " " * 200 + "z"]
)
def test_pretokens_are_words_digits_punctuation_and_line_ends(text):
    pretokens = [BPE.data([pretoken]).decode() for pretoken in BPE.split(text)]
    assert "".join(pretokens) == text
    for pretoken in pretokens:
        assert pretoken == "\n" or "\n" not in pretoken
        assert len(pretoken) <= LONGEST + 1
        kinds = {unicodedata.category(c)[0] for c in pretoken.removeprefix(" ")} - ({"P"} if "'" in pretoken else set())
        assert len({"L" if kind == "M" else kind for kind in kinds}) <= 1, pretokens


def test_pairs_are_joined_in_the_order_of_the_paper():
    counts = {"low": 5, "lower": 2, "newest": 6, "widest": 3}
    found = BPE.learn(counts, 1)[len(ALPHABET) :]
    assert found == ["es", "est", "lo", "low", "ew", "new", "newest", "dest", "idest", "widest", "er", "lower"]
    assert BPE.learn(counts, 6)[len(ALPHABET) :] == found[:7]
    assert BPE.learn(counts, 1, 260) == [*ALPHABET, *found[:4]]
    assert BPE.learn(dict(reversed(counts.items())), 1)[len(ALPHABET) :] == found


def test_pair_that_occurs_once_is_no_symbol():
    assert BPE.learn({"abc": 1}, 1) == [*ALPHABET]
    assert BPE.learn({"abab": 1}, 1) == [*ALPHABET, "ab"]


def test_size_holds_eos_and_unk_and_has_a_default():
    assert len(Vocabulary.build(TEXT, "bpe", size=300)) == 300
    assert len(Vocabulary.build(sonnets(), "bpe")) <= SIZE
    for size in (257, 2):
        with pytest.raises(
            ValueError, match=f"size is {size}; of kind='bpe' it must be 258 or more, for the 256 bytes"
        ):
            Vocabulary.build(TEXT, "bpe", size=size)
    assert len(Vocabulary.build(TEXT, "bpe", size=258)) == 258


@pytest.mark.parametrize(
    ("symbol", "fault"), [("a b", "holds ' '"), ("", "is empty"), ("\ufffd", "stands for no byte")]
)
def test_symbol_that_is_no_run_of_bytes_is_refused(symbol, fault):
    with pytest.raises(ValueError, match=fault):
        Vocabulary([symbol], "bpe")


def test_model_of_byte_pairs_needs_no_symbols_of_new_data():
    own = Corpus.from_text(TEXT, kind="bpe", vocabulary_size=300, **WHOLE).vocabulary
    other = Corpus.from_text("never seen: Ωμέγα " * 9, vocabulary=own, extend=True, **WHOLE)
    assert other.vocabulary == own
    assert other.unk_rates["train"] == 0


def test_symbols_are_learned_from_training_alone():
    corpus = Corpus.from_text("ab" * 400 + "cd" * 100, kind="bpe", validation=0.1, test=0.1)
    assert "ab" in corpus.vocabulary.symbols
    assert not any("c" in symbol for symbol in corpus.vocabulary.symbols if len(symbol) > 1)


# ---- beside the library


@pytest.fixture(scope="module")
def library():
    return pytest.importorskip("tokenizers", reason="needs [dev]")


def pattern():
    """The pattern of pre-tokens, as the library's regular expressions write it."""
    blank = r"\t\x{0b}-\r \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
    letter, N = r"\p{L}\p{M}", LONGEST
    return (
        rf"\n|'(?:[stmd]|re|ve|ll)| ?[{letter}]{{1,{N}}}| ?\p{{N}}{{1,3}}| ?[^{blank}\n{letter}\p{{N}}]{{1,{N}}}"
        rf"|[{blank}]{{1,{N}}}(?![^{blank}\n])|[{blank}]{{1,{N}}}"
    )


def untrained(library, model):
    made = library.Tokenizer(model)
    split = library.pre_tokenizers.Split(library.Regex(pattern()), "isolated")
    as_bytes = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.pre_tokenizer = library.pre_tokenizers.Sequence([split, as_bytes])
    made.decoder = library.decoders.ByteLevel()
    return made


def trained(library, text, size):
    made = untrained(library, library.models.BPE())
    alphabet = library.pre_tokenizers.ByteLevel.alphabet()
    trainer = library.trainers.BpeTrainer(
        vocab_size=size, min_frequency=2, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([text], trainer)
    return made


@given(text=texts)
@example(text="\u845b\U000e0100 :\U000e01ef")  # a character in one of its forms
def test_pretokens_are_those_of_the_librarys_regular_expressions(library, text):
    found = untrained(library, library.models.BPE()).pre_tokenizer.pre_tokenize_str(text)
    assert BPE.split(text) == [pretoken for pretoken, _ in found]


@pytest.mark.parametrize("text", [TEXT, sonnets()], ids=["small", "sonnets"])
@pytest.mark.parametrize("size", [300, 1000, 3000])
def test_symbols_are_those_that_the_library_learns(library, text, size):
    vocab = trained(library, text, size).get_vocab()
    assert [*Vocabulary.build(text, "bpe", size=size + 2).symbols] == sorted(vocab, key=vocab.get)


def test_text_is_cut_as_the_library_cuts_it(library):
    text = sonnets()
    made, ours = trained(library, text[:50_000], 1500), Vocabulary.build(text[:50_000], "bpe", size=1502)
    assert ours.encode(text).tolist() == made.encode(text).ids


def test_symbols_of_its_file_are_taken_in_the_order_of_its_merges(library, tmp_path):
    made, path = trained(library, TEXT, 300), tmp_path / "tokenizer.json"
    made.add_special_tokens(["<|endoftext|>"])
    made.save(str(path))
    learned = Vocabulary.build(TEXT, "bpe", size=302)
    assert BPE.read(path) == [*learned.symbols]
    assert BPE.read(path, 270) == [*learned.symbols[:270]]
    model = json.loads(path.read_text())["model"]
    pairs = [" ".join(merge) for merge in model["merges"]]  # as older releases wrote them
    (tmp_path / "old.json").write_text(json.dumps({"model": {"type": "BPE", "vocab": model["vocab"], "merges": pairs}}))
    assert BPE.read(tmp_path / "old.json") == [*learned.symbols]
    (tmp_path / "marked.json").write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert BPE.read(tmp_path / "marked.json") == [*learned.symbols]
    corpus = Corpus.from_text(TEXT, kind="bpe", tokenizer=str(path), **WHOLE)
    assert corpus.vocabulary == learned


def normalized(normalizer):
    """Return the file of a tokenizer that does something to a text first."""
    return json.dumps({"normalizer": normalizer, "model": {"type": "BPE", "merges": ["a b"]}})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "not a tokenizer.json"),
        ("[]", "not a tokenizer.json: Expected `object`, got `array`"),
        ('{"model": {"type": "WordPiece", "vocab": {}}}', "its model is 'WordPiece', expected BPE"),
        ('{"model": {"type": "Unigram", "vocab": [["a", -1.5]]}}', "its model is 'Unigram', expected BPE"),
        ('{"model": {"type": "BPE", "vocab": {}, "merges": []}}', "it has no merges"),
        ('{"model": {"type": "BPE", "merges": ["a b", "abc"]}}', "merge 1 is 'abc', expected two symbols"),
        (
            '{"model": {"type": "BPE", "merges": [["▁", "a"]]}}',
            "its symbol '▁a' is not one of bytes; take a byte-level",
        ),
        (
            '{"model": {"type": "BPE", "merges": ["a b"], "end_of_word_suffix": "</w>"}}',
            "marks where words begin or end",
        ),
        (normalized({"type": "NFC"}), "into another form first ('NFC'), which is not done here; nfc=True, or take the"),
        (
            normalized({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]}),
            "into another form first ('NFC', 'Lowercase'), which is not done here; do it to the text before, or take",
        ),
        (normalized({"type": ["NFC"]}), "not a tokenizer.json"),
        ("[" * 100_000, "not a tokenizer.json"),
        ('{"model": {"type": "BPE", "merges": ["\\ud800 a"]}}', "not a tokenizer.json"),
    ],
)
def test_file_that_is_no_byte_level_tokenizer_is_refused_by_its_name(content, said, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        Corpus.from_text(TEXT, kind="bpe", tokenizer=str(path), **WHOLE)
    assert str(caught.value).startswith(f"{path}: ")


def test_normal_form_that_a_tokenizer_wants_is_that_in_which_the_text_is_read(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(normalized({"type": "Sequence", "normalizers": [{"type": "NFC"}]}))
    assert "ab" in Corpus.from_text(TEXT, kind="bpe", tokenizer=str(path), nfc=True, **WHOLE).vocabulary.symbols
    path.write_text(normalized({"type": "Sequence", "normalizers": []}))
    assert "ab" in Corpus.from_text(TEXT, kind="bpe", tokenizer=str(path), **WHOLE).vocabulary.symbols
    path.write_text(normalized({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Strip"}]}))
    with pytest.raises(ValueError, match=r"first \('Strip'\)"):
        Corpus.from_text(TEXT, kind="bpe", tokenizer=str(path), nfc=True, **WHOLE)


def test_tokenizer_is_for_byte_pairs_and_must_be_there(tmp_path):
    with pytest.raises(ValueError, match=r"none\.json: cannot read: No such file"):
        Corpus.from_text(TEXT, kind="bpe", tokenizer=str(tmp_path / "none.json"), **WHOLE)
    for kind in ("auto", "words", "bytes"):
        with pytest.raises(
            ValueError, match=r"needs kind='bpe': kind (characters|words|bytes) has its symbols from the"
        ):
            Corpus.from_text(TEXT, kind=kind, tokenizer="tokenizer.json", **WHOLE)
