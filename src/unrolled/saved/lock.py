"""The lock of a folder: one process writes to it at a time."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unrolled.saved.atomic_files import CheckpointError, in_place, open_own, writing

#: The file that is locked; it names the process and the host of the writer, and is there only while that writes.
LOCK = "run.lock"


@contextmanager
def only_writer(folder: str | Path, *, create: bool = True) -> Iterator[None]:
    """Be the only writer of a folder inside the block.

    The lock ends with the process, however that ends.  A warning names a writer on another host that did not end in
    order, or says that the file system has no locks.

    Args:
        folder: the folder.
        create: whether to make it if it is missing.

    Raises: CheckpointError naming the process and the host that write to it, or if it is missing or cannot be written.
    """
    folder = Path(folder)
    if not create and not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder; check the path")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = _acquire(folder)
    try:
        yield
    finally:
        _release(folder, file)


def _acquire(folder: Path) -> int:
    """Return the lock file, open, locked and signed."""
    while True:
        file = open_own(folder / LOCK, os.O_RDWR | os.O_CREAT)
        try:
            locked = _lock(folder, file)
        except BaseException:
            os.close(file)
            raise
        if not in_place(folder / LOCK, file):  # the writer before has just removed it
            os.close(file)
            continue
        try:
            _sign(folder, file, locked)
        except BaseException:
            _release(folder, file)
            raise
        return file


def _lock(folder: Path, file: int) -> bool:
    """Lock an open file; return False if its file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CheckpointError(
            f"{folder}: {_holder(file) or 'another process'} is writing to this folder; wait until it ends, or stop it"
        ) from None
    except OSError:
        return False
    return True


def _sign(folder: Path, file: int, locked: bool) -> None:
    """Write who holds the lock; warn of a writer before that may still be there."""
    before, host = _holder(file), socket.gethostname()
    if before and not (locked and before.endswith(f" on {host}")):
        warnings.warn(
            f"{folder}: {before} wrote to this folder and did not end in order; if it still runs, stop one of the two",
            stacklevel=5,
        )
    elif not locked:
        warnings.warn(
            f"{folder}: this file system has no locks, so a second writer goes unnoticed; start only one here",
            stacklevel=5,
        )
    os.ftruncate(file, 0)
    os.pwrite(file, f"pid {os.getpid()} on {host}\n".encode(), 0)


def _holder(file: int) -> str:
    """Return the process and host in a lock file; an empty text if it names none."""
    found = re.match(rb"pid \d+ on [\w.-]+$", os.pread(file, 300, 0), re.MULTILINE)
    return found.group().decode() if found else ""


def _release(folder: Path, file: int) -> None:
    if in_place(folder / LOCK, file):
        (folder / LOCK).unlink()
    os.close(file)
