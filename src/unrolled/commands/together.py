"""How a command works in the processes that torchrun has started: they are found first, and one of them speaks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from unrolled.commands import WrongUse
from unrolled.config.launch import RANK_TIMEOUT, launched
from unrolled.config.options import option

if TYPE_CHECKING:
    from unrolled.corpus.sharing import Alone


@contextmanager
def together(rank_timeout: float, given: Callable[[], dict[str, Any]]) -> Iterator[Alone]:
    """Yield the processes that share the command; of an error inside the block, the first that meets it speaks.

    A process that is alone does not even import torch for it.

    Args: seconds to wait for one that is missing; returns the options, which must be the same for all.
    Raises: SystemExit where another process has told the error.
    """
    try:
        launch = launched()
    except ValueError as error:
        raise WrongUse(str(error)) from None
    if launch.size == 1:
        if rank_timeout != RANK_TIMEOUT:
            said = f"{option('rank_timeout', rank_timeout)} has no effect: torchrun has started no other process"
            warnings.warn(said, stacklevel=3)
        from unrolled.corpus.sharing import ALONE

        yield ALONE
        return
    from unrolled.lm.parallel.joining import join
    from unrolled.lm.parallel.ranks import Ranks, RanksDiffer
    from unrolled.lm.parallel.watch import RankLost

    try:
        ranks = join(rank_timeout)
    except (RankLost, RanksDiffer) as error:
        if error.first:
            raise
        raise SystemExit(1) from None
    assert isinstance(ranks, Ranks)
    try:
        with ranks.reporting():
            ranks.compare(lambda: {"options": given()})
            ranks.note_processors()
            yield ranks
    except (Exception, KeyboardInterrupt) as error:
        if not ranks.watch.report(error):
            raise SystemExit(1) from None
        if not ranks.first and not isinstance(error, RankLost | RanksDiffer):
            error.add_note(ranks.name)
        raise
