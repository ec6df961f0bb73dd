"""Which shapes are measured: chosen by a rule, not by their results.

A point is (B, T, I, H); I is 32 or H.  All 210 points, for three cells, would take hours, so a covering is taken: every
pair of values of two letters (B 64 with H 512, T 20 with I = H, ...) occurs in at least one point, for each cell.  The
choice is greedy: next comes the point that covers the most new pairs; ties are broken in an order shuffled with a fixed
seed.  Points above a limit of work are left out; every pair occurs below it too.
"""

from __future__ import annotations

import itertools
import random
from typing import NamedTuple

BATCHES = (1, 8, 32, 64, 256)
STEPS = (20, 100, 500)
SIZES = (16, 64, 100, 128, 256, 512, 1024)
NARROW = 32
#: Most operations of one forward pass of an LSTM, the widest cell, by strength: 90e9 are about half a second on two
#: cores; a tenth of that for single values, which are taken where every operation costs two or four times as much.
MOST_WORK = {1: 9e9, 2: 90e9}


class Point(NamedTuple):
    """One shape."""

    B: int
    T: int
    I: int
    H: int

    @property
    def work(self) -> int:
        """Operations of one LSTM forward pass, 2 T B G H (I + H)."""
        return 2 * self.T * self.B * 4 * self.H * (self.I + self.H)


#: The common shapes: (B, T, H), I = H.
COMMON = [
    Point(B, T, H, H)
    for B, T, H in (
        (1, 100, 64),
        (1, 100, 256),
        (8, 64, 64),
        (32, 64, 128),
        (32, 100, 256),
        (64, 100, 512),
        (64, 32, 1024),
    )
]


def every_point() -> list[Point]:
    """Return every combination of the values, the most expensive included."""
    return [Point(B, T, I, H) for B, T, H in itertools.product(BATCHES, STEPS, SIZES) for I in (NARROW, H)]


def covered(point: Point, strength: int) -> set[tuple[tuple[str, int | str], ...]]:
    """Return what a point covers: its values (strength 1) or pairs of them (strength 2), with I = H as a value of I."""
    named = {"B": point.B, "T": point.T, "I": "32" if point.I == NARROW else "H", "H": point.H}
    return {*itertools.combinations(named.items(), strength)}


def covering(strength: int) -> list[Point]:
    """Return few points that together cover every value (strength 1) or every pair of values (2), in order.

    >>> len(covering(1)), len(covering(2))
    (7, 35)
    """
    candidates = [point for point in every_point() if point.work <= MOST_WORK[strength]]
    random.Random(0).shuffle(candidates)
    missing = set().union(*(covered(point, strength) for point in every_point()))
    chosen = []
    while missing:
        best = max(candidates, key=lambda point: len(covered(point, strength) & missing))
        chosen.append(best)
        missing -= covered(best, strength)
    return sorted(chosen)
