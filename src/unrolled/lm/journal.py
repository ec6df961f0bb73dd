"""The lock of a journal, the file in which a study is kept: one process appends to it at a time."""

from __future__ import annotations

import fcntl
import mmap
import os
from pathlib import Path

from unrolled.config.options import option

#: What Optuna begins every line of a journal with.
BEGIN = b'{"op_code":'


def check_journal(path: str | Path) -> None:
    """Refuse a file that is not a journal: its last line could be mistaken for an unfinished one, and cut off.

    Raises: ValueError saying what to do.
    """
    if os.path.isfile(path):
        with open(path, "rb") as file:
            found = file.read(len(BEGIN))
        if not BEGIN.startswith(found):
            raise ValueError("the file is not a study; name another, or a database by its URL, as sqlite:///study.db")


class JournalLock:
    """A lock that ends with the process that holds it, however that ends, as Optuna asks for one.

    Args: path of the journal.

    >>> lock = JournalLock("study.journal")
    >>> _ = Path("study.journal").write_bytes(b"a whole line" + bytes([10]) + b"a line that was cut o")
    >>> lock.acquire()
    True
    >>> lock.release()
    >>> Path("study.journal").read_text()
    'a whole line\\n'
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path).absolute()  # the program may go to another folder meanwhile
        self._file = -1

    def acquire(self) -> bool:
        """Wait until nobody else appends; drop the last line if the one who wrote it could not end it."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            self._lock(file)
            _drop_unfinished_line(file)
        except BaseException:
            os.close(file)
            raise
        self._file = file
        return True

    def release(self) -> None:
        """Let others append."""
        os.close(self._file)

    def _lock(self, file: int) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            said = f"this file system has no locks; keep the study on another, or in a database ({option('storage')})"
            raise OSError(error.errno, said) from None


def _drop_unfinished_line(file: int) -> None:
    if size := os.fstat(file).st_size:
        with mmap.mmap(file, size, access=mmap.ACCESS_READ) as lines:
            end = lines.rfind(b"\n") + 1
        if end < size:
            os.ftruncate(file, end)
