"""A curve that grows while training runs, and its picture in one line of text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

#: Heights of a bar, lowest first, in Unicode blocks and in ASCII.
BLOCKS, ASCII = "▁▂▃▄▅▆▇█", "_.,-=+*#"
#: Points that a curve keeps at most; two neighbours become one where there would be more.
POINTS = 512
#: The share of a curve whose highest point is as high as the picture; the steep fall before it would flatten the rest.
TAIL = 3 / 4


class LearningCurve:
    """The means of a quantity over equal spans, from its beginning, in bounded memory.

    >>> curve = LearningCurve()
    >>> for value in range(1025):
    ...     curve.add(value)
    >>> len(curve.points), curve.points[:2]
    (256, [1.5, 5.5])
    """

    def __init__(self) -> None:
        self.points: list[float] = []
        self._span = 1  # values in each point
        self._open: list[float] = []  # values of the next point

    def add(self, value: float) -> None:
        """Append one value."""
        self._open.append(value)
        if len(self._open) < self._span:
            return
        self.points.append(sum(self._open) / self._span)
        self._open = []
        if len(self.points) == POINTS:
            self.points = [(a + b) / 2 for a, b in list(pairwise(self.points))[::2]]
            self._span *= 2


def sparkline(values: Sequence[float], width: int, heights: str = BLOCKS) -> str:
    """Return a picture of values, one character for each or, where they are more than fit, for several.

    Args:
        values: in their order.
        width: characters at most, 1 or more.
        heights: the characters, lowest first.

    >>> sparkline([8, 4, 2, 1, 1], 5), sparkline(range(100), 4), sparkline([2, 2], 9), sparkline([], 9)
    ('██▃▁▁', '▁▃▆█', '▁▁', '')
    """
    count = min(width, len(values))
    cuts = [k * len(values) // count for k in range(count + 1)] if count else []
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(cuts)]
    if not means:
        return ""
    low, high = min(means), max(means[int(len(means) * (1 - TAIL)) :])
    top = len(heights) - 1
    scale = top / (high - low) if high > low else 0.0
    return "".join(heights[min(top, round((mean - low) * scale))] for mean in means)
