"""Threads: how many run, who may call at once, and what a fork leaves."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from cases import KINDS, assert_same_bits, make

#: Run in a process of its own.  `new_threads(n)` is how many threads a call adds when torch is set to n; the call is
#: worth several, and torch's own threads are there before.
PRELUDE = """
import os, sys, torch
sys.path.insert(0, {folder!r})
from cases import assert_same_bits, make
from unrolled import _core
call = make("LSTM", torch.float32, T=23, B=29, I=17, H=33).run
def threads():
    return len(os.listdir("/proc/self/task"))
def new_threads(n):
    torch.set_num_threads(n)
    before = threads()
    call()
    return threads() - before
"""

needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted through /proc")


def python(code, **environment):
    """What a fresh process prints; UNROLLED_NUM_THREADS is set only if given."""
    inherited = {name: value for name, value in os.environ.items() if name != "UNROLLED_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE.format(folder=str(Path(__file__).parent)) + code],
        env={**inherited, **environment}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_many_python_threads_call_at_once_and_get_their_own_bits():
    torch.set_num_threads(3)
    cases = [make(kind, torch.float32, T=11 + k, B=29, I=17, H=33, seed=k) for k, kind in enumerate(KINDS * 2)]
    alone = [case.run() for case in cases]
    with ThreadPoolExecutor(len(cases)) as pool:
        for _ in range(3):
            for got, want in zip(pool.map(lambda case: case.run(), cases), alone, strict=True):
                assert_same_bits(got, want)


@needs_proc
@pytest.mark.parametrize(("wanted", "others"), [(1, "0"), (4, "3")])
def test_torch_set_num_threads_is_obeyed(wanted, others):
    assert python(f"print(new_threads({wanted}))") == [others]


@needs_proc
@pytest.mark.parametrize(("wanted", "others"), [("1", "0"), ("3", "2")])
def test_unrolled_num_threads_goes_before_torch_set_num_threads(wanted, others):
    assert python("print(_core.default_threads(), new_threads(4))", UNROLLED_NUM_THREADS=wanted) == [wanted, others]


@needs_proc
def test_threads_default_to_the_processors_of_the_process():
    assert python("os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1]); print(_core.default_threads())") == ["1"]


@pytest.mark.whole_process
def test_call_works_in_a_forked_child_and_still_in_its_parent():
    code = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
torch.set_num_threads(3)
want = call()
child = os.fork()
if child == 0:
    assert_same_bits(call(), want)
    os._exit(17)
_, status = os.waitpid(child, 0)
assert_same_bits(call(), want)
print(os.waitstatus_to_exitcode(status))
"""
    assert python(code) == ["17"]


def test_call_from_a_thread_that_ends_leaves_the_pool_working():
    torch.set_num_threads(3)
    case = make("GRU", torch.float64, T=23, B=29, I=17, H=33)
    want = case.run()
    for _ in range(3):
        with ThreadPoolExecutor(1) as short_lived:
            assert_same_bits(short_lived.submit(case.run).result(), want)
    assert_same_bits(case.run(), want)
