"""How much memory is free, and whether training a model fits into it."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from unrolled.config.model import ModelConfig
from unrolled.config.options import option
from unrolled.lm.model import SequenceModel
from unrolled.saved.vocabulary import Vocabulary

#: Files with the free memory of the machine, and with the limit of a container.
_MEMINFO = Path("/proc/meminfo")
_LIMIT, _USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
#: Numbers that training keeps for each parameter: itself, its gradient, two moments, its best value.
KEPT = 5


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


def check_memory(config: ModelConfig, vocabulary: Vocabulary) -> None:
    """Check that a model fits into memory while it is trained; it is not made for that.

    Raises: MemoryError with the bytes needed and the bytes free.

    >>> check_memory(ModelConfig(hidden_size=10**6), Vocabulary("ab"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    MemoryError: a model of 4,000,028,000,004 parameters takes 80,000.6 GB to train, and ... GB are free; lower ...
    """
    with torch.device("meta"):
        count = sum(p.numel() for p in SequenceModel(config, vocabulary).parameters())
    needed, free = KEPT * 4 * count, available()
    if needed > free:
        raise MemoryError(
            f"a model of {count:,} parameters takes {needed / 1e9:,.1f} GB to train, and {free / 1e9:,.1f} GB are "
            f"free; lower {option('hidden_size')} (now {config.hidden_size:,})"
        )
