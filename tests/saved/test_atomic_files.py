"""Atomic files: a file is there whole or as it was before, and errors name the file."""

import errno
import json
import os
import stat
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
import safetensors.numpy

from tests.saved.disk import contents, unchanged_when_refused
from unrolled.saved import atomic_files
from unrolled.saved.atomic_files import CheckpointError


def test_packed_arrays_have_the_bytes_of_the_library_that_reads_them():
    random, arrays = np.random.default_rng(0), {}
    kinds = ["u8", "i8", "f8", "c8", "f4", "u4", "i4", "f2", "u2", "i2", "i1", "u1", "b1"]
    for number, kind in enumerate(kinds):
        for name in ("b", "a", "\u00e9", 'say "\\"'):
            arrays[f"{name} {kind}"] = random.integers(0, 2, (number % 3, 2)).astype(kind)
    arrays |= {"one": np.array(1.5), "turned": np.arange(6.0).reshape(2, 3).T, "big": np.arange(3, dtype=">f4")}
    assert atomic_files.pack(arrays) == safetensors.numpy.save({name: each.copy() for name, each in arrays.items()})


def test_write_file_creates_its_folder_and_leaves_nothing_else(tmp_path):
    for data in (b"one", b"two"):
        atomic_files.write_file(tmp_path / "a" / "b" / "note", data)
        assert contents(tmp_path) == {"a/b/note": data}


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_write_file_leaves_the_file_as_it_was_when_the_disk_refuses(tmp_path, call, number):
    atomic_files.write_file(tmp_path / "note", b"one")
    unchanged_when_refused(tmp_path, call, number, lambda: atomic_files.write_file(tmp_path / "note", b"two"))


def test_write_file_syncs_the_data_before_the_rename_and_the_folder_after_it(tmp_path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace

    def watched_fsync(descriptor):
        calls.append("sync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync file")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", lambda *paths: calls.append("rename") or replace(*paths))
    atomic_files.write_file(tmp_path / "note", b"one")
    assert calls == ["sync file", "rename", "sync folder"]


def test_two_processes_that_write_one_file_write_one_after_the_other(tmp_path):
    write = "from unrolled.saved.atomic_files import write_file; [write_file('note', b'{0}' * {1}) for _ in range(100)]"
    sizes = {"a": 10_000, "b": 70}
    writers = [
        subprocess.Popen([sys.executable, "-c", write.format(letter, size)], cwd=tmp_path, stderr=subprocess.PIPE)
        for letter, size in sizes.items()
    ]
    whole = [letter.encode() * size for letter, size in sizes.items()]
    while any(writer.poll() is None for writer in writers):
        with suppress(FileNotFoundError):  # before the first
            assert (tmp_path / "note").read_bytes() in whole
    assert [writer.communicate()[1] for writer in writers] == [b"", b""]
    assert contents(tmp_path) in [{"note": each} for each in whole]


def test_to_json_refuses_what_json_cannot_hold():
    with pytest.raises(ValueError, match="not JSON compliant"):
        atomic_files.to_json({"best": float("inf")})
    assert json.loads(atomic_files.to_json({"name": "\u00e9"})) == {"name": "\u00e9"}


def test_read_file_names_what_is_missing(tmp_path):
    with pytest.raises(CheckpointError, match="none: the file is missing, so the run is incomplete"):
        atomic_files.read_file(tmp_path / "none")
    with pytest.raises(CheckpointError, match="cannot read: Is a directory"):
        atomic_files.read_file(tmp_path)


def test_files_are_read_without_pickle():
    assert "pickle" not in vars(atomic_files)


def test_write_file_follows_no_link_in_the_place_of_what_is_unfinished(tmp_path):
    (tmp_path / "target").write_text("kept")
    (tmp_path / ".a.json.unfinished").symlink_to(tmp_path / "target")
    with pytest.raises(CheckpointError, match="is a link, expected a file; remove it"):
        atomic_files.write_file(tmp_path / "a.json", b"new")
    assert (tmp_path / "target").read_text() == "kept"


def test_write_file_writes_through_a_link_a_pipe_and_a_device(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    atomic_files.write_file(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    atomic_files.write_file(tmp_path / "pipe", b"new")
    assert os.read(reader, 9) == b"new"
    os.close(reader)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert contents(tmp_path) == {"link": b"new", "target": b"new"}


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_file_that_is_replaced_stays_as_private_as_it_was(mode, tmp_path):
    """A text that only its owner could read was open to all after it had been written anew."""
    file = tmp_path / "diary.txt"
    file.write_bytes(b"old")
    file.chmod(mode)
    atomic_files.write_whole(file, b"new")
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"new", mode)


@pytest.mark.parametrize("length", [240, 241, 255])
def test_file_may_have_every_name_that_its_system_takes(length, tmp_path):
    """The name of the file that replaces it was longer, and with it too long."""
    file = tmp_path / ("n" * (length - 4) + ".txt")
    for data in (b"old", b"new"):
        atomic_files.write_whole(file, data)
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {file.name: b"new"}


def test_name_that_is_too_long_is_said_to_be(tmp_path):
    with pytest.raises(CheckpointError, match=r"File name too long; give it a shorter name$"):
        atomic_files.write_whole(tmp_path / ("n" * 256), b"")
