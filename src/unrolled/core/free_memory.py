"""How much memory is free, so that what cannot fit is refused before it is made."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from unrolled.core import _core
from unrolled.words import sized

#: Files with the free memory of the machine, and with the limit of a container.
_MEMINFO = Path("/proc/meminfo")
_LIMIT, _USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
#: File with the pages of this process: all of them, and those in memory.
_PAGES = Path("/proc/self/statm")
#: Bytes below which nothing is looked up.
LITTLE = 1 << 26


def available() -> int:
    """Return how many bytes of memory are free.

    >>> available() > 0
    True
    """
    found = []
    if _MEMINFO.exists():
        fields = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
        found.append(int(fields["MemAvailable"].split()[0]) * 1024)
    if _LIMIT.exists() and _LIMIT.read_text().strip() != "max":
        found.append(int(_LIMIT.read_text()) - int(_USED.read_text()))
    return min(found) if found else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Return how many bytes of memory this process has; 0 where nothing says so.

    >>> resident() >= 0
    True
    """
    return int(_PAGES.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if _PAGES.exists() else 0


def give_back() -> None:
    """Give memory that this process no longer uses back to the system: the core and the C library keep it for later.

    >>> give_back()
    """
    _core.release_workspace()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # of glibc alone
        trim(0)


def expect_room(needed: int, what: str, remedy: str) -> None:
    """Refuse what takes more bytes than are free.

    Raises: MemoryError saying what takes them, how many are free, and the remedy.

    >>> expect_room(10**18, "a very long text", "shorten it")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    MemoryError: a very long text takes about 1,000,000,000.0 GB, and ... are free; shorten it
    """
    if needed > LITTLE and needed > (free := available()):
        raise MemoryError(f"{what} takes about {sized(needed)}, and {sized(free)} are free; {remedy}")
