"""How texts start: the log-probabilities of a first symbol that training stores, and what they tell of its symbols."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Pseudo-count of symbols that never start a sequence.
UNSEEN = 1e-3


def starts(counts: NDArray[Any]) -> NDArray[np.float32]:
    """Return the log-probabilities (V,) of a first symbol, smoothed so that none is zero, from its counts (V,).

    >>> [f"{p:.4f}" for p in np.exp(starts(np.array([3, 1, 0])))]
    ['0.7497', '0.2501', '0.0002']
    """
    smoothed = counts + UNSEEN
    found: NDArray[np.float32] = np.log(smoothed / smoothed.sum()).astype(np.float32)
    return found


def uncounted(starts: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which symbols (V,) had a count of 0: the rarest, if all others are a thousand times as frequent.

    >>> uncounted(np.log([0.75, 0.25, 2e-4])).tolist(), uncounted(np.log([0.5, 0.5])).tolist()
    ([False, False, True], [False, False])
    """
    above = starts - starts.min()
    rarest = above < 0.5
    others = above[~rarest]
    found: NDArray[np.bool_] = rarest & bool(len(others) and (others > -math.log(UNSEEN)).all())
    return found


def unwritten(starts: NDArray[Any], unk_id: int, framed: bool) -> NDArray[np.bool_]:
    """Return which symbols (V,) a model never writes: after a stream, those that training never had as a target.

    >>> unwritten(np.log([0.75, 0.25, 2e-4, 2e-4]), 3, framed=False).tolist()
    [False, False, True, True]
    >>> unwritten(np.log([0.75, 0.25, 2e-4, 2e-4]), 3, framed=True).any()
    np.False_
    """
    unlearned = uncounted(starts)
    left = np.flatnonzero(~unlearned).tolist()
    return np.zeros_like(unlearned) if framed or left == [unk_id] else unlearned
