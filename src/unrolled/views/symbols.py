"""Symbols as pictures write them: those that cannot be seen get a sign."""

from __future__ import annotations

from unrolled.saved.visible import shown


def visible(symbol: str) -> str:
    """Return a symbol in a visible form; a space and a line end get a sign.

    >>> visible(" "), visible(chr(10)), visible("a")
    ('␣', '⏎', 'a')
    """
    return "␣" if symbol == " " else shown(symbol)
