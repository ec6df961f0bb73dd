"""Threads: how many run, who may call at once, and what a fork leaves; on OpenMP's threads and on the core's own.

The choice of pool is made once a process, so each test runs its code in a process of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.core.cases import DIVISIONS, KINDS

#: `call` is worth several threads; `new_threads(n)` is how many it adds when torch is set to n.
PRELUDE = """
import os, sys, numpy as np, torch
from concurrent.futures import ThreadPoolExecutor
sys.path.insert(0, {folder!r})
from tests.core.cases import DIVISIONS, KINDS, WITH_OPTIONS, assert_same_bits, make
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


@pytest.fixture(params=["openmp", "own"])
def python(request):
    """Run code in a fresh process on one of the two pools; return what it prints, in words."""

    def run(code, **environment):
        ours = {"UNROLLED_NUM_THREADS", "UNROLLED_POOL"}
        inherited = {name: value for name, value in os.environ.items() if name not in ours}
        pool = {"UNROLLED_POOL": "own"} if request.param == "own" else {}
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE.format(folder=str(Path(__file__).parents[2])) + code],
            env={**inherited, **pool, **environment}, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    return run


@needs_proc
@pytest.mark.parametrize(("wanted", "others"), [(1, "0"), (4, "3")])
def test_torch_set_num_threads_is_obeyed(python, wanted, others):
    assert python(f"print(new_threads({wanted}))") == [others]


@needs_proc
@pytest.mark.parametrize(("wanted", "others"), [("1", "0"), ("3", "2")])
def test_unrolled_num_threads_goes_before_torch_set_num_threads(python, wanted, others):
    code = "print(_core.default_threads(), new_threads(4))"
    assert python(code, UNROLLED_NUM_THREADS=wanted) == [wanted, others]


@needs_proc
def test_threads_default_to_the_processors_of_the_process(python):
    assert python("os.sched_setaffinity(0, [*os.sched_getaffinity(0)][:1]); print(_core.default_threads())") == ["1"]


def test_many_python_threads_call_at_once_and_get_their_own_bits(python):
    code = """
torch.set_num_threads(3)
cases = [make(kind, torch.float32, T=47 + k, B=29, I=17, H=33, seed=k) for k, kind in enumerate(KINDS * 2)]
alone = [case.run() for case in cases]
with ThreadPoolExecutor(len(cases)) as pool:
    for _ in range(3):
        for got, want in zip(pool.map(lambda case: case.run(), cases), alone):
            assert_same_bits(got, want)
print("same")
"""
    assert python(code) == ["same"]


@pytest.mark.whole_process
def test_call_works_in_a_forked_child_and_still_in_its_parent(python):
    code = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any fork with threads
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


@pytest.mark.whole_process
@pytest.mark.parametrize("call", ["lengths", "training", "bidirectional", "strided"])
def test_call_in_a_forked_child_waits_for_no_thread_of_torch(python, call):
    """Arrays large enough that torch would fill or copy them on threads, which a forked child does not have."""
    code = f"""
import signal, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from unrolled.core.fields import Layout
from unrolled.nn import fused
torch.set_num_threads(2)
options = {{"lengths": torch.arange(64) % 41}} if {call!r} in ("lengths", "training") else {{}}
case = make("GRU", torch.float32, T=40, B=64, I=33, H=32, D=1 + ({call!r} == "bidirectional"), **options)
if {call!r} == "strided":
    case.x, case.dy = (t.mT.contiguous().mT for t in (case.x, case.dy))
run = case.run if {call!r} != "lengths" else lambda: case.forward()[0]
want = run()
torch.zeros(1 << 20).add_(1)  # torch's threads are there
child = os.fork()
if child == 0:
    signal.alarm(60)
    got = run()
    os._exit(17 if all(w is None or np.array_equal(got[n].numpy(), w.numpy()) for n, w in want.items()) else 18)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert python(code, OMP_NUM_THREADS="2") == ["17"]


def test_call_from_a_thread_that_ends_leaves_the_pool_working(python):
    code = """
torch.set_num_threads(3)
want = call()
for _ in range(3):
    with ThreadPoolExecutor(1) as short_lived:
        assert_same_bits(short_lived.submit(call).result(), want)
assert_same_bits(call(), want)
print("same")
"""
    assert python(code) == ["same"]


@pytest.mark.parametrize("limit", ["1", "2"])
def test_team_smaller_than_asked_for_gives_the_same_bits(python, limit):
    """OpenMP may give fewer threads than are wanted."""
    code = """
for sizes in ({"B": 9, "H": 147}, {"B": 29, "H": 47}, {"B": 3, "H": 109, "D": 2}):
    for kind in KINDS:
        case = make(kind, torch.float32, T=23, I=37, **sizes)
        torch.set_num_threads(1)
        want = case.run()
        torch.set_num_threads(3)
        for _ in range(3):
            assert_same_bits(case.run(), want)
print("same")
"""
    assert python(code, OMP_THREAD_LIMIT=limit) == ["same"]


@needs_proc
@pytest.mark.whole_process
def test_cases_are_worth_several_threads(python):
    """A call that is too small runs on one thread, and a test of threads on such a call would test nothing."""
    code = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
for sizes in [*DIVISIONS.values(), WITH_OPTIONS]:
    for kind in KINDS:
        call = make(kind, torch.float32, **sizes).run
        child = os.fork()  # a child begins without threads
        if child == 0:
            os._exit(new_threads(3))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert python(code) == ["2"] * (len(DIVISIONS) + 1) * len(KINDS)
