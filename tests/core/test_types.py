"""What is stored and what is computed with are two types: the kernels of bfloat16 beside those of float64."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "csrc"

#: Saved gates, every h_t and every da are rounded to 8 bits; an RNN of ReLUs carries the roundings furthest.
TOLERANCE = 0.1


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to compile the kernels with")
def test_bfloat16_rounds_only_what_is_stored(tmp_path):
    program = tmp_path / "types"
    watched = ["-fsanitize=alignment", "-fno-sanitize-recover"]  # a lane of two bfloat16 may lie at any of them
    flags = ["-std=gnu++20", "-ffp-contract=off", "-pthread", "-w", f"-I{CSRC}", *watched]
    sources = HERE / "types.cpp", *(CSRC / name for name in ("threads.cpp", "quota.cpp", "division.cpp"))
    command = ["g++", *flags, *map(str, sources), "-o", str(program)]
    subprocess.run(command, check=True, timeout=300)
    ran = subprocess.run([program], capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    rows = [line.split("\t") for line in ran.stdout.splitlines()]
    assert len({case for case, *_ in rows}) == 5 * 6 + 2
    assert [(case, name, error) for case, name, error, _ in rows if float(error) > TOLERANCE] == []
    steps = {(case, name): nearest == "1" for case, name, _, nearest in rows if "one step" in case}
    forward = {key: nearest for key, nearest in steps.items() if key[1] in ("y", "h_n", "c_n")}
    assert all(nearest for (case, _), nearest in forward.items() if "float32" not in case)
    assert not all(nearest for (case, _), nearest in forward.items() if "float32" in case)  # so it is seen
