"""Parquet: a column of texts or of lists, and columns that are neither."""

import io
import sys

import pytest

pyarrow = pytest.importorskip("pyarrow", reason="needs [parquet]")

from pyarrow import parquet  # noqa: E402

from unrolled.corpus import parquet as module  # noqa: E402
from unrolled.corpus import prepare  # noqa: E402
from unrolled.corpus.corpus import Corpus  # noqa: E402
from unrolled.corpus.reading import CorpusError  # noqa: E402

TEXTS = [f"line {k}, so löng" for k in range(60)]


@pytest.fixture
def path(tmp_path):
    table = pyarrow.table({"id": [*range(60)], "text": TEXTS, "symbols": [text.split() for text in TEXTS]})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=7)
    return tmp_path / "a.parquet"


@pytest.mark.parametrize("rows", [1, 7, 1024])
def test_column_is_read_as_the_sequences_in_it(path, rows, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "ROWS", rows)
    assert Corpus.read(path, column="text").fingerprint == Corpus.from_sequences(TEXTS).fingerprint
    lists = [text.split() for text in TEXTS]
    assert Corpus.read(path, column="symbols").fingerprint == Corpus.from_sequences(lists).fingerprint
    prepare(path.parent, tmp_path / "corpus", column="text")  # of a folder too
    assert Corpus.read(tmp_path / "corpus").fingerprint == Corpus.from_sequences(TEXTS).fingerprint


def test_only_column_needs_no_name(tmp_path):
    parquet.write_table(pyarrow.table({"text": TEXTS}), tmp_path / "a.parquet")
    assert Corpus.read(tmp_path / "a.parquet").fingerprint == Corpus.from_sequences(TEXTS).fingerprint


def test_what_is_no_column_of_sequences_is_named(path, tmp_path, monkeypatch):
    with pytest.raises(
        CorpusError, match=r"a\.parquet: no column was named; name the one that .* of 'id', 'text', 'sym"
    ):
        Corpus.read(path)
    with pytest.raises(CorpusError, match=r"a\.parquet: no column 'txt'"):
        Corpus.read(path, column="txt")
    with pytest.raises(CorpusError, match=r"a\.parquet: row 1: got a number, expected a string"):
        Corpus.read(path, column="id")
    parquet.write_table(pyarrow.table({"text": ["a", None]}), tmp_path / "null.parquet")
    with pytest.raises(CorpusError, match=r"null\.parquet: row 2: got None"):
        Corpus.read(tmp_path / "null.parquet")
    whole = path.read_bytes()
    for name, data in {
        "empty": b"",
        "text": b"so long",
        "cut": whole[:-9],
        "damaged": whole[:50] + bytes(500) + whole[550:],
    }.items():
        (tmp_path / f"{name}.parquet").write_bytes(data)
        with pytest.raises(CorpusError, match=rf"{name}\.parquet: not Parquet, or damaged"):
            Corpus.read(tmp_path / f"{name}.parquet", column="text")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(whole)))
    with pytest.raises(CorpusError, match="standard input: Parquet keeps its index at the end"):
        Corpus.read("-", format="parquet", column="text")


def test_column_that_is_there_twice_is_refused(tmp_path):
    table = pyarrow.table([["ab"], ["cd"]], names=["text", "text"])
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match="'text' names 2 columns; give them names of their own"):
        Corpus.read(tmp_path / "a.parquet", column="text")
