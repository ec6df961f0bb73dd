import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import skipped

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("reasons", "said"),
    [
        ([], ""),
        (["no aarch64-linux-gnu-g++ to compile the ARM kernels with"], "an ARM compiler (1: apt install g++-aarch64"),
        (["the ARM kernels compile; there is no qemu-aarch64 to run them"], "an ARM emulator (1: apt install qemu-"),
        (["Skipped: the extra [plot] is not installed"] * 3, "an extra (3: pip install"),
        (["only on Mondays"], "other reasons (1)"),
    ],
)
def test_line_names_what_is_missing_and_the_command_that_brings_it(reasons, said):
    assert said in skipped.line(reasons)


def test_every_package_that_a_remedy_names_is_installed_by_the_merge_check():
    installs = (ROOT / ".ci" / "run").read_text()
    for _, _, command in skipped.REMEDIES:
        for package in re.findall(r"(?:chromium\S*|qemu\S+|g\+\+-aarch64\S+)", command):
            assert package in installs


def test_run_of_tests_ends_with_what_was_skipped(tmp_path):
    (tmp_path / "test_it.py").write_text("import pytest\ndef test_x(): pytest.skip('no CUDA device')")
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-c", "pyproject.toml"]
    ran = subprocess.run([*command, tmp_path], cwd=ROOT, capture_output=True, text=True)
    *_, count, said = ran.stdout.strip().splitlines()
    assert said == "skipped for want of a GPU (1)"
    assert "1 skipped" in count
