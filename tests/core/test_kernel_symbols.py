"""No unit of the kernels shares a function with another: each is compiled for processors of its own."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def weak_symbols(obj):
    """What a linker may take from this object in place of another unit's copy: weak functions and vague constants."""
    listing = subprocess.run(["nm", "-C", str(obj)], capture_output=True, text=True, check=True).stdout
    weak = [line for line in listing.splitlines() if re.match(r"[0-9a-f]+ [WVu] ", line)]
    return [line for line in weak if "DW.ref." not in line]  # a pointer for unwinding: data, the same everywhere


def compile_unit(source, obj):
    flags = ["-std=gnu++20", "-O1", "-ffp-contract=off", "-fvisibility=hidden", "-fvisibility-inlines-hidden", "-w"]
    subprocess.run(["g++", *flags, "-c", str(source), "-o", str(obj)], check=True, timeout=300)


needs_tools = pytest.mark.skipif(not (shutil.which("nm") and shutil.which("g++")), reason="needs g++ and nm")


@needs_tools
def test_kernel_units_export_no_symbol_that_another_unit_may_share(tmp_path):
    """A weak copy of an inline function, compiled for AVX-512, may be the one that an older processor runs."""
    objects = sorted((ROOT / "build").glob("*/CMakeFiles/unrolled_core.dir/csrc/target_*.o"))
    if not objects:
        objects = [tmp_path / "target_baseline.o"]
        compile_unit(ROOT / "csrc" / "target_baseline.cpp", objects[0])
    assert {obj.name: weak_symbols(obj) for obj in objects} == {obj.name: [] for obj in objects}


@needs_tools
def test_weak_symbol_is_seen(tmp_path):
    source = tmp_path / "planted.cpp"
    source.write_text("template <class T> T twice(T x) { return x + x; }\nint (*keep)(int) = twice<int>;\n")
    compile_unit(source, tmp_path / "planted.o")
    assert weak_symbols(tmp_path / "planted.o")
