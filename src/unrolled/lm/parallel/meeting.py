"""How processes find each other, and share the cores of their machine."""

from __future__ import annotations

import os
import socket
import time
from datetime import timedelta
from typing import Any

import msgspec
import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.distributed_c10d import PrefixStore, ProcessGroupGloo

from unrolled import __version__
from unrolled.config.launch import Launch
from unrolled.config.options import option
from unrolled.core import active_instruction_set, default_threads
from unrolled.corpus.sharing import Share
from unrolled.lm.parallel.comparison import difference
from unrolled.lm.parallel.ranks import Ranks, RanksDiffer, connected
from unrolled.lm.parallel.watch import ALIVE, BEAT, Heart, RankLost, Watch
from unrolled.words import counted


class Presence(msgspec.Struct):
    """What a process says of itself when it comes."""

    host: str
    pid: int
    versions: dict[str, str]
    processor: str


def meet_under_torchrun(launch: Launch, timeout: float) -> Ranks:
    """Return all processes that torchrun has started, as :func:`meet`."""
    share_cores(launch)
    ranks = meet(_store(launch, timeout), launch.rank, launch.size, timeout, _device())
    if launch.local_size == launch.size:
        ranks.gather()
    return ranks


def share_cores(launch: Launch) -> None:
    """Give this process its part of the machine's cores, unless the environment says how many threads it has.

    Where OMP_NUM_THREADS is not set, torchrun sets it to 1, so that this number says nothing.
    """
    said = os.environ.get("UNROLLED_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS", "1") != "1"
    if launch.local_size > 1 and not said:
        torch.set_num_threads(max(1, default_threads() // launch.local_size))


def meet(store: Any, rank: int, size: int, timeout: float, device: Any = None) -> Ranks:
    """Return all processes, once each has come to a store.

    Args: the store; the number of this process; how many there are; seconds to wait; the interface to use.
    Raises: RankLost naming those that are missing.  RanksDiffer if one has another version.
    """
    heart = Heart(store, rank, timeout)
    present = _present(heart, size)
    names = [f"rank {each} (pid {one.pid} on {one.host})" for each, one in enumerate(present)]
    watch = Watch(heart, names)
    if found := difference([{"version": one.versions} for one in present], names):
        raise RanksDiffer(found, first=watch.report(RanksDiffer(found)))
    try:
        group = connected(PrefixStore("gloo", store), Share(rank, size), timeout, device)
    except RuntimeError as error:  # of gloo
        remedy = "GLOO_SOCKET_IFNAME names the interface that leads to them"
        raise watch.announced(f"{names[rank]} cannot connect to the others: {error}; {remedy}") from None
    return Ranks(watch, Share(rank, size), group, [one.processor for one in present])


def _present(heart: Heart, size: int) -> list[Presence]:
    """Say that this process is here; return what all say, once they have come."""
    threads = counted(torch.get_num_threads(), "thread")
    versions = {"unrolled": __version__, "torch": str(torch.__version__)}
    own = Presence(socket.gethostname(), os.getpid(), versions, f"{active_instruction_set()} and {threads}")
    until, keys = time.monotonic() + heart.timeout, [f"here/{each}" for each in range(size)]
    heart.ask(lambda store: store.set(ALIVE.format(heart.rank), "0"))
    heart.ask(lambda store: store.set(keys[heart.rank], msgspec.json.encode(own)))
    while not heart.ask(lambda store: store.check(keys)):
        if time.monotonic() > until:
            raise _missing(heart.ask(lambda store: [store.check([key]) for key in keys]), heart.rank, heart.timeout)
        time.sleep(BEAT / 20)
    found = heart.ask(lambda store: [store.get(key) for key in keys])
    return [msgspec.json.decode(said, type=Presence) for said in found]


def _missing(came: list[bool], rank: int, timeout: float) -> RankLost:
    """Return the error that names the processes which have not come; the first one that has come tells it."""
    missing = ", ".join(f"rank {each}" for each, here in enumerate(came) if not here)
    return RankLost(
        f"{missing} of {counted(len(came), 'process')} did not come within {timeout:g} s; see why it did not start, or "
        f"wait longer with {option('rank_timeout')}",
        first=came.index(True) == rank,
    )


def _store(launch: Launch, timeout: float) -> Any:
    """Return the store that torchrun, or the first process, keeps for all.

    Raises: RankLost if it cannot be reached in time.
    """
    where, port = _environment("MASTER_ADDR"), _environment("MASTER_PORT")
    keeps = launch.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    try:
        store = TCPStore(
            where, int(port), launch.size, keeps, timedelta(seconds=timeout), wait_for_workers=False, multi_tenant=True
        )
    except (RuntimeError, ValueError) as error:
        raise RankLost(f"the process that keeps {where}:{port} is not reached in {timeout:g} s: {error}") from None
    return PrefixStore("unrolled", store)


def _device() -> Any:
    """Return the interface that leads to the machine of the first process; None leaves it to gloo."""
    if os.environ.get("GLOO_SOCKET_IFNAME"):
        return None
    [(family, kind, _, _, address), *_] = socket.getaddrinfo(
        _environment("MASTER_ADDR"), int(_environment("MASTER_PORT")), type=socket.SOCK_DGRAM
    )
    with socket.socket(family, kind) as probe:
        probe.connect(address)  # sends nothing
        return ProcessGroupGloo.create_device(hostname=probe.getsockname()[0])


def _environment(name: str) -> str:
    """Return what torchrun says in the environment."""
    if not os.environ.get(name):
        raise ValueError(f"{name} is missing in the environment; start all processes with torchrun")
    return os.environ[name]
