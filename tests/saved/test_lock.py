"""One writer in a folder: the second is told of the first, and a writer that was killed keeps nobody out."""

import errno
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.saved.disk import ROOT
from unrolled.saved.atomic_files import CheckpointError
from unrolled.saved.lock import only_writer

HOLD = """
import sys
from unrolled.saved.lock import only_writer
with only_writer(sys.argv[1]):
    print("holding", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_writer(folder):
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"holding\n"
        yield process


def test_link_in_the_place_of_the_lock_is_refused_and_what_it_names_unchanged(tmp_path):
    (tmp_path / "target").write_text("kept")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.lock").symlink_to(tmp_path / "target")
    with pytest.raises(CheckpointError, match=r"run/run\.lock: is a link, expected a file; remove it"):
        only_writer(tmp_path / "run").__enter__()
    assert (tmp_path / "target").read_text() == "kept"


def test_second_writer_is_told_process_and_host_of_the_first(tmp_path):
    with another_writer(tmp_path) as first:
        told = rf"{tmp_path}: pid {first.pid} on {re.escape(socket.gethostname())} is writing to this folder"
        with pytest.raises(CheckpointError, match=told), only_writer(tmp_path):
            pass
        assert [path.name for path in tmp_path.iterdir()] == ["run.lock"]
    with only_writer(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_second_writer_of_the_same_process_is_refused_too(tmp_path):
    with only_writer(tmp_path):
        with pytest.raises(CheckpointError, match=f"pid {os.getpid()} on"), only_writer(tmp_path):
            pass
        with pytest.raises(CheckpointError), only_writer(tmp_path):
            pass


def test_writer_that_was_killed_keeps_nobody_out(tmp_path):
    with another_writer(tmp_path) as first:
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert (tmp_path / "run.lock").exists()
        with only_writer(tmp_path):
            pass


def test_writer_on_another_host_that_did_not_end_in_order_is_named(tmp_path):
    (tmp_path / "run.lock").write_text("pid 7 on elsewhere\n")
    with pytest.warns(UserWarning, match="pid 7 on elsewhere wrote to this folder and did not"), only_writer(tmp_path):
        assert (tmp_path / "run.lock").read_text() == f"pid {os.getpid()} on {socket.gethostname()}\n"


def test_lock_file_of_something_else_is_not_repeated(tmp_path):
    (tmp_path / "run.lock").write_bytes(b"pid \x1b[31m\xff on a\n")
    with only_writer(tmp_path):
        pass


def test_file_system_without_locks_is_said_and_written_to(tmp_path, monkeypatch):
    def none_here(file, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none_here)
    unnoticed = pytest.warns(UserWarning, match="has no locks, so a second writer goes unnoticed")
    named = pytest.warns(UserWarning, match=f"pid {os.getpid()} on")
    with unnoticed, only_writer(tmp_path), named, only_writer(tmp_path):
        pass


def test_folder_is_made_only_where_that_was_asked_for(tmp_path):
    with pytest.raises(CheckpointError, match="none: no such folder"), only_writer(tmp_path / "none", create=False):
        pass
    with only_writer(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="cannot write: File exists"), only_writer(tmp_path / "file"):
        pass


def test_folder_that_is_deleted_and_made_again_keeps_the_lock_of_its_new_writer(tmp_path):
    with only_writer(tmp_path):
        (tmp_path / "run.lock").rename(tmp_path / "old")
        with another_writer(tmp_path):
            pass
        (tmp_path / "run.lock").write_text("pid 7 on elsewhere\n")
    assert (tmp_path / "run.lock").exists()


def test_only_one_of_many_writers_is_in_the_folder_at_a_time(tmp_path):
    code = """
        import os, sys
        from unrolled.saved.atomic_files import CheckpointError
        from unrolled.saved.lock import only_writer
        entered = 0
        while entered < 50:
            try:
                with only_writer(sys.argv[1]):
                    os.mkdir(sys.argv[1] + "/inside")  # fails if another is inside
                    os.rmdir(sys.argv[1] + "/inside")
                    entered += 1
            except CheckpointError:
                pass
    """
    command = [sys.executable, "-c", "\n".join(line[8:] for line in code.splitlines()), str(tmp_path)]
    processes = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) for _ in range(3)]
    for process in processes:
        assert process.communicate()[1] == b""
        assert process.returncode == 0
