"""The core compiled and linked for macOS, by a compiler that carries that system's headers: nothing of it runs here."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CSRC = ROOT / "csrc"
COMPILER = [sys.executable, "-m", "ziglang", "c++", "-target", "aarch64-macos.11.0"]
FLAGS = ["-std=gnu++20", "-O0", "-fno-sanitize=all", "-I", ROOT / "src/unrolled/include"]
UNITS = [
    "threads",
    "quota",
    "division",
    "dispatch",
    "workspace",
    "sampler",
    "c_interface",
    "saved_network",
    "json",
    "sha256",
]
#: Units that have flags of their own: the instruction sets, and what chooses among them.
SETS = [f"-DUNROLLED_HAS_{isa}" for isa in ("NEON_BF16", "NEON", "BASELINE")]
OWN = {
    "target_neon_bf16": ["-mcpu=apple_m2"],
    "target_neon": [],
    "target_baseline": [],
    "kernel_set": SETS,
    "instruction_sets": SETS,
}


@pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="needs ziglang: make macos")
def test_c_library_compiles_and_links_for_macos(tmp_path):
    for unit, own in ({unit: [] for unit in UNITS} | OWN).items():
        run([*COMPILER, *FLAGS, *own, "-c", CSRC / f"{unit}.cpp", "-o", tmp_path / f"{unit}.o"])
    library = tmp_path / "libunrolled.dylib"
    run([*COMPILER, "-shared", *tmp_path.glob("*.o"), "-o", library])
    assert library.read_bytes()[:4] == b"\xcf\xfa\xed\xfe"  # as libraries of macOS begin


def run(command):
    caches = dict.fromkeys(("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"), str(ROOT / "build" / "zig"))
    done = subprocess.run(command, env=os.environ | caches, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
