"""How processes find each other, and share the cores of their machine."""

import msgspec
import pytest
import torch
from torch.distributed import HashStore

from unrolled.config.launch import Launch
from unrolled.lm.parallel import meeting
from unrolled.lm.parallel.joining import join
from unrolled.lm.parallel.meeting import Presence, meet, meet_under_torchrun, share_cores
from unrolled.lm.parallel.ranks import RanksDiffer
from unrolled.lm.parallel.watch import RankLost


@pytest.mark.parametrize(
    ("cores", "processes", "environment", "threads"),
    [
        (8, 2, {"OMP_NUM_THREADS": "1"}, 4),  # which torchrun has set
        (8, 3, {}, 2),
        (2, 4, {}, 1),
        (8, 1, {"OMP_NUM_THREADS": "1"}, 7),
        (8, 2, {"OMP_NUM_THREADS": "3"}, 7),
        (8, 2, {"UNROLLED_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}, 7),
    ],
)
def test_processes_of_a_machine_share_its_cores_unless_the_environment_says_otherwise(
    cores, processes, environment, threads, monkeypatch
):
    for name in ("OMP_NUM_THREADS", "UNROLLED_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(meeting, "default_threads", lambda: cores)
    torch.set_num_threads(7)
    share_cores(Launch(0, processes, 0, processes))
    assert torch.get_num_threads() == threads


def test_process_with_another_version_is_named():
    store = HashStore()
    store.set(
        "here/1", msgspec.json.encode(Presence("b", 7, {"unrolled": "0.0", "torch": "2.11"}, "avx2 and 1 thread"))
    )
    with pytest.raises(
        RanksDiffer, match=r"rank 1 \(pid 7 on b\) has unrolled 0\.0, rank 0 .* install the same version"
    ):
        meet(store, 0, 2, 5.0)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"MASTER_PORT": "1"}, "MASTER_ADDR is missing in the environment; start all processes with torchrun"),
        ({"MASTER_ADDR": "127.0.0.1"}, "MASTER_PORT is missing in the environment"),
    ],
)
def test_environment_without_a_meeting_place_is_refused(environment, said, monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=said):
        meet_under_torchrun(Launch(1, 2), 1.0)


def test_meeting_place_that_nobody_keeps_is_named_within_the_time_out(monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "9")
    with pytest.raises(RankLost, match=r"the process that keeps 127\.0\.0\.1:9 is not reached in 1 s"):
        meet_under_torchrun(Launch(1, 2), 1.0)


def test_process_that_is_alone_meets_nobody(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    assert (join().size, join().first) == (1, True)
