"""How much memory there is, and the refusal to begin what would not fit."""

from __future__ import annotations

import os
from pathlib import Path

#: Files that say how much memory the process may still take: the machine's, and that of a container.
_MEMINFO = Path("/proc/meminfo")
_LIMIT, _USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")


def available() -> int:
    """Return how many bytes of memory are free for use.

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


def refuse_too_much(wanted: int, seeds: int) -> None:
    """Raise if so many nets side by side want more memory than there is.

    Raises: MemoryError naming both sizes, and how many nets would fit.

    >>> refuse_too_much(10**18, 10**6)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    MemoryError: 1000000 seeds side by side want about 1000000000.0 GB of memory, ... are free; at most 0 seeds fit; ...
    """
    free = available()
    if wanted > free:
        fit = int(seeds * free / wanted)
        raise MemoryError(
            f"{seeds} seeds side by side want about {wanted / 1e9:.1f} GB of memory, {free / 1e9:.1f} are free; "
            f"at most {fit} seeds fit; take fewer, or smaller batches, and the rest with --first-seed"
        )
