"""The ARM kernels, cross-compiled and run under an emulator, because few machines that run these tests are ARM."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.core.cases import DTYPES, KINDS, assert_computes_the_equations, make
from unrolled.core.fields import Weights
from unrolled.notation import CELLS, gate_count

HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "csrc"
TARGETS, CHOICE = ["target_neon", "target_neon_bf16", "target_baseline"], ["instruction_sets", "kernel_set"]
UNITS = [*TARGETS, *CHOICE, "dispatch", "division", "quota", "threads", "workspace"]

compiler = shutil.which("aarch64-linux-gnu-g++")
emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")


def build(program):
    flags = ["-std=gnu++20", "-O0", "-ffp-contract=off"]  # compiles in a third of the time; the sums are the same
    objects = []
    for source in (HERE / "driver.cpp", *(CSRC / f"{unit}.cpp" for unit in UNITS)):
        name = source.stem.removeprefix("target_")
        own = ["-march=armv8.2-a+bf16+dotprod"] if name == "neon_bf16" else []
        own += [f"-DUNROLLED_HAS_{isa}" for isa in ("NEON_BF16", "NEON", "BASELINE") if name in CHOICE]
        objects.append(program.with_name(f"{name}.o"))
        run([compiler, *flags, *own, "-c", source, "-o", objects[-1]])
    run([compiler, "-static", *objects, "-o", program])


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


def run_driver(program, folder, name, threads, case):
    """The results of a case of one direction, by name, as the driver computes them."""
    T, B, I = case.x.shape
    H, P = case.weights[0][1].shape[0] // gate_count(case.kind), case.weights[0][1].shape[1]
    arrays = [*case.weights[0], case.x, case.h0, case.c0, case.dy, case.dh_n, case.dc_n]
    given, found = folder / "case", folder / "result"
    header = np.array([case.x.element_size(), threads, CELLS[case.kind].number, T, B, I, H, P], np.int64)
    given.write_bytes(
        header.tobytes() + b"".join(a.view(torch.uint8).numpy().tobytes() for a in arrays if a is not None)
    )
    run([emulator, "-cpu", "max", program, name, given, found])
    numbers, results = torch.from_numpy(np.fromfile(found, np.uint8)).view(case.x.dtype), {}
    W = Weights(*case.weights[0])._asdict()
    shapes = {"y": case.dy, "h_n": case.h0, "c_n": case.c0, "dx": case.x, "dh0": case.h0, "dc0": case.c0}
    shapes |= {"dh_reset": None, "dc_reset": None}
    for result, like in {**shapes, **{f"d{n} 0": w for n, w in W.items()}}.items():
        count = 0 if like is None else like.numel()
        results[result] = None if like is None else numbers[:count].reshape(like.shape)
        numbers = numbers[count:]
    assert not len(numbers)
    return results


@pytest.mark.skipif(compiler is None, reason="no aarch64-linux-gnu-g++ to compile the ARM kernels with")
def test_neon_kernels_compile_and_compute_the_equations(tmp_path):
    program = tmp_path / "driver"
    build(program)
    if emulator is None:
        pytest.skip("the ARM kernels compile; there is no qemu-aarch64 to run them")
    for kind in KINDS:
        for dtype in DTYPES:
            case = make(kind, dtype, T=5, B=9, I=7, H=33)
            for name, threads in (("neon_bf16", 3), ("neon", 1), ("neon", 3), ("baseline", 1)):
                assert_computes_the_equations(case, run_driver(program, tmp_path, name, threads, case))
