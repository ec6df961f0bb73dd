"""One version beside another: each process times the version that it was started for."""

import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import against
import pytest

from unrolled import _core


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """The sources of a checkout that is this one's copy, with its core."""
    sources = tmp_path_factory.mktemp("before") / "src"
    compiled = ["_core*", "libunrolled*"]
    shutil.copytree(against.ROOT / "src", sources, ignore=shutil.ignore_patterns("__pycache__", *compiled))
    for file in itertools.chain(*map(Path(_core.__file__).parent.glob, compiled)):
        shutil.copy(file, sources / "unrolled")
    return sources


def test_a_process_times_the_version_of_its_folder(copied):
    worker = against.Worker(copied, threads=1)
    try:
        assert "GRUCell H 8" in worker.names
        assert worker.count("GRUCell H 8") > 1
        assert worker.seconds("GRUCell H 8", 5) > 0
    finally:
        worker.stop()


def test_a_process_that_imports_another_version_is_refused(copied, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(copied)
    with pytest.raises(RuntimeError, match=r"came from .*__init__.py; expected it from"):
        against.Worker(tmp_path, threads=1)


def test_what_is_no_version_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="nor a commit of this repository"):
        against.sources_of("no-such-thing")
    (tmp_path / "src" / "unrolled").mkdir(parents=True)
    with pytest.raises(SystemExit, match="its core is not in src/unrolled"):
        against.sources_of(str(tmp_path))


def test_a_ratio_is_the_median_over_rounds_not_of_the_medians():
    assert against.median_ratio([1, 2, 30], [2, 2, 10]) == 1


def test_the_table_has_the_calls_that_were_asked_for(copied):
    words = [sys.executable, "bench/against.py", str(copied.parent), "--threads", "1", "--starts", "1", "--rounds", "1"]
    done = subprocess.run([*words, "--only", "Cell H 8"], cwd=against.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ")[0] for line in done.stdout.splitlines()]
    assert rows == ["| call", "|---|--:|--:|--:|--:|---|", "| LSTMCell H 8", "| GRUCell H 8", "| RNNCell H 8", rows[-1]]
    assert rows[-1] == "| **geometric mean** of 3"
