"""Where this process stands among those that torchrun has started: what the environment says, without torch."""

from __future__ import annotations

import os
from typing import NamedTuple

#: Seconds to wait for a process that is missing, and for one that gives no sign of life.
RANK_TIMEOUT = 60.0


class Launch(NamedTuple):
    """The number of this process, from 0, and how many there are: in the whole run, and on this machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1


def launched() -> Launch:
    """Return the place of this process; a process that nobody started beside others is alone.

    Raises: ValueError if the environment names a place that cannot be.

    >>> launched()
    Launch(rank=0, size=1, local_rank=0, local_size=1)
    """
    if not os.environ.get("WORLD_SIZE"):
        return Launch()
    rank, size = _number("RANK"), _number("WORLD_SIZE")
    here = Launch(rank, size, _number("LOCAL_RANK", 0), _number("LOCAL_WORLD_SIZE", 1))
    if not (here.rank < here.size and here.local_rank < here.local_size):
        raise ValueError(f"the environment says RANK={rank} of WORLD_SIZE={size}; expected 0 to {size - 1}")
    return here


def speaks_for_its_machine() -> bool:
    """Return whether this process says what all on this machine would: the first one does."""
    return _is_first("LOCAL_RANK")


def speaks_for_all() -> bool:
    """Return whether this process says what all would: the first one does."""
    return _is_first("RANK")


def _is_first(name: str) -> bool:
    """Return whether a number of the environment is 0, where there are several processes at all."""
    return os.environ.get("WORLD_SIZE", "1") in ("", "1") or os.environ.get(name, "0") == "0"


def _number(name: str, default: int | None = None) -> int:
    """Return a number of the environment."""
    text = os.environ.get(name, "" if default is None else str(default))
    if not text.isdecimal():
        raise ValueError(f"{name} is {text!r} in the environment; it must be a whole number, as torchrun sets it")
    return int(text)
