"""Which files the named data is: what is not data is refused, or skipped, by its name."""

import pytest

from unrolled.config.model import ModelConfig
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.reading import CorpusError
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
