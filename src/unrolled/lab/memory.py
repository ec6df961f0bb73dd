"""How much memory is free, and whether training fits into it."""

from __future__ import annotations

import os
from pathlib import Path

#: Files with the free memory of the machine, and with the limit of a container.
_MEMINFO = Path("/proc/meminfo")
_LIMIT, _USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")


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


def check_memory(needed: int, seeds: int) -> None:
    """Check that models with this many seeds fit into memory.

    Raises: MemoryError with the bytes needed, the bytes free and the number of seeds that would fit.

    >>> check_memory(10**18, 10**6)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    MemoryError: 1000000 seeds need about 1000000000.0 GB of memory, ... are free; at most 0 seeds fit; ...
    """
    free = available()
    if needed > free:
        fit = int(seeds * free / needed)
        raise MemoryError(
            f"{seeds} seeds need about {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} are free; at most {fit} seeds "
            "fit; use fewer seeds or smaller batches, and run the other seeds with --first-seed"
        )
