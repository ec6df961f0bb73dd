"""The strings of the textbook example."""

from __future__ import annotations


def anbn() -> list[list[str]]:
    """Return the strings a^n b^n, n = 1 ... 5, as lists of symbols.

    >>> anbn()[1]
    ['a', 'a', 'b', 'b']
    """
    return [["a"] * n + ["b"] * n for n in range(1, 6)]
