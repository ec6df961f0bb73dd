"""Tokenizers: what each kind promises, and that a new kind is one file and one registration."""

import ast
import codecs
import itertools
import re
from collections import Counter
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unrolled
from unrolled.config.data import DataConfig, SymbolKind
from unrolled.corpus import Corpus
from unrolled.corpus.batching import StreamBatches
from unrolled.saved.model import load_model, save_model
from unrolled.saved.tokenizers import TOKENIZERS, tokenizer
from unrolled.saved.tokenizers.base import CodeTokenizer, Tokenizer
from unrolled.saved.vocabulary import EOS, REPLACEMENT, UNK, Vocabulary

texts = st.text(st.characters(codec="utf-8")) | st.text("ab \n\té\u2028\x1c")
kinds = pytest.mark.parametrize("kind", TOKENIZERS)


def test_config_offers_the_kinds_that_have_a_tokenizer():
    assert set(get_args(SymbolKind)) == set(TOKENIZERS)
    assert set(get_args(get_type_hints(DataConfig)["kind"])) == {"auto", *TOKENIZERS}
    assert all(each.kind == kind for kind, each in TOKENIZERS.items())


def compared_kinds(source):
    """Kinds of symbol that a source compares something called kind with."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare) and re.search(r"\bkind$", ast.unparse(node.left)):
            parts = [part for comparator in node.comparators for part in ast.walk(comparator)]
            yield from {part.value for part in parts if isinstance(part, ast.Constant)} & set(TOKENIZERS)


def test_no_file_compares_the_kind_of_symbol():
    files = Path(unrolled.__file__).parent.rglob("*.py")
    assert [path.name for path in files if list(compared_kinds(path.read_text()))] == []


def test_comparison_with_a_kind_is_seen():
    assert list(compared_kinds("if x.kind in ('words', 'x') or kind == 'bytes': pass")) == ["words", "bytes"]


@pytest.mark.parametrize("kind", ["characters", "bytes"])
@given(text=texts)
def test_split_loses_nothing(kind, text):
    reader = tokenizer(kind)
    assert "".join(reader.pieces(reader.split(text))) == text


@pytest.mark.parametrize("kind", ["words", "words-and-marks", "symbols"])
@given(text=texts)
def test_split_loses_white_space_only(kind, text):
    reader = tokenizer(kind)
    symbols = reader.split(text)
    written = "".join(reader.pieces(symbols))
    if kind != "words-and-marks" or not re.search(r"[^\S\n](?!\S)", text):  # which knows where a line ends
        assert reader.split(written) == symbols
    assert "".join(written.split()) == "".join(text.split())
    assert symbols.count("\n") == (0 if kind == "symbols" else text.count("\n"))


@kinds
@given(text=texts)
def test_split_lines_is_split_of_each_line(kind, text):
    reader = tokenizer(kind)
    newline = "0a" if kind == "bytes" else "\n"
    found = reader.split_lines(text) if not isinstance(reader, CodeTokenizer) else reader.split(text)
    lines = [reader.split(line) for line in text.split("\n")]
    assert found == [symbol for line in lines for symbol in [*line, newline]][:-1]


@kinds
@given(text=texts, rest=texts)
def test_cut_divides_no_symbol(kind, text, rest):
    reader = tokenizer(kind)
    n = reader.cut(text)
    assert reader.split(text[:n]) + reader.split(text[n:] + rest) == reader.split(text + rest)
    assert reader.cut(text[n:]) == 0


@kinds
@given(text=texts)
def test_symbols_of_a_text_have_no_fault_but_the_reserved_names(kind, text):
    reader = tokenizer(kind)
    assert {symbol for symbol in reader.split(text) if reader.fault(symbol)} <= {EOS, UNK}


@given(data=st.binary() | texts.map(str.encode))
def test_pieces_of_bytes_are_incremental_utf8(data):
    pieces = list(tokenizer("bytes").pieces(f"{byte:02x}" for byte in data))
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    assert pieces == [*(decoder.decode(bytes([byte])) for byte in data), decoder.decode(b"", final=True)]
    assert "".join(pieces) == data.decode("utf-8", "replace")
    assert tokenizer("bytes").data(f"{byte:02x}" for byte in data) == data


@kinds
@given(data=st.data())
def test_aligned_pieces_are_one_for_each_id(kind, data):
    vocabulary = Vocabulary.build("rose é €\n", kind)
    ids = data.draw(st.lists(st.integers(0, len(vocabulary) - 1)))
    pieces = vocabulary.aligned_pieces(ids)
    assert len(pieces) == len(ids)
    assert "".join(pieces) == "".join(vocabulary.pieces(ids)) == vocabulary.text(ids)


@kinds
@given(text=texts, known=texts)
def test_encode_is_the_lookup_of_each_symbol(kind, text, known):
    vocabulary = Vocabulary.build(known, kind)
    names = vocabulary.names if kind == "symbols" else vocabulary.symbols
    index = {name: k for k, name in enumerate(names)}
    expected = [index.get(symbol, vocabulary.unk_id) for symbol in vocabulary.split(text)]
    assert vocabulary.encode(text).tolist() == expected == vocabulary.encode(vocabulary.split(text)).tolist()


@pytest.mark.parametrize(("kind", "number"), [("bytes", 256), ("characters", 0x110000)])
def test_codes_name_the_symbols_they_come_from(kind, number):
    reader = tokenizer(kind)
    codes = np.unique([0, 1, 10, 127, 128, 255, number - 1])
    assert reader.limit == number
    for code in codes[codes < number].tolist():
        assert reader.code(reader.symbol(code)) == code
        assert reader.symbol(code) in reader.split(bytes([code]) if kind == "bytes" else chr(code))


@pytest.mark.parametrize("kind", ["characters", "words", "words-and-marks", "symbols"])
def test_tokenizers_of_text_refuse_bytes(kind):
    vocabulary = Vocabulary.build("a", kind)
    for reads in (vocabulary.encode, vocabulary.split, lambda data: Vocabulary.build(data, kind)):
        with pytest.raises(ValueError, match=f"the text is bytes and the kind '{kind}'; decode it"):
            reads(b"a")
    with pytest.raises(ValueError, match=f"symbols of kind '{kind}' are no bytes; decode"):
        vocabulary.decode_bytes([0])


def test_tokenizer_names_the_kinds_there_are():
    with pytest.raises(ValueError, match="kind is 'runes', expected one of symbols, characters, bytes, words"):
        tokenizer("runes")


class BytePairs(Tokenizer):
    """What a new kind takes: byte-pair encoding, in small, on characters in place of bytes."""

    kind = "pairs"
    merges = 30

    def split(self, text):
        return re.findall(r" ?\S+|\s", self.text(text))

    def cut(self, text):
        return len(text) - len((self.split(text) or [""])[-1])

    def learn(self, counts, min_count, most=None):
        symbols = sorted({character for pretoken in counts for character in pretoken})
        for _ in range(self.merges):
            pairs = Counter()
            for pretoken, count in counts.items():
                parts = self.segment([pretoken], {symbol: k for k, symbol in enumerate(symbols)})
                for pair in itertools.pairwise(parts):
                    pairs["".join(pair)] += count
            best = max(pairs, key=lambda pair: (pairs[pair], pair), default="")
            if pairs[best] < max(min_count, 2):
                break
            symbols.append(best)
        return symbols

    def segment(self, pretokens, ids):
        return [part for pretoken in pretokens for part in self._merged(list(pretoken), ids)]

    def _merged(self, parts, ids):
        while True:
            pairs = [a + b for a, b in itertools.pairwise(parts)]
            known = [k for k, pair in enumerate(pairs) if pair in ids]
            if not known:
                return parts
            k = min(known, key=lambda k: ids[pairs[k]])
            parts = [*parts[:k], pairs[k], *parts[k + 2 :]]


@pytest.fixture
def pairs(monkeypatch):
    """The registration, and the word that it would add to the choices of the config."""
    monkeypatch.setitem(TOKENIZERS, "pairs", BytePairs())
    monkeypatch.setattr("unrolled.config.data.check_fields", lambda config: None)


TEXT = "so long as men can breathe or eyes can see\nso long lives this and this gives life to thee\n" * 8


def test_new_kind_encodes_decodes_and_streams(pairs):
    vocabulary = Vocabulary.build(TEXT, "pairs")
    ids = vocabulary.encode(TEXT)
    assert len(ids) < len(TEXT) / 2
    assert vocabulary.decode(ids) == "".join(vocabulary.pieces(ids.tolist())) == TEXT
    assert vocabulary.aligned_pieces(ids) == vocabulary.split(TEXT)
    assert vocabulary.decode(vocabulary.encode("long x")) == f"long {REPLACEMENT}"
    assert vocabulary.encode(["so", " long"]).tolist() == vocabulary.encode("so long").tolist()


@pytest.mark.parametrize("block", [5, 64, 1 << 20])
@pytest.mark.parametrize("lines", [False, True])
def test_new_kind_trains_a_corpus(pairs, tmp_path, monkeypatch, block, lines):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    monkeypatch.setattr("unrolled.corpus.reading.BLOCK", block)
    corpus = Corpus.read(path, kind="pairs", lines=lines, validation=0.2, test=0.2)
    read = [corpus.vocabulary.decode(ids) for part in corpus.splits.values() for ids in part]
    assert sorted(read) == sorted(TEXT.splitlines()) if lines else "".join(read) == TEXT
    assert len(corpus.train.ids) < 0.4 * len(TEXT)
    assert corpus.train.ids.dtype == np.uint8
    assert corpus.fingerprint == Corpus.from_text(TEXT, kind="pairs", lines=lines, validation=0.2, test=0.2).fingerprint
    assert corpus.unk_rates == dict.fromkeys(("train", "validation", "test"), 0)
    again = Corpus.read(path, vocabulary=corpus.vocabulary, lines=lines, validation=0.2, test=0.2)
    assert again.fingerprint == corpus.fingerprint
    if not lines:
        ids = np.concatenate([batch.targets[:, 0] for batch in StreamBatches(corpus.train.ids, 1, 7)])
        assert corpus.vocabulary.decode(ids) == corpus.vocabulary.decode(corpus.train.ids[1:])


def test_new_kind_is_saved_and_loaded(pairs, tmp_path):
    vocabulary = Vocabulary.build(TEXT, "pairs")
    save_model(tmp_path, {"framed": False}, vocabulary, {"w": np.zeros(3)})
    assert b'"kind": "pairs"' in (tmp_path / "vocabulary.json").read_bytes()
    assert load_model(tmp_path)[1] == vocabulary
    assert load_model(tmp_path)[1].encode(TEXT).tolist() == vocabulary.encode(TEXT).tolist()


def test_kind_that_is_not_registered_cannot_be_loaded(tmp_path):
    assert "pairs" not in TOKENIZERS
    with pytest.raises(ValueError, match="not a vocabulary: kind is 'pairs', expected one of symbols"):
        Vocabulary.from_json('{"format_version": 1, "kind": "pairs", "nfc": false, "symbols": ["a"]}')
