"""Symbols as they are shown: what cannot be seen gets a sign."""

from __future__ import annotations

from collections.abc import Iterable

from unrolled.lm.display import shown


def visible(symbol: str) -> str:
    """Return a symbol in a form that can be seen; a space and a line end get a sign.

    >>> visible(" "), visible(chr(10)), visible("a")
    ('␣', '⏎', 'a')
    """
    return "␣" if symbol == " " else shown(symbol)


def line(symbols: Iterable[str]) -> str:
    """Return symbols on one line; those longer than a character are set apart by spaces.

    >>> line(["a", chr(10), "b"]), line(["a", "EOS"])
    ('a⏎b', 'a EOS')
    """
    each = [shown(symbol) for symbol in symbols]
    return ("" if all(len(symbol) == 1 for symbol in each) else " ").join(each)
