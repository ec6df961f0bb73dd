"""Threads: how many take part, what happens when they come late or never, who may call at once, what a fork leaves.

How a process counts its threads is settled once, so each test runs its code in a process of its own.
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

needs_two = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="with one processor there is one thread")
needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted through /proc")


def python(code, **environment):
    """Run code in a fresh process; return what it prints, in words."""
    inherited = {name: value for name, value in os.environ.items() if name != "UNROLLED_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE.format(folder=str(Path(__file__).parents[2])) + code],
        env={**inherited, **environment}, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@needs_proc
@pytest.mark.parametrize(("wanted", "others"), [(1, "0"), (4, "3")])
def test_torch_set_num_threads_is_obeyed(wanted, others):
    assert python(f"_core.rehearse(processors=8); print(new_threads({wanted}))") == [others]


@needs_proc
@pytest.mark.parametrize(("wanted", "others"), [("1", "0"), ("3", "2")])
def test_unrolled_num_threads_goes_before_torch_set_num_threads(wanted, others):
    code = "_core.rehearse(processors=8); print(_core.default_threads(), new_threads(4))"
    assert python(code, UNROLLED_NUM_THREADS=wanted) == [wanted, others]


@needs_proc
@pytest.mark.parametrize("wanted", ["16", "4095"])
def test_there_are_never_more_threads_than_processors(wanted):
    code = "_core.rehearse(processors=2); print(new_threads(16))"
    assert python(code, UNROLLED_NUM_THREADS=wanted, OMP_NUM_THREADS="1000") == ["1"]


@needs_proc
def test_threads_default_to_the_processors_of_the_process():
    assert python("os.sched_setaffinity(0, [*os.sched_getaffinity(0)][:1]); print(_core.default_threads())") == ["1"]


@needs_proc
@needs_two
def test_affinity_that_changes_while_the_process_runs_is_obeyed():
    code = """
torch.set_num_threads(4)
all_of_them = os.sched_getaffinity(0)
os.sched_setaffinity(0, [*all_of_them][:1])
print(new_threads(4), _core.processors())
os.sched_setaffinity(0, all_of_them)
print(_core.processors() == min(64, len(all_of_them)))
"""
    assert python(code) == ["0", "1", "True"]


@pytest.mark.parametrize("delay", [0, 200, -1])
@pytest.mark.parametrize("members", [2, 3, 8])
def test_threads_that_come_late_or_never_change_no_bit(members, delay):
    """On the core's own threads and on OpenMP's in turn, so that some still come from the call before."""
    code = f"""
for sizes in [*DIVISIONS.values(), WITH_OPTIONS]:
    for kind in KINDS:
        case = make(kind, torch.float32, **sizes)
        torch.set_num_threads(1)
        want = case.run()
        torch.set_num_threads({members})
        for how in ({{"awaited": True}}, {{"openmp": True}}, {{}}, {{"openmp": True}}):
            _core.rehearse(processors={members}, delay={delay}, **how)
            assert_same_bits(case.run(), want)
print("same", _core.items_helped() == 0)
"""
    same, nobody_helped = python(code)
    assert same == "same"
    assert nobody_helped == "True" or delay >= 0


@needs_proc
def test_openmp_threads_share_a_call():
    """The call is longer than a turn of the scheduler, so that a thread gets a processor before the work is done."""
    code = """
torch.set_num_threads(3)
torch.mm(torch.ones(512, 512), torch.ones(512, 512))  # OpenMP's threads are there
call = make("LSTM", torch.float32, T=200, B=29, I=200, H=150).run
_core.rehearse(processors=3, openmp=True)
before, want = threads(), call()
for _ in range(2000):
    assert_same_bits(call(), want)
    if _core.items_helped():
        break
print(threads() - before, _core.items_helped() > 0)
"""
    assert python(code) == ["0", "True"]


@needs_two
def test_own_threads_that_are_still_awake_take_no_place_of_openmps():
    """Two members of one number would write to one buffer: the items are long enough for both to be inside."""
    code = """
torch.set_num_threads(3)
before, large = (make("LSTM", torch.float32, T=24, B=29, I=I, H=H) for I, H in ((60, 50), (200, 150)))
_core.rehearse(processors=1)
want = large.run()
for k in range(90):
    _core.rehearse(processors=3, awaited=True)
    before.run()
    _core.rehearse(processors=3, openmp=True, delay=50 * (k % 3))
    assert_same_bits(large.run(), want)
print("same")
"""
    assert python(code) == ["same"]


@needs_two
def test_calls_between_operations_of_torch_and_pauses_keep_their_bits():
    code = """
import time
torch.set_num_threads(2)
a, want = torch.randn(256, 256), call()
for k in range(300):
    if k % 3:
        torch.mm(a, a)  # after it OpenMP's threads spin
    if k % 20 == 0:
        time.sleep(0.02)  # now all sleep
    assert_same_bits(call(), want)
print("same", _core.items_helped() > 0)
"""
    assert python(code) == ["same", "True"]


def test_every_case_is_shared_with_other_threads():
    """A call that is too small runs on one thread, and a test of threads on such a call would test nothing."""
    code = """
torch.set_num_threads(3)
_core.rehearse(processors=3, awaited=True)
for sizes in [*DIVISIONS.values(), WITH_OPTIONS]:
    for kind in KINDS:
        case = make(kind, torch.float32, **sizes)
        before = _core.items_helped()
        for _ in range(2000):
            case.run()
            if _core.items_helped() > before:
                break
        print(_core.items_helped() > before)
"""
    assert python(code) == ["True"] * (len(DIVISIONS) + 1) * len(KINDS)


def test_thread_stays_awake_until_the_call_that_it_may_share_is_over():
    """A call rings once: a thread that slept while large weights are packed would miss all steps."""
    code = """
import time
torch.set_num_threads(2)
_core.rehearse(processors=2, delay=-1)
case = make("LSTM", torch.float32, T=200, B=64, I=256, H=256)
with ThreadPoolExecutor(1) as caller:
    running, awake = caller.submit(case.forward), []
    while not running.done():
        time.sleep(0.001)
        awake.append(_core.threads_awake())
print(2 * awake.count(2) > len(awake))
"""
    assert python(code) == ["True"]


def test_many_python_threads_call_at_once_and_get_their_own_bits():
    code = """
torch.set_num_threads(3)
_core.rehearse(processors=3)
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
def test_call_works_in_a_forked_child_and_still_in_its_parent():
    code = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any fork with threads
torch.set_num_threads(3)
_core.rehearse(processors=3, awaited=True)
want = call()
child = os.fork()
if child == 0:
    before = threads(), _core.items_helped()
    assert_same_bits(call(), want)
    os._exit(17 if before == (1, 0) and threads() == 3 else 18)
_, status = os.waitpid(child, 0)
assert_same_bits(call(), want)
print(os.waitstatus_to_exitcode(status))
"""
    assert python(code) == ["17"]


@pytest.mark.whole_process
@pytest.mark.parametrize("call", ["lengths", "training", "bidirectional", "strided"])
def test_call_in_a_forked_child_waits_for_no_thread_of_torch(call):
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


def test_call_from_a_thread_that_ends_leaves_the_others_working():
    code = """
torch.set_num_threads(3)
_core.rehearse(processors=3, awaited=True)
want = call()
for _ in range(3):
    with ThreadPoolExecutor(1) as short_lived:
        assert_same_bits(short_lived.submit(call).result(), want)
assert_same_bits(call(), want)
print("same")
"""
    assert python(code) == ["same"]


def test_process_without_room_for_a_thread_computes_alone():
    code = """
import resource
torch.set_num_threads(1)
want = call()
_core.rehearse(processors=3)
torch.set_num_threads(3)
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
if os.getuid() == 0:
    os.setuid(65534)  # the limit does not hold for root
assert_same_bits(call(), want)
print(threads())
"""
    assert python(code, OMP_NUM_THREADS="1") == ["1"]
