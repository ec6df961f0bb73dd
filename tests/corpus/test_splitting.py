"""What is held out, by sequences, blocks and files: nothing is lost, nothing is in two parts."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.corpus.corpora import decoded
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.reading import CorpusError, CorpusWarning
from unrolled.corpus.splitting import BLOCK, counts


@given(st.text(st.characters(codec="utf-8"), min_size=10), st.integers(0, 3), st.integers(0, 3))
@pytest.mark.filterwarnings("ignore::unrolled.corpus.reading.CorpusWarning")
def test_corpus_blocks_are_the_stream_in_order(text, validation, test):
    shares = [share / 10 for share in (validation, test)]
    assume(all(share == 0 or len(text) * share >= 2 for share in shares))
    corpus = Corpus.from_text(text, validation=shares[0], test=shares[1])
    ids = np.concatenate([part.ids for part in corpus.splits.values()])
    unseen = ids == corpus.vocabulary.unk_id
    assert len(ids) == len(text)
    assert [corpus.vocabulary.names[k] for k in ids[~unseen]] == [c for c, u in zip(text, unseen, strict=True) if not u]
    assert not unseen[: corpus.split.sizes[0]].any()


@given(st.integers(20, 60), st.integers(0, 5))
def test_corpus_splits_by_sequence_lose_none_and_repeat_none(n, seed):
    sequences = [[f"s{k}", "x"] for k in range(n)]
    corpus = Corpus.from_sequences(sequences, validation=0.1, test=0.1, split_seed=seed)
    again = Corpus.from_sequences(sequences, validation=0.1, test=0.1, split_seed=seed)
    assert corpus.fingerprint == again.fingerprint
    assert sum(corpus.split.sizes) == n == sum(map(len, corpus.splits.values()))
    seen = [s[0] for s in decoded(corpus, corpus.train)]
    assert len(set(seen)) == len(seen)
    assert all(s[0] == "UNK" for part in (corpus.validation, corpus.test) for s in decoded(corpus, part))


def test_corpus_split_changes_with_the_seed():
    sequences = [[str(k)] for k in range(50)]
    assert Corpus.from_sequences(sequences).fingerprint != Corpus.from_sequences(sequences, split_seed=1).fingerprint


def test_corpus_vocabulary_is_of_training_symbols_only():
    corpus = Corpus.from_text("ab" * 40 + "c" * 20, validation=0.1, test=0.1)
    assert corpus.vocabulary.names == ("a", "b", "EOS", "UNK")
    assert corpus.unk_rates == {"train": 0.0, "validation": 1.0, "test": 1.0}


def test_corpus_split_by_file_keeps_works_whole(tmp_path):
    for k in range(10):
        (tmp_path / f"{k}.txt").write_text(f"{k}" * 5)
    corpus = Corpus.read(tmp_path, split_by="file", validation=0.2, test=0.1)
    assert corpus.split.sizes == (7, 2, 1)
    assert (len(corpus.train), len(corpus.train.ids)) == (1, 7 * 6)
    assert corpus.unk_rates == {"train": 0.0, "validation": 10 / 12, "test": 5 / 6}


@given(st.integers(3, 30))
def test_corpus_split_by_block_keeps_sequences_in_order(n):
    corpus = Corpus.from_sequences([[str(k)] for k in range(n)], split_by="block", validation=0.34, test=0.34)
    assert corpus.vocabulary.symbols == tuple(sorted(str(k) for k in range(corpus.split.sizes[0])))
    assert decoded(corpus, corpus.train) == [[str(k), "EOS"] for k in range(corpus.split.sizes[0])]
    assert str(corpus.split).startswith(f"the first {corpus.split.sizes[0]} sequences train, the next")


def test_corpus_split_by_file_keeps_the_sequences_of_a_file_together(tmp_path):
    for k in range(6):
        (tmp_path / f"{k}.txt").write_text(f"\n{k}a\n{k}b\n\n{k}c")
    corpus = Corpus.read(tmp_path, split_by="file", lines=True, validation=0.2, test=0.2)
    assert (str(corpus.split).startswith("of the files, 4 train, 1 validate"), len(corpus.train)) == (True, 12)
    files = [decoded(corpus, corpus.train)[k : k + 3] for k in range(0, 12, 3)]
    assert all([s[1] for s in file] == ["a", "b", "c"] and len({s[0] for s in file}) == 1 for file in files)


def test_corpus_stream_has_no_sequences_to_split_by():
    with pytest.raises(CorpusError, match="a stream has no sequences to split"):
        Corpus.from_text("abab" * 9, split_by="sequence")


@pytest.mark.parametrize(
    ("data", "changes", "said", "sizes"),
    [
        (
            "abcdefghij",
            {},
            "test=0.05 .symbols: 10.; nothing is held out for validation and test",
            (10, 0, 0),
        ),
        (
            "a\nb\nc\n",
            {"lines": True, "test": 0.4},
            "validation=0.05 .sequences: 3.; .* for validation$",
            (2, 0, 1),
        ),
        ("abc" * 99, {"split_by": "file", "test": 0}, "validation=0.05 .files: 1.", (1, 0, 0)),
    ],
)
def test_corpus_too_small_to_hold_anything_out_is_trained_on_whole(data, changes, said, sizes, tmp_path):
    (tmp_path / "data").write_text(data)
    with pytest.warns(CorpusWarning, match=said):
        corpus = Corpus.read(tmp_path / "data", **changes)
    assert corpus.split.sizes == sizes


@pytest.mark.parametrize("length", [0, 1, 999, BLOCK - 1, BLOCK, 2 * BLOCK + 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_counts_are_those_of_each_id(length, dtype):
    ids = np.random.default_rng(0).integers(0, 90, length).astype(dtype)
    for some in (ids, ids[1:]):  # of another alignment
        assert counts(some, 97).tolist() == [int((some == k).sum()) for k in range(97)]
