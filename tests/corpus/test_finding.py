"""Which files the named data is: what is not data is refused, or skipped, by its name."""

import io
import tarfile

import pytest

from unrolled.config.model import ModelConfig
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.finding import find_sources
from unrolled.corpus.preparing import prepare
from unrolled.corpus.reading import CorpusError, CorpusWarning
from unrolled.lm.model import SequenceModel
from unrolled.saved.vocabulary import Vocabulary


def test_model_is_not_read_as_data_nor_is_an_address(tmp_path):
    SequenceModel(ModelConfig(hidden_size=3), Vocabulary("ab")).save_pretrained(tmp_path / "m")
    with pytest.raises(CorpusError, match="m: a model or a run, which is not read as data; name the data"):
        Corpus.read(tmp_path / "m")
    (tmp_path / "m" / "a.txt").write_text("ab" * 500)
    assert Corpus.read(tmp_path / "m", include="*.txt").split.sizes
    with pytest.raises(CorpusError, match=r"https://e.org/a.txt: no such file; .*; data is read from files"):
        Corpus.read("https://e.org/a.txt")


def test_of_files_of_one_name_in_an_archive_the_last_counts_and_links_are_named(tmp_path):
    with tarfile.open(tmp_path / "books.tar", "w") as archive:
        for name, data in (("a.txt", b"old"), ("b.txt", b"so long"), ("a.txt", b"newer")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("c.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "a.txt"
        archive.addfile(link)
    with pytest.warns(CorpusWarning, match=r"books.tar: links in the archive, and so skipped: c.txt"):
        sources = find_sources(tmp_path / "books.tar")
    assert [(source.member, source.size) for source in sources] == [("b.txt", 7), ("a.txt", 5)]


def test_pattern_of_files_where_no_folder_is_named_is_said(tmp_path):
    (tmp_path / "a.txt").write_text("ab" * 500)
    with pytest.warns(CorpusWarning, match=r"include='\*.md' has no effect: .* no folder is named"):
        find_sources(tmp_path / "a.txt", include="*.md")
    assert len(find_sources([tmp_path], include="*.txt")) == 1


@pytest.mark.parametrize("name", ["corpus.json", "train.ids", "vocabulary.json"])
def test_a_part_of_a_prepared_corpus_is_told_from_data(name, tmp_path):
    prepare(iter([["a", "b"]] * 99), tmp_path / "prepared", processes=1)
    with pytest.raises(CorpusError, match=rf"{name}: a part of the prepared corpus .*prepared; name that folder"):
        find_sources(tmp_path / "prepared" / name)
    (tmp_path / "corpus.json").write_text('[["a"]]')
    assert len(find_sources(tmp_path / "corpus.json")) == 1
