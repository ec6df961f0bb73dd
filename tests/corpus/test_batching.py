"""Batches: every symbol is predicted exactly once, no padding is wasted, and a resumed order is the same order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.corpus.batching import IGNORED, SequenceBatches, StreamBatches
from unrolled.corpus.splitting import Sequences

ragged = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=9), min_size=1, max_size=20)
EOS = 6


def sequences_of(lists) -> Sequences:
    ended = [[*ids, EOS] for ids in lists]
    ids = np.concatenate([np.array(s, np.uint8) for s in ended])
    return Sequences(ids, np.cumsum([0, *map(len, ended)]))


def rows(batches):
    """The sequences that a pass yields, put together again from inputs and targets."""
    for inputs, targets, lengths, _ in batches:
        for b, T in enumerate(lengths):
            assert inputs[1:T, b].tolist() == targets[: T - 1, b].tolist()
            assert (targets[T:, b] == IGNORED).all()
            assert not inputs[T:, b].any()
            yield [*inputs[:T, b].tolist(), int(targets[T - 1, b])]


@given(ragged, st.integers(1, 7), st.booleans())
def test_sequence_batches_cover_each_sequence_once_an_epoch(lists, batch_size, shuffle):
    batches = SequenceBatches(sequences_of(lists), batch_size, shuffle=shuffle)
    for _ in range(2):
        assert sorted(rows(batches)) == sorted([*ids, EOS] for ids in lists)


@given(ragged, st.integers(1, 7))
def test_sequence_batches_pad_no_more_than_sorted_lengths_need(lists, batch_size):
    lengths = sorted(map(len, lists), reverse=True)
    least = sum(lengths[k] * len(lengths[k : k + batch_size]) for k in range(0, len(lengths), batch_size))
    assert sum(batch.inputs.size for batch in SequenceBatches(sequences_of(lists), batch_size)) == least


def test_sequence_batches_change_their_order_with_epoch_and_seed():
    data = sequences_of([[k % 6] * 3 for k in range(40)])
    batches = SequenceBatches(data, 4, seed=1)
    first, second = list(rows(batches)), list(rows(batches))
    other = list(rows(SequenceBatches(data, 4, seed=2)))
    assert first != second
    assert first != other
    assert first == list(rows(SequenceBatches(data, 4, seed=1)))


def test_sequence_batches_give_the_textbook_batch():
    [batch] = SequenceBatches(Sequences(np.array([0, 1, 2, 0, 0, 1, 1, 2]), np.array([0, 3, 8])), 5)
    assert [array.dtype for array in batch[:3]] == [np.int64] * 3
    assert batch.inputs.T.tolist() == [[0, 0, 1, 1], [0, 1, 0, 0]]
    assert batch.targets.T.tolist() == [[0, 1, 1, 2], [1, 2, IGNORED, IGNORED]]


@given(st.integers(2, 90), st.integers(1, 12), st.integers(1, 9))
def test_stream_batches_predict_every_symbol_once_an_epoch(N, B, bptt):
    batches = StreamBatches(np.arange(N), B, bptt)
    for _ in range(2):
        seen = []
        for k, (inputs, targets, reset, _) in enumerate(batches):
            counted = targets != IGNORED
            assert inputs.shape == targets.shape
            assert inputs.shape[1] == B
            assert inputs.shape[0] <= bptt
            assert reset == (k == 0)
            assert (inputs[counted] + 1 == targets[counted]).all()
            seen += targets[counted].tolist()
        assert sorted(seen) == list(range(1, N))


@given(st.integers(2, 90), st.integers(1, 12), st.integers(1, 9))
def test_stream_batches_read_on_where_each_lane_stopped(N, B, bptt):
    inputs = np.concatenate([batch.inputs for batch in StreamBatches(np.arange(1, N + 1), B, bptt)])
    for lane in inputs.T:
        read = lane[lane > 0]
        assert (np.diff(read) == 1).all()
        assert len(read) in (len(inputs), len(inputs) - 1)


makers = {
    "sequences": lambda: SequenceBatches(sequences_of([[k % 6] * (k % 4 + 1) for k in range(23)]), 3, seed=5),
    "one batch": lambda: SequenceBatches(sequences_of([[0], [1, 2]]), 3),
    "stream": lambda: StreamBatches(np.arange(101, dtype=np.uint8), 3, 7),
}


@pytest.mark.parametrize("make", makers.values(), ids=makers)
@pytest.mark.parametrize("done", [0, 1, 5, 8, 9, 20])
def test_batches_resume_equals_uninterrupted(make, done):
    def endless(batches):
        while True:
            yield from batches

    def same(one, other):
        return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))

    whole, first, resumed = make(), make(), make()
    expected = [batch for batch, _ in zip(endless(whole), range(done + 12), strict=False)]
    for _ in zip(range(done), endless(first), strict=False):
        pass
    resumed.load_state_dict(first.state_dict())
    got = [batch for batch, _ in zip(endless(resumed), range(12), strict=False)]
    assert all(same(one, other) for one, other in zip(got, expected[done:], strict=True))


def test_batches_refuse_a_place_that_is_not_there():
    with pytest.raises(ValueError, match="epoch 0, batch 6 of 5; was it other data"):
        StreamBatches(np.arange(101), 3, 7).load_state_dict({"epoch": 0, "index": 6})


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: StreamBatches(np.arange(1), 1, 1), "has 1 symbol, expected 2"),
        (lambda: StreamBatches(np.arange(9), 0, 1), "batch_size is 0"),
        (lambda: StreamBatches(np.arange(9), 1, 0), "bptt is 0"),
        (lambda: SequenceBatches(Sequences(np.empty(0, np.uint8), np.array([0])), 1), "found none"),
        (lambda: SequenceBatches(Sequences(np.zeros(3, np.uint8), np.array([0, 1, 3])), 1), "one of 1 symbol,"),
    ],
)
def test_batches_refuse_data_that_predicts_nothing(make, says):
    with pytest.raises(ValueError, match=says):
        make()
