"""What can happen to files: damage, a disk that refuses, and a crash before every system call."""

import os
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from unrolled.saved.atomic_files import CheckpointError

ROOT = Path(__file__).parents[2]
TENSORS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "rng": np.arange(5, dtype=np.uint8), "n": np.array(7)}
DAMAGES = ("empty", "truncated", "flipped", "foreign", "missing")


def contents(folder):
    """Every file below a folder and what is in it."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def assert_same(got, expected):
    assert set(got) == set(expected)
    for name, array in expected.items():
        assert got[name].dtype == array.dtype
        np.testing.assert_array_equal(got[name], array, strict=True)


def run(code, *args):
    """Run Python code in a process of its own."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


@contextmanager
def small_disk(folder, size):
    """Mount a disk of this many bytes at a folder; yield a function that gives it another size.

    Skips the test, with the reason, where this machine does not let us.
    """

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    folder.mkdir()
    done = mount(f"size={size}")
    if done.returncode:
        pytest.skip(f"needs the right to mount a disk: {done.stderr.strip()}")
    try:
        yield lambda size: mount(f"remount,size={size}").check_returncode()
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # what is mapped keeps it busy


def damage(path, how):
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "flipped":
        path.write_bytes(data[:-3] + bytes([data[-3] ^ 0x80]) + data[-2:])
    else:
        path.write_bytes({"empty": b"", "truncated": data[: len(data) // 2], "foreign": b"\x80\x04K\x01."}[how])


def refused_when_damaged(path, how, load):
    """Damage a file; loading must name it in one line."""
    damage(path, how)
    with pytest.raises(CheckpointError) as caught:
        load()
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


def refused_at_every_flipped_byte(path, load):
    data = path.read_bytes()
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(CheckpointError, match=path.name):
            load()
    path.write_bytes(data)
    load()


def unchanged_when_refused(folder, call, number, save):
    """Make a system call fail with an error number; saving must say so and change nothing."""

    def refuse(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    before = contents(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, call, refuse)
        with pytest.raises(CheckpointError, match=f"cannot write: {os.strerror(number)}; ") as caught:
            save()
    assert str(folder) in str(caught.value)
    assert contents(folder) == before


def crash_before_every_call(folder, save, check):
    """End a process without a word before the k-th call of save(run, 2) that changes the disk, for every k.

    Afterwards check(run) must hold, for a run that save(run, 1) made.  Returns the number of crashes.
    """
    k = 0
    while True:
        run = Path(folder) / str(k)
        save(run, 1)
        child = os.fork()
        if child == 0:
            _exit_before_call(k)
            save(run, 2)
            os._exit(0)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        check(run)
        if ended == 0:
            return k
        k += 1


def _exit_before_call(k):
    left = [k]

    def counted(call):
        def wrapped(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0:
                os._exit(7)
            return call(*args, **kwargs)

        return wrapped

    for name in ("mkdir", "fsync", "rename", "replace", "unlink", "rmdir"):
        setattr(os, name, counted(getattr(os, name)))
