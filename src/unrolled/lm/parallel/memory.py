"""Memory that the processes of one machine share: there they wait for each other, and add their gradients.

It is a file without a name, of which nothing is left however the processes end.  Each locks a byte of it: a lock is
gone when its process is.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import struct
from contextlib import ExitStack, suppress
from io import FileIO

import numpy as np
import torch

from unrolled.core import Barrier
from unrolled.corpus.sharing import Alone, Share, Timed
from unrolled.lm.optimisers import FlatParameters
from unrolled.lm.parallel.exchange import Exchange, numbers_of, taken
from unrolled.lm.parallel.watch import Watch

#: Bytes at the end of a file by which others know it.
MARK = 16
#: Seconds between two looks at the others while one waits.
SLICE = 0.25
#: Numbers of each process that are added at a time, so that they stay in the cache of a core.
BLOCK = 1 << 15
#: The gradients of a process begin at a multiple of this many numbers: no page is written to by two.
PAGE = 1 << 10


class SharedFile:
    """An open file of zeros that several processes have; `lives` says whether another still has it.

    Args: the file; bytes; the number of this process.
    Raises: OSError if it cannot be locked.
    """

    def __init__(self, file: FileIO, size: int, rank: int):
        self._file, self.size, self._rank = file, size, rank
        self._lock(fcntl.F_WRLCK)

    @classmethod
    def of(cls, ranks: Alone, size: int) -> SharedFile | None:
        """Return a file of this many bytes that all processes have, or None if one of them cannot reach it.

        All of them call this.
        """
        made = _made(size) if ranks.first else None
        place, mark = "", b""
        if made:
            place, mark = f"/proc/{os.getpid()}/fd/{made.fileno()}", secrets.token_bytes(MARK)
            os.pwrite(made.fileno(), mark, size)
        place, mark = ranks.told((place, mark))
        found = cls._opened(place, mark, size, ranks.share.rank)
        [missing] = ranks.sum(found is None)
        if made:
            made.close()
        if missing and found:
            found.close()
        return None if missing else found

    @classmethod
    def _opened(cls, place: str, mark: bytes, size: int, rank: int) -> SharedFile | None:
        with suppress(OSError), ExitStack() as stack:
            file = stack.enter_context(FileIO(place, "r+b"))
            if os.pread(file.fileno(), MARK, size) == mark:
                found = cls(file, size, rank)
                stack.pop_all()
                return found
        return None

    def mapped(self) -> mmap.mmap:
        """Return its bytes, which stay when it is closed."""
        return mmap.mmap(self._file.fileno(), self.size)

    def lives(self, rank: int) -> bool:
        """Return whether another process has it."""
        found = fcntl.fcntl(self._file, fcntl.F_OFD_GETLK, _flock(fcntl.F_WRLCK, rank))
        return int(struct.unpack_from("h", found)[0]) != fcntl.F_UNLCK

    def close(self) -> None:
        """Close it: this process has it no more, though what it has mapped stays."""
        if not self._file.closed:
            self._lock(fcntl.F_UNLCK)
            self._file.close()

    def _lock(self, kind: int) -> None:
        fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _flock(kind, self._rank))


class Gathering:
    """Where processes wait for each other, and add numbers.

    Args: a file of :attr:`Barrier.bytes`; the number of this process, and how many there are; who of them lives.
    """

    def __init__(self, file: SharedFile, share: Share, watch: Watch):
        self.file, self.share, self.watch = file, share, watch
        self._others = [rank for rank in range(share.size) if rank != share.rank]
        self._barrier = Barrier(np.frombuffer(file.mapped(), np.uint8), *share)

    def sum(self, *numbers: float) -> tuple[float, ...]:
        """Wait for all; return the sums of what they have come with.

        Raises: RankLost.
        """
        self._barrier.come(numbers)
        while not self._barrier.wait(SLICE):
            self.watch.look()
            if dead := [
                rank for rank in range(self.share.size) if rank != self.share.rank and not self.file.lives(rank)
            ]:
                raise self.watch.dead(dead)
        return tuple(self._barrier.sums())


class SharedGradients(Exchange):
    """Adds the gradients of all processes where they lie: each process adds a part of them, for all.

    Args: the flat parameters, whose gradients move; a file of `bytes_of`; where the processes wait for each other.
    """

    def __init__(self, flat: FlatParameters, file: SharedFile, gathering: Gathering):
        super().__init__(flat, gathering.share)
        self.gathering, values = gathering, flat.values
        rows = torch.frombuffer(file.mapped(), dtype=values.dtype).view(self.share.size, _row(flat))
        file.close()
        flat.keep_gradients_in(rows[self.share.rank, : values.numel()])
        own = rows[:, slice(*self.share.part(rows.shape[1]))]
        self.blocks = [own[:, start : start + BLOCK] for start in range(0, own.shape[1], BLOCK)]

    @staticmethod
    def bytes_of(flat: FlatParameters, size: int) -> int:
        """Return how many bytes the gradients of so many processes take."""
        return size * _row(flat) * flat.values.element_size()

    def finish(self, nats: float, stop: bool, run: Timed) -> tuple[float, bool]:
        """Add the gradients; return the loss of all, summed, and whether any is asked to stop."""
        sums = self.gathering.sum(*numbers_of(nats, stop, run, self.share))
        for first, *others in self.blocks:
            for other in others:
                first.add_(other)
            for other in others:
                other.copy_(first)
        self.gathering.sum()
        return taken(sums, run)


def _row(flat: FlatParameters) -> int:
    """Return how many numbers the gradients of one process take."""
    return -(-flat.values.numel() // PAGE) * PAGE


def _made(size: int) -> FileIO | None:
    """Return a new file of zeros with room for the mark, or None where there are no files without a name."""
    if not (hasattr(os, "memfd_create") and hasattr(fcntl, "F_OFD_SETLK")):
        return None
    with suppress(OSError):
        made = FileIO(os.memfd_create("unrolled"), "r+b")
        made.truncate(size + MARK)
        return made
    return None


def _flock(kind: int, byte: int) -> bytes:
    """Return the struct flock of one byte."""
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, byte, 1, 0)
