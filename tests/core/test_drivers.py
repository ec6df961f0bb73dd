"""The programs that use the core without Python compile with the headers as they are."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DRIVERS = sorted([*ROOT.glob("bench/*.cpp"), *ROOT.glob("tests/core/*.cpp")])


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to compile with")
@pytest.mark.parametrize("driver", DRIVERS, ids=lambda path: path.name)
def test_driver_compiles(driver):
    command = ["g++", "-std=gnu++20", "-fsyntax-only", "-w", driver]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
