"""Data sets of the Hugging Face library, in memory, on disk and as streams."""

import pytest

datasets = pytest.importorskip("datasets", reason="needs [dev]: the package datasets")

from unrolled.corpus import prepare  # noqa: E402
from unrolled.corpus.corpus import Corpus  # noqa: E402
from unrolled.corpus.reading import CorpusError  # noqa: E402

TEXTS = [f"line {k}, so löng" for k in range(200)]


@pytest.fixture
def rows():
    return datasets.Dataset.from_dict({"id": [*range(200)], "text": TEXTS, "symbols": [text.split() for text in TEXTS]})


@pytest.mark.parametrize("form", ["in memory", "as a stream", "from disk", "mapped"])
@pytest.mark.parametrize("column", ["text", "symbols"])
def test_data_set_is_prepared_as_its_column(form, column, rows, tmp_path):
    if form == "as a stream":
        rows = rows.to_iterable_dataset(num_shards=3)
    elif form == "from disk":
        rows.save_to_disk(tmp_path / "saved")
        rows = datasets.load_from_disk(tmp_path / "saved")
    elif form == "mapped":
        rows = rows.map(lambda row: {"id": -row["id"]})
    prepare(rows, tmp_path / "corpus", column=column)
    plain = Corpus.from_sequences(TEXTS if column == "text" else [text.split() for text in TEXTS])
    assert Corpus.read(tmp_path / "corpus").fingerprint == plain.fingerprint
    assert Corpus.from_sequences(rows, column=column).fingerprint == plain.fingerprint


def test_column_of_a_data_set_is_named_where_it_is_missing(rows, tmp_path):
    with pytest.raises(CorpusError, match=r"holds the sequences \(column\), of 'id', 'text', 'symbols'"):
        prepare(rows, tmp_path / "corpus")


def test_several_data_sets_are_refused_in_the_place_of_one(rows, tmp_path):
    with pytest.raises(CorpusError, match="a mapping from 'train', 'test', expected sequences"):
        prepare(datasets.DatasetDict({"train": rows, "test": rows}), tmp_path / "corpus")
