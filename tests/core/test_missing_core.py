"""A package without its compiled core: one sentence that says what to do, wherever a user meets it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import unrolled

SAID = "the compiled core of unrolled cannot be imported"
REMEDY = "build it with `pip install .` in a checkout, which needs a C++20 compiler, or with `make`"


@pytest.fixture(scope="module")
def without_core(tmp_path_factory):
    """Run code on a copy of the package that has no core; without `site`, whose hooks would find the real one."""
    folder = tmp_path_factory.mktemp("package")
    package = Path(unrolled.__file__).parent
    shutil.copytree(package, folder / "unrolled", ignore=shutil.ignore_patterns("_core.*", "__pycache__"))

    def run(code):
        path = [str(folder), *sys.path]
        whole = f"import sys; sys.path[:] = {path!r}; sys.argv[0] = 'unrolled'; {code}"
        return subprocess.run([sys.executable, "-S", "-c", whole], capture_output=True, text=True, timeout=120)

    return run


@pytest.mark.parametrize("module", ["unrolled.nn", "unrolled.runtime"])
def test_import_says_that_the_core_is_missing_and_what_to_do(without_core, module):
    done = without_core(f"import {module}")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"unrolled.core.CoreMissing: {SAID} (")
    assert last.endswith(REMEDY)


@pytest.mark.parametrize("arguments", [["generate", "model"], ["train", "text", "--out", "run"]])
def test_command_line_says_so_in_one_line(without_core, arguments, tmp_path):
    (tmp_path / "text").write_text("ab" * 100)
    arguments = [str(tmp_path / a) if a in ("text", "run") else a for a in arguments]
    done = without_core(f"from unrolled.cli import run; sys.exit(run({arguments!r}))")
    assert done.returncode == 1
    assert done.stderr.startswith(f"unrolled: {SAID} (")
    assert done.stderr.count("\n") == 1


def test_info_says_so_too(without_core):
    done = without_core("from unrolled.cli import run; sys.exit(run(['info']))")
    assert done.returncode == 0
    assert SAID in " ".join(done.stdout.split())


def test_core_of_another_version_is_refused_when_it_is_imported():
    code = """
from unrolled import _core
older = {**_core.tuple_fields(), "Weights": ("W_ih", "W_hh")}
_core.tuple_fields = lambda: older
import unrolled.nn
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    last = done.stderr.strip().splitlines()[-1]
    assert "CoreMissing: the compiled core has the fields (W_ih, W_hh) of Weights, this code (W_ih, W_hh, b_ih" in last
    assert last.endswith("build the core again with `pip install -e .`")
