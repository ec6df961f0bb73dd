"""A prepared corpus is that of the data itself, however it was divided, interrupted or packed."""

import gzip
import json
import os

import numpy as np
import pytest

from tests.corpus.corpora import TEXT, written
from tests.saved.disk import contents
from tests.views.small_models import small
from unrolled.corpus import finding, prepared, stretches
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.preparing import prepare
from unrolled.corpus.reading import CorpusError, CorpusWarning
from unrolled.saved.atomic_files import CheckpointError
from unrolled.saved.checkpoints import save_checkpoint
from unrolled.saved.network_folder import load_network, save_network

RECORDS = "".join(json.dumps(["a"] * (k % 5) + ["b", "EOS", "UNK"][: 1 + k % 2]) + "\n" for k in range(300))
CSV = "id,text\n" + "".join(f'{k},"so {k}, ""long"""\n' for k in range(200))
STRINGS = json.dumps([f"tune {k}" for k in range(99)])

#: Files, and how they are read.
CASES = {
    "stream": ({"a.txt": TEXT}, {}),
    "several files": ({"a.txt": TEXT, "b.txt": "", "c.txt": "ende", "d.txt": TEXT[::-1]}, {}),
    "by file": ({f"{k}.txt": TEXT[k:] for k in range(8)}, {"split_by": "file", "validation": 0.2, "test": 0.2}),
    "lines": ({"a.txt": TEXT}, {"lines": True}),
    "lines in order": ({"a.txt": TEXT}, {"lines": True, "split_by": "block"}),
    "lines by file": ({f"{k}.txt": TEXT[k:] for k in range(8)}, {"lines": True, "split_by": "file", "test": 0.3}),
    "words": ({"a.txt": TEXT}, {"kind": "words", "min_count": 3}),
    "words that only all stretches have often": ({"a.txt": TEXT}, {"kind": "words", "min_count": 100}),
    "most frequent words": ({"a.txt": TEXT}, {"kind": "words", "vocabulary_size": 6}),
    "words and marks": ({"a.txt": TEXT.replace("Käse", "- Käse")}, {"kind": "words-and-marks", "min_count": 3}),
    "words and marks of lines": ({"a.txt": TEXT, "b.txt": "so (löng"}, {"kind": "words-and-marks", "lines": True}),
    "byte pairs": ({"a.txt": TEXT.replace("\n", "\n \t ")}, {"kind": "bpe", "vocabulary_size": 300}),
    "byte pairs of lines": (
        {"a.txt": TEXT, "b.txt": "  so löng"},
        {"kind": "bpe", "lines": True, "vocabulary_size": 262},
    ),
    "bytes": ({"a.txt": TEXT}, {"kind": "bytes"}),
    "symbols": ({"a.txt": TEXT.replace("Käse", "UNK")}, {"kind": "symbols", "lines": True}),
    "normal form": ({"a.txt": TEXT.replace("ä", "a\u0308")}, {"nfc": True}),
    "no validation": ({"a.txt": TEXT}, {"validation": 0.0, "test": 0.0}),
    "separated": ({"a.txt": TEXT}, {"separator": r"\n\n\n"}),
    "records": ({"a.jsonl": RECORDS}, {}),
    "records by file": (
        {f"{k}.jsonl": RECORDS for k in range(5)},
        {"split_by": "file", "validation": 0.2, "test": 0.2},
    ),
    "small files": ({f"{k:02}.txt": TEXT[10 * k : 10 * k + 200] for k in range(30)}, {}),
    "small files of lines": ({f"{k:02}.txt": TEXT[10 * k : 10 * k + 200] for k in range(30)}, {"lines": True}),
    "small files by file": (
        {f"{k:02}.txt": TEXT[10 * k :][: 30 * k] for k in range(30)},
        {"split_by": "file", "validation": 0.2, "test": 0.2},
    ),
    "small records by file": (
        {f"{k:02}.jsonl": RECORDS[:200].rpartition("\n")[0] for k in range(30)},
        {"split_by": "file", "validation": 0.2, "test": 0.2},
    ),
    "table": ({"a.csv": CSV}, {"column": "text", "split_seed": 4}),
    "array": ({"a.json": STRINGS}, {}),
}


@pytest.mark.filterwarnings("ignore::unrolled.corpus.reading.CorpusWarning")
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_prepared_corpus_is_that_of_the_data_to_the_last_id(name, processes, tmp_path, monkeypatch):
    files, options = CASES[name]
    if processes == 2 and name not in ("several files", "records"):
        processes = 1  # the others take one process only, to save time; they are divided all the same
    monkeypatch.setattr(stretches, "STRETCH", 1000)
    data = written(tmp_path / "data", files)
    prepare(data, tmp_path / "corpus", processes=processes, **options)
    plain, mapped = Corpus.read(data, **options), Corpus.read(tmp_path / "corpus")
    assert mapped.fingerprint == plain.fingerprint
    assert (mapped.vocabulary, mapped.stream, mapped.split) == (plain.vocabulary, plain.stream, plain.split)
    np.testing.assert_array_equal(mapped.first_counts, plain.first_counts)
    assert mapped.unk_rates == plain.unk_rates
    for part, expected in zip(mapped.splits.values(), plain.splits.values(), strict=True):
        np.testing.assert_array_equal(part.ids, expected.ids)
        np.testing.assert_array_equal(part.offsets, expected.offsets)
    assert sorted(file.suffix for file in (tmp_path / "corpus").iterdir() if file.name[0] != ".") == sorted(
        [".ids"] * 3 + [".sums"] * 3 + [".json"] * 2 + [".ends"] * 3 * (not plain.stream)
    )


def test_text_is_divided_at_line_ends_and_a_packed_one_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(stretches, "STRETCH", 1000)
    data = written(tmp_path / "data", {"a.txt": TEXT})
    (data / "b.txt.gz").write_bytes(gzip.compress(TEXT.encode()))
    sources = finding.find_sources(data)
    plan, _ = stretches.plan_of(sources, "text", stretches.DataConfig(), tmp_path / "scratch")
    divided = [each for each in plan.stretches if each.source == 0]
    assert len(divided) > 5
    assert [each.start for each in divided] == [0, *(each.stop for each in divided[:-1])]
    raw = TEXT.encode()
    assert all(raw[each.stop - 1 : each.stop] == b"\n" for each in divided[:-1])
    assert [each.stop for each in plan.stretches if each.source == 1] == [-1]


def test_packed_text_is_prepared_as_what_it_holds(tmp_path):
    data = written(tmp_path / "data", {"a.txt": TEXT})
    (tmp_path / "b.gz").write_bytes(gzip.compress(TEXT.encode()))
    prepare(tmp_path / "b.gz", tmp_path / "corpus")
    assert Corpus.read(tmp_path / "corpus").fingerprint == Corpus.read(data / "a.txt").fingerprint


@pytest.mark.filterwarnings("ignore:.*V is 70,002:unrolled.corpus.reading.CorpusWarning")
@pytest.mark.parametrize(("words", "dtype"), [(9, "uint8"), (300, "uint16"), (70_000, "uint32")])
def test_ids_are_of_the_smallest_type_that_holds_the_vocabulary(words, dtype, tmp_path):
    (tmp_path / "a.txt").write_text(" ".join(f"w{k}" for k in range(words)))
    prepare(tmp_path / "a.txt", tmp_path / "corpus", kind="words", validation=0.0, test=0.0)
    ids = Corpus.read(tmp_path / "corpus").train.ids
    assert (ids.dtype, len(ids), int(ids.max())) == (dtype, words, words - 1)


def test_source_that_changed_since_is_noticed(tmp_path):
    data = written(tmp_path / "data", {"a.txt": TEXT})
    prepare(data, tmp_path / "corpus")
    (data / "a.txt").write_text("other")
    with pytest.warns(CorpusWarning, match=r"changed since .*corpus was prepared from it: .*a\.txt"):
        Corpus.read(tmp_path / "corpus")
    (data / "a.txt").unlink()
    Corpus.read(tmp_path / "corpus")  # it need not be kept


def filled(name, byte):
    """Return what fills a file of a folder with a byte."""
    return lambda folder: (folder / name).write_bytes(byte * (folder / name).stat().st_size)


def counted(first=None, **parts):
    """Return what puts other counts in the index of a folder: that of the first symbol, and those of train."""

    def change(folder):
        index = json.loads((folder / "corpus.json").read_text())
        index["first"][0] = index["first"][0] if first is None else first
        index["parts"]["train"] |= parts
        (folder / "corpus.json").write_text(json.dumps(index))

    return change


def moved_end(folder):
    """Let a sequence of train end one symbol later."""
    ends = np.fromfile(folder / "train.ends", "<i8")
    ends[3] += 1
    ends.tofile(folder / "train.ends")


DAMAGE = {
    "negative count": (counted(unknown=-7), r"corpus\.json: damaged: its parts or counts"),
    "more sequences than symbols": (counted(sequences=10**25), r"corpus\.json: damaged: its parts"),
    "negative beginnings": (counted(first=-1), r"corpus\.json: damaged: its parts or counts"),
    "beginnings without end": (counted(first=10**30), r"corpus\.json: damaged: its parts or counts"),
    "truncated": (lambda f: os.truncate(f / "train.ids", 99), r"train\.ids: has 99 bytes, expected"),
    "no symbol": (filled("train.ids", b"\xff"), "place 0 holds 255"),
    "missing": (lambda f: (f / "test.ids").unlink(), r"test\.ids: cannot read"),
    "other vocabulary": (lambda f: (f / "vocabulary.json").write_text("{}"), r"vocabulary\.json: damaged"),
    "no index": (lambda f: (f / "corpus.json").write_text("{}"), r"corpus\.json: "),
    "ends": (filled("train.ends", b"\0"), r"train\.ends: damaged"),
    "other ids": (filled("test.ids", b"\2"), r"test\.ids: damaged: places 0 to \d+ do not hold what was written, by"),
    "other ends in order": (moved_end, r"train\.ends: damaged: it does not hold what was written, by its sum"),
    "sums": (filled("train.sums", b"\0"), r"train\.sums: damaged: it does not hold what was written, by its sum"),
    "sums missing": (lambda f: (f / "validation.sums").unlink(), r"validation\.sums: cannot read"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_prepared_corpus_is_refused_by_the_name_of_the_file(name, tmp_path):
    prepare(written(tmp_path / "data", {"a.txt": TEXT}), tmp_path / "corpus", lines=True)
    damage, said = DAMAGE[name]
    damage(tmp_path / "corpus")
    with pytest.raises(CorpusError, match=said):
        Corpus.read(tmp_path / "corpus")


def test_corpus_that_was_prepared_without_sums_is_read(tmp_path):
    prepare(written(tmp_path / "data", {"a.txt": TEXT}), tmp_path / "corpus", lines=True)
    index = json.loads((tmp_path / "corpus" / "corpus.json").read_text())
    for name in prepared.SPLITS:
        del index["parts"][name]["sums"], index["parts"][name]["ends"]
        (tmp_path / "corpus" / f"{name}.sums").unlink()
    (tmp_path / "corpus" / "corpus.json").write_text(json.dumps(index))
    assert [*Corpus.read(tmp_path / "corpus").train]


def test_prepared_corpus_keeps_its_reading(tmp_path):
    prepare(written(tmp_path / "data", {"a.txt": TEXT}), tmp_path / "corpus", lines=True)
    assert len(Corpus.read(tmp_path / "corpus", lines=True).train) > 100
    with pytest.raises(CorpusError, match=r"prepared with split_seed=0, not with split_seed=3"):
        Corpus.read(tmp_path / "corpus", split_seed=3)
    other = Corpus.from_text("xyz" * 30).vocabulary
    with pytest.raises(CorpusError, match="prepared with a vocabulary of its own"):
        Corpus.read(tmp_path / "corpus", vocabulary=other)


def test_folder_that_is_prepared_already_or_being_prepared_is_refused(tmp_path):
    from unrolled.saved.lock import only_writer

    data = written(tmp_path / "data", {"a.txt": TEXT})
    prepare(data, tmp_path / "corpus")
    written(tmp_path / "corpus" / "unfinished", {"000000.ids": TEXT})  # as one leaves it that is killed at its very end
    with pytest.raises(CorpusError, match="already there; name another folder"):
        prepare(data, tmp_path / "corpus")
    assert not (tmp_path / "corpus" / "unfinished").exists()
    with only_writer(tmp_path / "new"), pytest.raises(CheckpointError):
        prepare(data, tmp_path / "new")


def test_mixed_records_are_refused_across_stretches(tmp_path, monkeypatch):
    monkeypatch.setattr(stretches, "STRETCH", 1000)
    data = written(tmp_path / "data", {"a.jsonl": RECORDS + '"text"\n' * 500})
    with pytest.raises(CorpusError, match="texts and lists of symbols are mixed"):
        prepare(data, tmp_path / "corpus")


def test_small_files_are_encoded_together_and_packed_ones_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(stretches, "STRETCH", 1000)
    data = written(tmp_path / "data", {f"{k:02}.txt": "x" * 150 for k in range(20)} | {"21.txt": "y" * 900})
    (data / "20.txt.gz").write_bytes(gzip.compress(TEXT.encode()))
    plan, _ = stretches.plan_of(finding.find_sources(data), "text", stretches.DataConfig(), tmp_path / "s")
    assert [(each.source, each.count) for each in plan.stretches] == [
        (0, 6),
        (6, 6),
        (12, 6),
        (18, 2),
        (20, 1),
        (21, 1),
    ]


@pytest.mark.filterwarnings("ignore:.*never occur in training:unrolled.corpus.reading.CorpusWarning")
def test_iterator_of_sequences_is_prepared_as_the_sequences_themselves(tmp_path, monkeypatch):
    monkeypatch.setattr(stretches, "STRETCH", 1000)
    cases = {
        "texts": ([f"so {k} long" for k in range(300)], {}),
        "words": ([f"so {k} long" for k in range(300)], {"kind": "words"}),
        "lists": ([["a"] * (k % 5) + ["b"] for k in range(300)], {}),
        "rows": ([{"id": k, "text": f"line {k}"} for k in range(300)], {"column": "text", "kind": "bpe"}),
    }
    for name, (sequences, options) in cases.items():
        prepare(iter(sequences), tmp_path / name, **options)
        mapped, plain = Corpus.read(tmp_path / name), Corpus.from_sequences(sequences, **options)
        assert mapped.fingerprint == plain.fingerprint
        assert mapped.stream is False
        assert not (tmp_path / name / "unfinished").exists()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], "empty, it holds no sequences"),
        (["a", None], "sequence 1: got None, expected a string or a list of symbols"),
        ([{"text": "a"}], r"sequence 0: no field ''; name the one that holds the sequences \(column\), of 'text'"),
        (["ab", ["a", "b"]], "sequence 1: texts and lists of symbols are mixed"),
    ],
)
def test_value_that_is_no_sequence_is_named_by_its_number(values, said, tmp_path):
    with pytest.raises(CorpusError, match=said):
        prepare(iter(values), tmp_path / "corpus")
    prepare(iter(["ab", "abc"] * 20), tmp_path / "corpus")  # nothing is in the way


def test_several_sets_by_name_are_refused_in_the_place_of_one(tmp_path):
    sets = {"train": ["ab", "abc"] * 20, "test": ["ab"]}
    said = "got a mapping from 'train', 'test', expected sequences; give what one of them names"
    with pytest.raises(CorpusError, match=said):
        prepare(sets, tmp_path / "corpus")
    with pytest.raises(CorpusError, match=said):
        Corpus.from_sequences(sets)


def test_finished_corpus_in_a_folder_of_data_is_left_out_with_a_note(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT)
    prepare(tmp_path / "a.txt", tmp_path / "corpus")
    with pytest.warns(CorpusWarning, match="a run or a prepared corpus, and so skipped: .*/corpus$"):
        assert Corpus.read(tmp_path).fingerprint == Corpus.read(tmp_path / "a.txt").fingerprint


def test_folder_of_data_may_have_a_part_called_unfinished(tmp_path):
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "draft.txt").write_text(TEXT)
    assert Corpus.read(tmp_path).fingerprint == Corpus.read(tmp_path / "unfinished" / "draft.txt").fingerprint


def test_corpus_and_model_do_not_damage_each_other(tmp_path):
    """Both have a vocabulary.json: that of one replaced, or removed, that of the other."""
    (tmp_path / "a.txt").write_text(TEXT)
    prepare(tmp_path / "a.txt", tmp_path / "corpus")
    model = small("gru", symbols="ab", framed=False).float()
    model.save_pretrained(tmp_path / "model")
    before = contents(tmp_path)
    with pytest.raises(CheckpointError, match="model: a model is there, which would be damaged; name another folder"):
        prepare(tmp_path / "a.txt", tmp_path / "model")
    for overwrite in (False, True):
        with pytest.raises(CheckpointError, match="corpus: a prepared corpus is there, which would be damaged"):
            save_network(tmp_path / "corpus", load_network(tmp_path / "model"), overwrite=overwrite)
    with pytest.raises(CheckpointError, match="a prepared corpus is there"):
        model.save_pretrained(tmp_path / "corpus")
    save_checkpoint(tmp_path / "run", 1, {}, {})
    with pytest.raises(CheckpointError, match="run: a run is there"):
        prepare(tmp_path / "a.txt", tmp_path / "run")
    assert {name: data for name, data in contents(tmp_path).items() if not name.startswith("run/")} == before


def test_names_that_are_not_utf_8_are_recorded_as_escapes(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "b\udce9.txt").write_text(TEXT)
    prepare(tmp_path / "data", tmp_path / "corpus")
    [source] = json.loads((tmp_path / "corpus" / "corpus.json").read_text())["sources"]
    assert source["path"].endswith("b\\xe9.txt")
    assert Corpus.read(tmp_path / "corpus").fingerprint == Corpus.read(tmp_path / "data").fingerprint
