"""Ids of a prepared corpus are checked where they are picked out of its file."""

import numpy as np
import pytest

from tests.corpus.corpora import TEXT, written
from unrolled.corpus import baselines, mapped, prepared
from unrolled.corpus.batching import SequenceBatches, StreamBatches
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.preparing import prepare
from unrolled.corpus.reading import CorpusError
from unrolled.corpus.splitting import counts

#: What reads the ids of a corpus, some of them or all.
READERS = {
    "lanes of a stream": lambda corpus: [*StreamBatches(corpus.train.ids, 8, 16)],
    "sequences": lambda corpus: [*SequenceBatches(corpus.train, 8)],
    "copied sequences": lambda corpus: corpus.train.thinned(1),
    "one sequence after the other": lambda corpus: [*corpus.train],
    "n-grams": lambda corpus: baselines.mark(corpus, "validation"),
    "counts": lambda corpus: counts(corpus.train.ids, 256),
}


def as_if_large(monkeypatch):
    """Let a corpus of 10,000 ids be checked as a large one is: a few at once, and a sum for each 100."""
    for name, size in {"CHECKED": 64, "BLOCK": 64, "SUMMED": 100}.items():
        monkeypatch.setattr(prepared, name, size)
    monkeypatch.setattr(mapped, "SUMMED", 100)


def replaced(folder):
    """Let the id of train at place 1,000 be another symbol."""
    with (folder / "train.ids").open("r+b") as ids:
        ids.seek(1000)
        was = ids.read(1)[0]
        ids.seek(1000)
        ids.write(bytes([was + 1 if was < 4 else was - 1]))


@pytest.mark.parametrize("reader", READERS)
def test_id_that_is_no_symbol_is_named_when_it_is_reached(reader, tmp_path, monkeypatch):
    """Of a large corpus only some ids are checked when it is mapped."""
    as_if_large(monkeypatch)
    prepare(written(tmp_path / "data", {"a.txt": TEXT}), tmp_path / "corpus", lines=True, split_by="block")
    with (tmp_path / "corpus" / "train.ids").open("r+b") as ids:
        ids.seek(1000)
        ids.write(b"\xff")
    corpus = Corpus.read(tmp_path / "corpus")
    with pytest.raises(CorpusError, match=r"train\.ids: damaged: place 1,000 holds 255, expected 0 to \d+; prepare"):
        READERS[reader](corpus)


@pytest.mark.parametrize("reader", READERS)
def test_id_that_became_another_symbol_is_noticed_when_it_is_reached(reader, tmp_path, monkeypatch):
    as_if_large(monkeypatch)
    prepare(written(tmp_path / "data", {"a.txt": TEXT}), tmp_path / "corpus", lines=True, split_by="block")
    READERS[reader](Corpus.read(tmp_path / "corpus"))
    replaced(tmp_path / "corpus")
    corpus = Corpus.read(tmp_path / "corpus")
    with pytest.raises(CorpusError, match=r"train\.ids: damaged: places 1,000 to 1,099 do not hold what was written"):
        READERS[reader](corpus)


def test_sums_are_those_of_the_file_whatever_slice_or_step_ids_are_picked_by(tmp_path, monkeypatch):
    as_if_large(monkeypatch)
    monkeypatch.setattr(mapped, "BLOCK", 64)
    prepare(written(tmp_path / "data", {"a.txt": TEXT}), tmp_path / "corpus")
    replaced(tmp_path / "corpus")
    ids = Corpus.read(tmp_path / "corpus").train.ids
    right = [999, -1, slice(960, 1000), slice(1140, 1099, -1), slice(1100, None, 200), np.array([[3], [1100]])]
    for key in right:
        ids[key]
    wrong = [1000, 1099, 1000 - len(ids), slice(990, 1001), slice(1110, 1090, -3), np.array([[3], [1050 - len(ids)]])]
    for key in wrong:
        with pytest.raises(CorpusError, match="places 1,000 to 1,099 do not hold what was written"):
            ids[key]
    with pytest.raises(CorpusError, match="places 1,000 to 1,099 do not hold what was written"):
        ids[100:][200:][700:750]
    assert len(ids[1000:1000]) == 0


def test_place_of_an_id_is_that_in_its_file_whatever_slice_it_is_picked_from(tmp_path, monkeypatch):
    as_if_large(monkeypatch)
    monkeypatch.setattr(mapped, "BLOCK", 64)
    prepare(written(tmp_path / "data", {"a.txt": TEXT}), tmp_path / "corpus")
    with (tmp_path / "corpus" / "train.ids").open("r+b") as ids:
        ids.seek(1000)
        ids.write(b"\xff")
    ids = Corpus.read(tmp_path / "corpus").train.ids[100:][200:]
    assert ids[:64].max() < 255
    for key in (700, slice(650, 710), np.array([[3], [700]])):
        with pytest.raises(CorpusError, match="place 1,000 holds 255"):
            ids[key]
