"""Denormal numbers are flushed inside the kernels, on every thread, and the caller's own mode is not touched."""

import ctypes
import platform

import numpy as np
import pytest
import torch

from tests.core.cases import KINDS, assert_same_bits, make

TINY = 1e-40  # a denormal float32
SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)


def mxcsr():
    """The control and status register of x86's vector unit, as the C library saves it."""
    environment = (ctypes.c_uint32 * 8)()  # seven words of the x87 unit, then MXCSR
    ctypes.CDLL(None).fegetenv(ctypes.byref(environment))
    return environment[7]


def flushes_here():
    """Whether this thread flushes denormals now."""
    return bool((torch.tensor([TINY]) * 1 == 0).all())


def inputs(case):
    """The tensors of numbers that a case reads."""
    return [t for t in (case.x, case.h0, case.c0, case.dy, case.dh_n, case.dc_n) if t is not None]


@pytest.fixture
def flushing_caller():
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormals")
    yield
    torch.set_flush_denormal(False)


@pytest.mark.parametrize("kind", KINDS)
def test_mode_of_the_caller_is_restored(instruction_set, kind):
    assert not flushes_here()
    make(kind, torch.float32).run()
    assert not flushes_here()


def test_mode_of_a_caller_that_flushes_is_restored(instruction_set, flushing_caller):
    make("LSTM", torch.float32).run()
    assert flushes_here()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="MXCSR is a register of x86")
def test_whole_control_register_is_restored(instruction_set):
    case = make("LSTM", torch.float32)
    case.run()
    before = mxcsr()
    case.run()
    assert mxcsr() == before


@pytest.mark.parametrize("kind", KINDS)
def test_denormal_numbers_count_as_zero(instruction_set, kind):
    case = make(kind, torch.float32)
    for t in inputs(case):
        t.flatten()[::3] = 0
    want = case.run()
    for t in inputs(case):
        t.flatten()[::3] = TINY
    assert_same_bits(case.run(), want)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_no_denormal_comes_out(instruction_set, kind, threads):
    """Gradients that start at the edge of the normal numbers shrink step by step, on whichever thread."""
    torch.set_num_threads(threads)
    case = make(kind, torch.float32, T=40, B=29, I=27, H=47)
    for t in (case.dy, case.dh_n, case.dc_n):
        if t is not None:
            t *= 30 * SMALLEST_NORMAL
    for name, t in case.run().items():
        if t is not None:
            assert not ((t != 0) & (t.abs() < SMALLEST_NORMAL)).any(), name
    assert not flushes_here()


def test_flushes_here_can_tell(flushing_caller):
    assert flushes_here()
    torch.set_flush_denormal(False)
    assert not flushes_here()
