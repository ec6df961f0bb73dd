"""Whether torchrun has started this process beside others, and who they are."""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING

from unrolled.config.launch import RANK_TIMEOUT, launched
from unrolled.corpus.sharing import ALONE, Alone

if TYPE_CHECKING:
    from unrolled.lm.parallel.ranks import Ranks

_joined: Ranks | None = None


def join(rank_timeout: float = RANK_TIMEOUT) -> Alone:
    """Return the processes that torchrun has started; a process that is alone stays so.

    The first call waits for the others; later ones return the same.

    Args: rank_timeout: seconds to wait for a process that is missing, and later for one that gives no sign of life.
    Raises: RankLost naming those that are missing.  RanksDiffer if one has another version.

    >>> join().size
    1
    """
    global _joined
    launch = launched()
    if launch.size > 1 and _joined is None:
        from unrolled.lm.parallel.meeting import meet_under_torchrun

        _joined = meet_under_torchrun(launch, rank_timeout)
        atexit.register(_joined.close)
    return _joined or ALONE
