"""Every instruction set of the build: the one asked for is the one that runs, and each computes the equations."""

import os
import platform
import subprocess
import sys

import pytest
import torch

from tests.core.cases import DTYPES, KINDS, assert_computes_the_equations, from_equations, make
from tests.nn.compare import assert_all_close
from unrolled import _core

#: T, B, I, H: odd, and on both sides of every vector width (16, 8, 4 and 2) and panel width.
SIZES = [(1, 1, 1, 1), (2, 3, 5, 7), (7, 1, 16, 9), (5, 6, 17, 16), (3, 8, 2, 33), (4, 13, 31, 65)]


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )


def test_forced_set_is_the_one_that_runs(instruction_set):
    assert _core.active_instruction_set() == instruction_set


@pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64", "bf16"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", ["plain", "one direction", "ragged with resets", "resets to a state", "one-hot"])
def test_layer_computes_the_equations(instruction_set, kind, dtype, options):
    for T, B, I, H in SIZES:
        if "projected" in kind and H == 1:
            continue
        layout = {}
        if "resets" in options:
            generator = torch.Generator().manual_seed(T * B)
            layout["lengths"] = torch.randint(T + 1, (B,), generator=generator)
            layout["reset"] = torch.rand(T, B, generator=generator) < 0.3
        D = 1 if options == "one direction" else 2
        more = {"one_hot": options == "one-hot", "reset_state": options == "resets to a state"}
        case = make(kind, dtype, T=T, B=B, I=I, H=H, D=D, **more, **layout)
        assert_computes_the_equations(case, case.run())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "RNN_RELU"])
def test_sums_over_many_rows_and_units_are_those_of_the_equations(instruction_set, kind, dtype):
    """Three blocks of rows, and units of which some are packed side by side (csrc/row-sums-inl.h) and some are left."""
    case = make(kind, dtype, T=36, B=17, I=35, H=101)
    assert_computes_the_equations(case, case.run())


@pytest.mark.parametrize("kind", KINDS)
def test_instruction_sets_agree_within_the_tolerance(kind):
    """Sums are grouped alike everywhere, but only some sets round a product before it is added."""
    case, before, results = make(kind, torch.float32, T=9, B=6, H=33), _core.active_instruction_set(), {}
    for name in _core.instruction_sets():
        _core.force_instruction_set(name)
        results[name] = case.run()
    _core.force_instruction_set(before)
    first, *others = results.values()
    for other in others:
        assert_all_close(other, first)


def test_best_set_of_the_machine_is_the_default():
    found = python("from unrolled import _core; print(_core.active_instruction_set())", UNROLLED_ISA="baseline")
    assert found.stdout.strip() == "baseline", found.stderr
    environment = {name: value for name, value in os.environ.items() if name != "UNROLLED_ISA"}
    code = "from unrolled import _core; print(_core.active_instruction_set(), _core.instruction_sets()[0])"
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    active, best = found.stdout.split()
    assert active == best


@pytest.mark.parametrize("wanted", ["mmx", "AVX2", "neon" if platform.machine() == "x86_64" else "avx2"])
def test_unknown_or_absent_set_is_an_error_that_names_the_legal_ones(wanted):
    legal = ", ".join(_core.instruction_sets())
    call = "import torch, unrolled.nn; unrolled.nn.GRU(3, 5)(torch.zeros(2, 1, 3))"
    for code in ("from unrolled import _core; _core.active_instruction_set()", call):
        failed = python(code, UNROLLED_ISA=wanted)
        assert failed.returncode == 1
        said = f"ValueError: UNROLLED_ISA: no instruction set '{wanted}' on this machine; the legal names are {legal}"
        assert failed.stderr.strip().splitlines()[-1] == said


def test_forcing_an_unknown_set_changes_nothing():
    before = _core.active_instruction_set()
    with pytest.raises(ValueError, match=f"'sse9'.*legal names are.*{before}"):
        _core.force_instruction_set("sse9")
    assert _core.active_instruction_set() == before


def test_comparison_sees_a_planted_fault():
    case = make("GRU", torch.float64)
    got = case.run()
    got["dW_hh 0"][4, 2] += 1e-10
    with pytest.raises(AssertionError, match=r"dW_hh 0\[4, 2\].*off by"):
        assert_all_close(got, from_equations(case))
