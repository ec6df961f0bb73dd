"""Files from outside: read whole within a bound, and refused by their name if what is in them cannot be."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np

from unrolled.formats.network_of import FormatError
from unrolled.saved.network import Network
from unrolled.words import counted

#: Bytes of the largest file that is read: the most that one message of protobuf can hold.
LARGEST_FILE = 2**31 - 1


def refused(path: Path, what: str) -> FormatError:
    """Return the error that names a file and says what is wrong with it, in one line."""
    return FormatError(f"{path}: {' '.join(what.split())}")


def outside_bytes(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises: FormatError if it is missing, no file of bytes, or too large.
    """
    try:
        # A pipe would wait for its writer, and a device might never end.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise refused(path, "is a pipe or a device, expected a file")
            if found.st_size > LARGEST_FILE:
                raise refused(path, f"has {counted(found.st_size, 'byte')}, expected at most {LARGEST_FILE:,}")
            return file.read(LARGEST_FILE)
    except OSError as error:
        raise refused(path, f"cannot read: {error.strerror}") from None


def finished(path: Path, read: Callable[[], Network]) -> Network:
    """Return the network that `read` makes of a file, if its numbers are finite and its parts fit each other.

    Raises: FormatError that names the file.
    """
    try:
        network = read()
    except FormatError:
        raise
    except ValueError as error:
        raise refused(path, str(error)) from None
    start = {} if network.text is None else {"start": network.text.start}
    for name, w in (network.tensors() | start).items():
        if wrong := int(np.count_nonzero(~np.isfinite(w))):
            raise refused(path, f"{name!r} has {counted(wrong, 'non-finite number')}")
    return network
