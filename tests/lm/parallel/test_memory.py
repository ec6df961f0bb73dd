"""Memory that the processes of one machine share."""

import os
import threading

import numpy as np
import pytest
import torch

from tests.lm.parallel.crew import crew
from unrolled.core import Barrier
from unrolled.lm.optimisers import FlatParameters
from unrolled.lm.parallel import memory
from unrolled.lm.parallel.memory import SharedFile, SharedGradients


def barriers(size):
    shared = np.zeros(Barrier.bytes(size), np.uint8)
    return [Barrier(shared, rank, size) for rank in range(size)]


def test_barrier_opens_once_all_have_come():
    one, two = barriers(2)
    one.come([1.0, 0.5])
    assert not one.wait(0.01)
    two.come([2.0, 0.25])
    assert one.wait(0.01)
    assert two.wait(0.01)
    assert one.sums() == two.sums() == [3.0, 0.75]


def test_barrier_lasts_any_number_of_rounds():
    together, rounds = barriers(3), 2000

    def walk(barrier, rank, found):
        for k in range(rounds):
            barrier.come([float(k), float(rank)])
            while not barrier.wait(0.5):
                pass
            found.append(barrier.sums())

    sums = [[] for _ in together]
    threads = [threading.Thread(target=walk, args=(b, k, sums[k])) for k, b in enumerate(together)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sums == [[[3.0 * k, 3.0] for k in range(rounds)]] * 3


def test_barrier_adds_in_the_order_of_ranks():
    together = barriers(3)
    for barrier, number in zip(together, (1e300, -1e300, 1.0), strict=True):
        barrier.come([number])
    assert together[0].sums() == [1.0]


def test_barrier_refuses_more_numbers_than_it_has_room_for():
    [alone] = barriers(1)
    alone.come([0.0] * 15)
    with pytest.raises(ValueError, match="16 numbers, expected at most 15"):
        alone.come([0.0] * 16)
    with pytest.raises(ValueError, match="too little memory"):
        Barrier(np.zeros(Barrier.bytes(2), np.uint8), 0, 3)


def test_barrier_lets_other_threads_run_while_it_waits():
    one, two = barriers(2)
    one.come([])
    threading.Timer(0.1, lambda: two.come([])).start()
    assert one.wait(10.0)


def test_file_is_one_for_all_and_nothing_of_it_is_left():
    before = {*os.listdir("/dev/shm")}

    def work(ranks):
        file = SharedFile.of(ranks, 64)
        bytes_of = file.mapped()
        bytes_of[ranks.share.rank] = 7 + ranks.share.rank
        ranks.sum()
        found = bytes_of[:4]
        ranks.sum()
        file.close()
        return found

    assert crew(3, work) == [bytes([7, 8, 9, 0])] * 3
    assert {*os.listdir("/dev/shm")} == before


def test_process_holds_its_byte_as_long_as_it_has_the_file():
    def work(ranks):
        file = SharedFile.of(ranks, 8)
        before = [file.lives(rank) for rank in range(2) if rank != ranks.share.rank]
        ranks.sum()
        if ranks.first:
            file.close()
        ranks.sum()
        after = ranks.first or file.lives(0)
        file.close()
        return before, after

    assert crew(2, work) == [([True], True), ([True], False)]


@pytest.mark.parametrize("fault", ["no such files", "another file", "no locks"])
def test_processes_that_cannot_share_a_file_use_their_connections(fault, monkeypatch):
    if fault == "no such files":
        monkeypatch.delattr(os, "memfd_create")
    elif fault == "another file":  # of a process with the same number on another machine
        monkeypatch.setattr(memory.os, "pread", lambda *_: b"another mark")
    else:

        def refused(*_):
            raise OSError("no locks")

        monkeypatch.setattr(memory.fcntl, "fcntl", refused)

    def work(ranks):
        open_files = len(os.listdir("/proc/self/fd"))
        return ranks.gathering, ranks.sum(1.0), open_files

    for gathering, sums, _ in crew(2, work):
        assert gathering is None
        assert sums == (2.0,)


class Timed:
    """A run, as far as an exchange asks it."""

    class clock:
        seconds = 0.0

    def __init__(self):
        self.lasted = {"step": 0.0}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("n", [1, 100_003])
def test_gradients_are_added_in_the_order_of_ranks_for_all(dtype, size, n):
    given = torch.randn(size, n, dtype=dtype)
    wanted = given[0].clone()
    for other in given[1:]:
        wanted += other

    def work(ranks):
        layer = torch.nn.ParameterList([torch.nn.Parameter(torch.zeros(n, dtype=dtype))])
        flat, found = FlatParameters(layer.parameters()), []
        exchange = ranks.exchange(flat, layer.parameters())
        assert isinstance(exchange, SharedGradients)
        for _ in range(2):
            layer[0].grad.zero_()
            layer[0].grad.add_(given[ranks.share.rank])
            assert exchange.finish(1.0, ranks.first, Timed()) == (size, True)
            found.append(layer[0].grad.clone())
        return found

    for found in crew(size, work):
        assert all(torch.equal(each, wanted) for each in found)
