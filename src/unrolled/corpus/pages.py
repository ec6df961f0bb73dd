"""The pages of a mapped file: those that were read stay in memory as the process's own until it lets them go."""

from __future__ import annotations

import mmap

import numpy as np
import numpy.typing as npt

#: Bytes that the system maps around a place that is read, and bytes after which all are let go.
AROUND, MOST = 1 << 16, 1 << 26


class Pages:
    """Lets go of what was read of an array in a mapped file, again and again; of one in memory it does nothing.

    The file stays mapped, and most likely in the system's cache.

    Args: array: mapped, or a view of what is mapped.
    """

    def __init__(self, array: npt.NDArray[np.generic]):
        base: object = array
        while isinstance(base, np.ndarray):
            base = base.base
        self._file = base if isinstance(base, mmap.mmap) and hasattr(base, "madvise") else None
        self._read = 0

    def read(self, places: int, size: int) -> None:
        """Count what was just read: so many bytes, in so many places."""
        self._read += places * AROUND + size
        if self._read > MOST:
            self._read = 0
            if self._file is not None:
                self._file.madvise(mmap.MADV_DONTNEED)
