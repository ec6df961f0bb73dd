"""Shares of a batch: every row in one of them, balanced by symbols; lanes that never change hands."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.corpus.test_batching import rows, sequences_of
from unrolled.corpus.batching import IGNORED, SequenceBatches, StreamBatches
from unrolled.corpus.sharing import Share

sizes = st.integers(1, 5)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), sizes)
def test_rows_go_to_one_process_each_and_are_balanced_by_symbols(lengths, size):
    lengths = np.array(lengths)
    shares = [Share(rank, size).rows(lengths) for rank in range(size)]
    assert sorted(np.concatenate(shares).tolist()) == [*range(len(lengths))]
    loads = [int(lengths[share].sum()) for share in shares]
    assert max(loads) - min(loads) <= lengths.max()


def test_rows_are_balanced_by_symbols_and_not_by_their_number():
    assert [Share(rank, 2).rows(np.array([60, 10, 10, 10, 10, 10, 10])).tolist() for rank in (0, 1)] == [
        [0],
        [1, 2, 3, 4, 5, 6],
    ]


@given(st.integers(1, 40), sizes)
def test_lanes_go_to_one_process_each_and_are_neighbours(B, size):
    shares = [Share(rank, size).lanes(B).tolist() for rank in range(size)]
    assert list(itertools.chain(*shares)) == [*range(B)]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(
    st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=12), min_size=1, max_size=20), st.integers(1, 7), sizes
)
def test_shares_of_sequence_batches_are_the_rows_of_the_whole(lists, batch_size, size):
    data = sequences_of(lists)
    shares = [SequenceBatches(data, batch_size, share=Share(rank, size)) for rank in range(size)]
    for whole, *parts in zip(SequenceBatches(data, batch_size), *shares, strict=True):
        found = []
        for part in parts:
            predicted = (part.targets != IGNORED).any(0)
            found += [*rows([part])] if predicted.any() else []
            if size > 1:
                assert (*whole.inputs.shape, whole.lengths.sum()) == (part.whole.T, part.whole.B, part.whole.N)
                assert len(part.whole.rows) == part.inputs.shape[1]
                if predicted.any():
                    own = whole.inputs[: len(part.inputs), part.whole.rows]
                    assert np.array_equal(part.inputs, own)
        assert sorted(found) == sorted(rows([whole]))


@given(st.integers(2, 90), st.integers(1, 7), st.integers(1, 9), sizes)
def test_shares_of_stream_batches_are_the_lanes_of_the_whole(N, B, bptt, size):
    shares = [StreamBatches(np.arange(N), B, bptt, share=Share(rank, size)) for rank in range(size)]
    for whole, *parts in zip(StreamBatches(np.arange(N), B, bptt), *shares, strict=True):
        count = (whole.targets != IGNORED).sum()
        assert sum((part.targets != IGNORED).sum() for part in parts) == count
        for rank, part in enumerate(parts):
            lanes = Share(rank, size).lanes(B)
            assert part.reset == whole.reset
            assert part.whole is None if size == 1 else count == part.whole.N
            if len(lanes):
                assert np.array_equal(part.inputs, whole.inputs[:, lanes])
                assert np.array_equal(part.targets, whole.targets[:, lanes])


@pytest.mark.parametrize("B", [1, 2])
def test_share_without_rows_reads_one_row_and_predicts_nothing(B):
    stream = next(iter(StreamBatches(np.arange(1, 30), B, 5, share=Share(0, 3))))
    pair = sequences_of([[1, 2, 3]] * B)
    sequences = next(iter(SequenceBatches(pair, B, share=Share(2, 3))))
    for part in (stream, sequences):
        assert part.inputs.shape[1] == 1
        assert not part.inputs.any()
        assert (part.targets == IGNORED).all()
    assert sequences.lengths.tolist() == [1]
