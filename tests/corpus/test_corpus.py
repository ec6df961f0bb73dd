"""The corpus: what is read, and that nothing is lost on the way."""

import hashlib
import io
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.corpus.corpora import WHOLE, decoded
from unrolled.config.data import DataConfig
from unrolled.config.options import named_as_flags
from unrolled.corpus import reading
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.reading import CorpusError, CorpusWarning
from unrolled.corpus.sonnets import sonnets
from unrolled.saved.vocabulary import Vocabulary

lines_of_text = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0\ufeff")), min_size=1)


def test_sonnets_are_the_file_that_was_checked():
    assert len(sonnets()) == 95_728
    assert (
        hashlib.sha256(sonnets().encode()).hexdigest()
        == "edb826e5a801c955ab21026b3660306838fbf29ec29ea01886b2854c6d639b55"
    )


def test_corpus_of_the_textbook_example():
    corpus = Corpus.from_sequences([["a"] * n + ["b"] * n for n in range(1, 6)], **WHOLE)
    assert corpus.vocabulary.names == ("a", "b", "EOS", "UNK")
    assert [ids.tolist() for ids in corpus.train] == [[0] * n + [1] * n + [2] for n in range(1, 6)]
    assert not corpus.stream
    assert corpus.train.predicted == sum(2 * n for n in range(1, 6))


def test_corpus_does_not_double_an_explicit_eos():
    plain = Corpus.from_sequences([["a", "b"], ["b"]], **WHOLE)
    explicit = Corpus.from_sequences([["a", "b", "EOS"], ["b", "EOS"]], **WHOLE)
    assert plain.fingerprint == explicit.fingerprint


@given(lines_of_text.filter(any))
def test_corpus_reads_every_line_once(lines):
    corpus = Corpus.from_text("\n".join(lines), lines=True, **WHOLE)
    assert decoded(corpus, corpus.train) == [line for line in lines if line]
    assert {int(ids[-1]) for ids in corpus.train} == {corpus.vocabulary.eos_id}


def test_corpus_read_equals_from_text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(sonnets().replace("\n", "\r\n").encode("utf-8-sig"))
    assert Corpus.read(path).fingerprint == Corpus.from_text(sonnets()).fingerprint
    for separator in ("\n\n", "\\n\\n", "the"):
        apart = Corpus.from_text(sonnets(), separator=separator)
        assert not apart.stream
        assert apart.fingerprint == Corpus.read(path, separator=separator).fingerprint


@pytest.mark.parametrize("option", [{"column": "tune"}, {"format": "jsonl"}, {"format": "csv", "column": "1"}])
def test_text_in_memory_has_no_records(option):
    with pytest.raises(CorpusError, match="text in memory has neither records nor columns; leave out "):
        Corpus.from_text("abab" * 9, **option)
    with pytest.raises(CorpusError, match="separator='a' divides text, not bytes"):
        Corpus.from_text(b"abab" * 9, kind="bytes", separator="a")


def test_corpus_reads_json_lines_csv_and_standard_input_alike(tmp_path, monkeypatch):
    sequences = ["ab ba", "b", "aab"]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(list(s)) + "\n" for s in sequences))
    (tmp_path / "a.csv").write_text("n,text\n" + "".join(f"{k},{s}\n" for k, s in enumerate(sequences)))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(sequences).encode())))
    found = [
        Corpus.read(tmp_path / "a.jsonl", format="jsonl", kind="symbols", **WHOLE),
        Corpus.read(tmp_path / "a.csv", format="csv", column="text", **WHOLE),
        Corpus.read("-", lines=True, **WHOLE),
    ]
    for corpus in found:
        assert ["".join(s).removesuffix("EOS") for s in decoded(corpus, corpus.train)] == sequences


@pytest.mark.parametrize("kind", ["words", "symbols"])
def test_corpus_lines_of_words_end_in_eos(kind):
    corpus = Corpus.from_text("a  b\n\n b a c\n", kind=kind, lines=True, **WHOLE)
    assert [ids.tolist() for ids in corpus.train] == [[0, 1, 3], [1, 0, 2, 3]]


def test_corpus_stream_of_words_keeps_line_ends_and_of_symbols_does_not():
    words = Corpus.from_text("a b\nb", kind="words", **WHOLE)
    assert words.vocabulary.symbols == ("\n", "a", "b")
    assert Corpus.from_text("a b\nb", kind="symbols", **WHOLE).vocabulary.symbols == ("a", "b")


def test_corpus_bytes_are_exact(tmp_path):
    path = tmp_path / "image.bin"
    path.write_bytes(b"\0\xff\r\n\xfe" * 20)
    corpus = Corpus.read(path, kind="bytes", **WHOLE)
    assert corpus.vocabulary.decode_bytes(corpus.train.ids) == b"\0\xff\r\n\xfe" * 20


def test_corpus_of_several_files_puts_eos_after_each(tmp_path):
    for k, text in enumerate(["ab", "", "ba", "bb"]):
        (tmp_path / f"{k}.txt").write_text(text)
    corpus = Corpus.read(tmp_path, **WHOLE)
    assert corpus.stream
    assert [corpus.vocabulary.names[k] for k in corpus.train.ids] == [*"ab", "EOS", *"ba", "EOS", *"bb", "EOS"]


def test_corpus_with_a_given_vocabulary_reads_as_the_model_reads():
    trained = Corpus.from_text("abab", **WHOLE).vocabulary
    corpus = Corpus.from_text("bca", vocabulary=trained, **WHOLE)
    assert corpus.train.ids.tolist() == [1, 3, 0]


def test_corpus_nfc_joins_across_pieces():
    corpus = Corpus.from_text("e\u0301a", nfc=True, **WHOLE)
    assert corpus.vocabulary.symbols == ("a", "\u00e9")


def test_corpus_min_count_counts_training_symbols():
    corpus = Corpus.from_text("aaabbc", min_count=2, **WHOLE)
    assert corpus.vocabulary.symbols == ("a", "b")
    assert corpus.unk_rates == {"train": 1 / 6}


@pytest.mark.parametrize("symbols", [200, 254, 255, 70_000])
def test_corpus_ids_take_the_smallest_type_that_holds_v(symbols, recwarn):
    sequences = [[str(k) for k in range(symbols)]]
    corpus = Corpus.from_sequences(sequences, **WHOLE)
    assert decoded(corpus, corpus.train) == [[*sequences[0], "EOS"]]
    assert corpus.train.ids.dtype == (np.uint8 if symbols <= 254 else np.uint16 if symbols < 65_000 else np.uint32)


@pytest.mark.parametrize(
    ("data", "changes", "says"),
    [
        (b"", {}, "empty, it holds no symbols"),
        (b"\xef\xbb\xbf", {}, "empty"),
        (b"\n\n", {"lines": True}, "empty, it holds no sequences"),
        (b"a", {}, "1 symbol only"),
        (b"a\nb\nc\n", {"lines": True, "validation": 0.5, "test": 0.4}, "0 of 3 sequences are left to train on"),
        (b"\xff\xff", {}, r"byte 0 \(line 1\) is 0xff"),
        (b"a\0b", {}, "NUL"),
        (b'["a"]', {"format": "jsonl", "kind": "characters"}, "line 1: a list of symbols, but the kind is characters"),
    ],
)
def test_corpus_refuses_in_one_sentence(tmp_path, data, changes, says):
    path = tmp_path / "data"
    path.write_bytes(data)
    with pytest.raises(CorpusError, match=says) as caught:
        Corpus.read(path, **changes)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_corpus_warns_of_one_repeated_byte():
    with pytest.warns(CorpusWarning, match="the vocabulary is 'a'"):
        corpus = Corpus.from_text("a" * 100)
    assert len(corpus.vocabulary) == 3


def test_corpus_of_one_repeated_symbol_in_lines_is_worth_learning():
    assert len(Corpus.from_text("a\naa\naaa\n", lines=True, **WHOLE).train) == 3


def test_corpus_warns_of_a_huge_vocabulary_with_its_memory():
    with pytest.warns(CorpusWarning, match=r"V is 100,002: at H 256 and E 128, .* GB .*; vocabulary_size keeps"):
        Corpus.from_sequences([[str(k), str(k + 1)] for k in range(0, 100_000, 2)], **WHOLE)


def test_corpus_warns_of_skipped_records(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('["a"]\n[]\n')
    with pytest.warns(CorpusWarning, match="1 record without a symbol skipped"):
        Corpus.read(path, **WHOLE)


FILES = {
    "a.jsonl": '["ab", "c"]\n["c"]\n',
    "a.ndjson": '"ab"\n"c"\n',
    "a.json": '[["ab", "c"], ["c"]]',
    "a.tsv": "n\ttext\n1\tab\n2\tc\n",
    "a.txt": "ab\nc\n",
    "noname": "ab\nc\n",
}


@pytest.mark.parametrize(
    ("name", "changes", "kind", "sequences"),
    [
        ("a.jsonl", {}, "symbols", [["ab", "c"], ["c"]]),
        ("a.json", {}, "symbols", [["ab", "c"], ["c"]]),
        ("a.json", {"kind": "symbols"}, "symbols", [["ab", "c"], ["c"]]),
        ("a.ndjson", {}, "characters", ["ab", "c"]),
        ("a.ndjson", {"kind": "words"}, "words", ["ab", "c"]),
        ("a.tsv", {"column": "text"}, "characters", ["ab", "c"]),
        ("a.txt", {}, "characters", None),
        ("a.jsonl", {"format": "text"}, "characters", None),
        ("noname", {"lines": True}, "characters", ["ab", "c"]),
    ],
)
def test_corpus_goes_by_the_name_of_the_file_unless_told(tmp_path, name, changes, kind, sequences):
    (tmp_path / name).write_text(FILES[name])
    corpus = Corpus.read(tmp_path / name, **WHOLE, **changes)
    assert (corpus.vocabulary.kind, corpus.stream) == (kind, sequences is None)
    if sequences:
        ended = [[*s, "EOS"] if kind == "symbols" else s for s in sequences]
        assert decoded(corpus, corpus.train) == ended


def test_corpus_of_a_folder_goes_by_the_names_in_it(tmp_path):
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text(FILES["a.jsonl"])
    assert len(Corpus.read(tmp_path, **WHOLE).train) == 4
    (tmp_path / "c.txt").write_text(FILES["a.txt"])
    with pytest.raises(CorpusError, match=r"a.jsonl looks like jsonl and .*c.txt looks like text; name files of one"):
        Corpus.read(tmp_path)


def test_corpus_in_memory_takes_texts_as_characters_and_lists_as_symbols():
    assert Corpus.from_text("abc", **WHOLE).vocabulary.kind == "characters"
    assert Corpus.from_sequences(["Anna", "Bela"], **WHOLE).vocabulary.kind == "characters"
    assert Corpus.from_sequences([["abc"]], DataConfig(**WHOLE)).vocabulary.kind == "symbols"


@pytest.mark.parametrize("sequences", [[["a"], "b c"], ["b c", ["a"]]])
def test_corpus_refuses_texts_among_lists_unless_the_kind_is_set(sequences):
    with pytest.raises(CorpusError, match="sequence 1: texts and lists of symbols are mixed"):
        Corpus.from_sequences(sequences)
    assert Corpus.from_sequences(sequences, kind="symbols", **WHOLE).vocabulary.symbols == ("a", "b", "c")


@pytest.mark.parametrize("kind", ["auto", "symbols"])
@pytest.mark.parametrize("sequences", [["Anna", "Bela"], [["a", "b"], ["b"]], [["a", 7], [10, "b"]], ["a b", "b"]])
def test_corpus_reads_sequences_in_memory_as_those_of_a_file(sequences, kind, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(sequence) + "\n" for sequence in sequences))
    given = Corpus.from_sequences(map(tuple_of_list, sequences), kind=kind, **WHOLE)
    assert given.fingerprint == Corpus.read(path, kind=kind, **WHOLE).fingerprint


def tuple_of_list(sequence):
    return sequence if isinstance(sequence, str) else tuple(sequence)


@pytest.mark.parametrize(
    ("strange", "called"),
    [
        (5, "a number"),
        (None, "None"),
        (b"ab", "bytes"),
        ([None], r"a list, of which \[0\] is None"),
        (["a", 1.5], r"a list, of which \[1\] is a number"),
        ([["a"]], r"a list, of which \[0\] is a list"),
    ],
)
def test_corpus_refuses_what_is_no_sequence_of_symbols(strange, called):
    with pytest.raises(CorpusError, match=rf"sequence 1: got {called}, expected a string or a list of symbols"):
        Corpus.from_sequences([["a", "b"], strange], **WHOLE)


@pytest.mark.parametrize("text", ["abc", b"abc"])
def test_corpus_of_sequences_refuses_one_text(text):
    with pytest.raises(CorpusError, match=r"got one text, expected sequences .*; use Corpus\.from_text"):
        Corpus.from_sequences(text, **WHOLE)


@pytest.mark.parametrize("block", [1 << 20, 1, 3])
def test_corpus_refuses_eos_within_a_line(tmp_path, block, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK", block)
    path = tmp_path / "a.txt"
    path.write_text("a EOS\n\nb a EOS\na b EOS")
    assert len(Corpus.read(path, kind="symbols", lines=True, **WHOLE).train) == 3
    path.write_text("a EOS\na EOS b\n")
    with pytest.raises(CorpusError, match="txt: EOS, which only ends a sequence, stands before 'b'; divide"):
        Corpus.read(path, kind="symbols", lines=True, **WHOLE)
    assert len(Corpus.read(path, kind="words", lines=True, **WHOLE).train) == 2  # where EOS is a word like others


def test_corpus_refuses_eos_within_a_record(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('["a", "EOS"]\n["a", "EOS", "b"]\n')
    with pytest.raises(CorpusError, match="line 2: symbol 1 is EOS, which only ends a sequence; divide the record"):
        Corpus.read(path, **WHOLE)


def test_corpus_warns_of_long_sequences_and_refuses_endless_ones(monkeypatch):
    monkeypatch.setattr("unrolled.corpus.numbering.LONG_SEQUENCE", 10)
    monkeypatch.setattr("unrolled.corpus.reading.RECORD_LIMIT", 20)
    with pytest.warns(CorpusWarning, match="the longest sequence has 11 symbols.* GB; cut it into shorter ones"):
        Corpus.from_text("ab" * 5 + "\nab", lines=True, **WHOLE)
    with pytest.raises(CorpusError, match="the longest sequence has 23 symbols, expected 20 at most"):
        Corpus.from_text("ab" * 11 + "\nab", lines=True, **WHOLE)


def test_corpus_fingerprint_depends_on_text_split_and_kind():
    base = Corpus.from_text("abc" * 40)
    others = [
        Corpus.from_text("abc" * 39 + "acb"),
        Corpus.from_text("abc" * 40, validation=0.1),
        Corpus.from_text("abc" * 40, kind="bytes"),
    ]
    assert len({corpus.fingerprint for corpus in [base, *others]}) == 4


def test_corpus_reads_one_long_line_in_bounded_memory(tmp_path):
    """A line of 64 MB with a limit on memory that its text alone, at 4 bytes a code point, would break."""
    path = tmp_path / "long.txt"
    with path.open("wb") as file:
        for _ in range(64):
            file.write(b"abcdefgh" * (1 << 17))
    code = (
        "import resource, sys; from unrolled.corpus.corpus import Corpus; import numpy\n"
        "held = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (held + (180 << 20),) * 2)\n"
        "corpus = Corpus.read(sys.argv[1], lines=sys.argv[2] == 'lines', validation=0, test=0)\n"
        "assert len(corpus.train.ids) == 64 << 20"
    )
    run = [sys.executable, "-c", code, str(path)]
    done = subprocess.run([*run, "stream"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([*run, "lines"], capture_output=True, text=True)
    assert "the longest sequence has 67,108,865 symbols, expected 16,777,216 at most" in done.stderr


def test_corpus_imports_no_torch():
    code = "import sys, unrolled.corpus.corpus; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_words_never_seen_in_training_get_a_hint():
    text = " ".join(f"word{k} and" for k in range(200))
    with pytest.warns(CorpusWarning, match=r"50% of the words held out never occur .* min_count=2 lets it learn UNK"):
        Corpus.from_text(text, kind="words")
    Corpus.from_text(f"so so {text}", kind="words", min_count=2)  # warns of nothing


@pytest.mark.parametrize("sequences", [["1.5", "-2e3", "17"] * 20, ["3"] * 60])
def test_records_that_are_numbers_get_a_hint(sequences):
    with pytest.warns(CorpusWarning, match="every record is a number: its digits become the symbols"):
        Corpus.from_sequences(sequences)
    Corpus.from_sequences([*sequences, "a"])  # warns of nothing
    Corpus.from_sequences([[each] for each in sequences])


@pytest.mark.parametrize("kind", ["characters", "words", "bytes"])
def test_min_count_that_leaves_no_symbol_is_refused_with_the_largest_that_leaves_one(kind):
    data, text = {"kind": kind, "min_count": 9, **WHOLE}, "a a a a a b"
    text = text.encode() if kind == "bytes" else text
    with pytest.raises(CorpusError, match=r"memory: min_count is 9 and leaves no symbol.* 5 times; 5 leaves one$"):
        Corpus.from_text(text, **data)
    with named_as_flags(), pytest.raises(CorpusError, match=r"--min-count is 9 and leaves no symbol"):
        Corpus.from_text(text, **data)


def test_corpus_for_a_model_extends_its_vocabulary_by_training_symbols_alone():
    known = Vocabulary("xa", "characters")
    text = "abcb" * 50 + "abz"
    plain = Corpus.from_text(text, vocabulary=known)
    assert plain.vocabulary == known
    assert plain.unk_rates["train"] > 0.5
    extended = Corpus.from_text(text, vocabulary=known, extend=True)
    assert extended.vocabulary.symbols == ("x", "a", "b", "c")
    assert extended.unk_rates["train"] == 0
    assert extended.unk_rates["test"] > 0  # z is not in training
    rare = Corpus.from_text(text + "x", vocabulary=known, extend=True, min_count=60)
    assert rare.vocabulary.symbols == ("x", "a", "b")


def test_limit_below_the_vocabulary_that_is_extended_is_said():
    known = Vocabulary("xabc", "characters")
    with named_as_flags(), pytest.warns(CorpusWarning, match=r"--vocabulary-size is 5, and the .* extend has 6; no"):
        found = Corpus.from_text("abcd" * 50, vocabulary=known, extend=True, vocabulary_size=5)
    assert found.vocabulary == known


def test_split_says_how_many_symbols_are_in_its_parts():
    corpus = Corpus.from_text("so long lives this\n" * 50, kind="bpe", vocabulary_size=260)
    assert corpus.split.sizes == tuple(len(part.ids) for part in corpus.splits.values())
    assert sum(corpus.split.sizes) > 6 * 50


def test_what_is_no_text_is_named():
    for wrong in (["a"], None, 7):
        with pytest.raises(TypeError, match=f"got {type(wrong).__name__}, expected a text; use Corpus.from_sequences"):
            Corpus.from_text(wrong)
    for wrong in (bytearray(b"ab"), memoryview(b"ab")):
        with pytest.raises(CorpusError, match=f"sequence 0: got a {type(wrong).__name__}"):
            Corpus.from_sequences([wrong])
        with pytest.raises(TypeError, match="expected a text or a list of symbols"):
            Vocabulary("ab").encode(wrong)
