"""What several processes do together."""

import time

import numpy as np
import pytest
import torch

from tests.lm.parallel.crew import crew
from unrolled.corpus.sharing import Alone
from unrolled.lm.parallel.ranks import Ranks, RanksDiffer
from unrolled.lm.parallel.watch import RankLost

APART = pytest.mark.parametrize("apart", [False, True], ids=["together", "apart"])


@APART
@pytest.mark.parametrize("size", [2, 3])
def test_numbers_are_summed_in_every_process(size, apart):
    ended = crew(size, lambda ranks: ranks.sum(ranks.share.rank + 0.1, 2), apart=apart)
    assert ended == [ended[0]] * size
    assert ended[0] == (pytest.approx(sum(range(size)) + 0.1 * size), 2 * size)


@pytest.mark.parametrize("value", [None, True, 2.5e-300, "a word", {"steps": [1, 2], "nats": 0.1}, "long " * 1000])
def test_value_of_the_first_process_is_told_to_all(value):
    assert crew(3, lambda ranks: ranks.told(value if ranks.first else "another")) == [value] * 3


def test_arrays_of_the_first_process_are_told_to_all():
    rng = np.random.default_rng(0)
    arrays = {"a": rng.random((3, 4), np.float32), "b": np.array(7.0), "c": np.zeros((0, 2)), "d": np.arange(5)[::2]}
    for ended in crew(2, lambda ranks: ranks.told_arrays(arrays if ranks.first else {})):
        assert [*ended] == [*arrays]
        for name, array in arrays.items():
            assert (ended[name].dtype, ended[name].shape) == (array.dtype, array.shape)
            assert np.array_equal(ended[name], array)


@APART
def test_times_are_those_of_the_first_and_a_signal_reaches_all(apart):
    class Timed:
        def __init__(self, rank):
            self.clock, self.lasted = Alone(), {"step": 0.25 + rank, "save": 1.0 + rank}
            self.clock.seconds = 10.0 + rank

    def work(ranks):
        run = Timed(ranks.share.rank)
        asked = [ranks.agree(False, run), ranks.agree(ranks.share.rank == 1, run)]
        return asked, run.clock.seconds, run.lasted

    assert crew(3, work, apart=apart) == [([False, True], 10.0, {"step": 0.25, "save": 1.0})] * 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_states_of_all_rows_are_put_together_to_the_bit_and_taken_apart_again(dtype):
    whole = (torch.randn(2, 7, 3, dtype=dtype), torch.full((2, 7, 3), -0.0, dtype=dtype))

    def work(ranks):
        own = ranks.own(whole)
        assert sum(ranks.sum(own[0].shape[1])) == 7
        return ranks.of_all(own, 7), ranks.of_all(None, 7)

    for found, nothing in crew(3, work):
        assert nothing is None
        for one, other in zip(found, whole, strict=True):
            assert torch.equal(one, other)
            assert torch.equal(one.signbit(), other.signbit())


def test_tensors_are_aligned_only_where_processors_differ():
    def work(ranks, alike):
        ranks.processors = ["avx2", "avx2" if alike else "avx512"]
        tensor = torch.full((3,), float(ranks.share.rank))
        ranks.align(tensor)
        return tensor.tolist()

    assert crew(2, lambda ranks: work(ranks, True)) == [[0.0] * 3, [1.0] * 3]
    assert crew(2, lambda ranks: work(ranks, False)) == [[0.0] * 3] * 2


def test_processors_that_differ_are_noted_once():
    def work(ranks):
        ranks.processors = ["avx512 and 1 thread", "avx2 and 1 thread"]
        return ranks

    first, second = crew(2, work)
    with pytest.warns(
        UserWarning, match=r"rank 1 \(pid \d+ on .*\) computes with avx2 and 1 thread, rank 0 with avx512"
    ):
        first.note_processors()
    second.note_processors()


def test_processes_with_other_options_are_named_in_all():
    ended = crew(3, lambda ranks: ranks.compare(lambda: {"options": {"bptt": 64 + (ranks.share.rank == 2)}}))
    assert all(isinstance(error, RanksDiffer) for error in ended)
    assert "rank 2" in str(ended[0])
    assert "bptt=65" in str(ended[0])
    assert [*map(str, ended)] == [str(ended[0])] * 3


def test_missing_process_is_named_within_the_time_out():
    began = time.monotonic()
    first, _, third = crew(3, lambda ranks: None, timeout=1.0, coming=(0, 2))
    assert time.monotonic() - began < 5
    for error in (first, third):
        assert isinstance(error, RankLost)
        assert str(error).startswith("rank 1 of 3 processes did not come within 1 s; ")
        assert "rank_timeout" in str(error)
    assert (first.first, third.first) == (True, False)


@APART
def test_error_of_one_process_ends_the_others_with_its_words(apart):
    def work(ranks):
        with ranks.reporting():
            if ranks.share.rank == 1:
                raise OSError("the disk is full")
            ranks.sum(1.0)

    zero, one, two = crew(3, work, apart=apart)
    assert isinstance(one, OSError)
    for error in (zero, two):
        assert isinstance(error, RankLost)
        assert str(error).startswith("rank 1 (pid ")
        assert str(error).endswith(" failed: the disk is full")
        assert not error.first


def test_error_of_all_processes_is_told_by_the_first():
    def work(ranks):
        return ranks.watch.report(ValueError("no such option"))

    assert crew(3, work) == [True, False, False]


@APART
def test_process_that_dies_is_named_in_seconds(apart):
    def work(ranks):
        ranks.sum(1.0)
        if ranks.share.rank == 1:
            ranks.close()  # as a process that is killed: no word, and its locks and connections are gone
            return None
        began = time.monotonic()
        with pytest.raises(RankLost) as lost:
            ranks.sum(1.0)
        return str(lost.value), time.monotonic() - began

    first, _, third = crew(3, work, apart=apart)
    for said, seconds in (first, third):
        assert said.startswith("rank 1 (pid ")
        assert "has died" in said
        assert seconds < 10


@APART
def test_process_that_gives_no_sign_of_life_is_given_up_after_the_time_out(apart):
    def work(ranks):
        ranks.sum(1.0)
        if ranks.share.rank == 1:
            ranks.watch.heart.stop()  # as a process that hangs, or whose machine is gone: its connections stay
            time.sleep(3)
            return None
        with pytest.raises(RankLost) as lost:
            ranks.sum(1.0)
        return str(lost.value)

    said, _ = crew(2, work, timeout=1.0, apart=apart)
    assert said.startswith("rank 1 (pid ")
    assert said.endswith("has not answered for 1 s")


@APART
def test_process_that_is_busy_is_waited_for(apart):
    def work(ranks):
        if ranks.first:
            time.sleep(2.5)  # as long as writing a large file takes, and more than the time-out
        return ranks.sum(1.0)

    assert crew(2, work, timeout=1.0, apart=apart) == [(2.0,)] * 2


def test_ranks_answer_to_every_word_of_one_that_is_alone():
    words = {name for name in vars(Alone) if not name.startswith("_")} - {"share", "size", "first"}
    assert words <= {*vars(Ranks)}


def test_error_that_all_have_caught_is_over():
    def fail(ranks):
        with ranks.reporting():
            if ranks.share.rank == 1:
                raise ValueError("tried too much")
            ranks.watch.until(lambda store: False)

    def work(ranks):
        for _ in range(2):
            with pytest.raises((ValueError, RankLost)):
                fail(ranks)
        with ranks.reporting():
            if ranks.first:
                time.sleep(1.5)  # so that the other one looks
            return ranks.sum(1.0)

    assert crew(2, work) == [(2.0,)] * 2
