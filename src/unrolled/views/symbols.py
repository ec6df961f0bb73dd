"""What is written beside numbers: the names of gates and states, and symbols, where what cannot be seen gets a sign."""

from __future__ import annotations

from unrolled.saved.vocabulary import shown


def visible(symbol: str) -> str:
    """Return a symbol in a form that can be seen; a space and a line end get a sign.

    >>> visible(" "), visible(chr(10)), visible("a")
    ('␣', '⏎', 'a')
    """
    return "␣" if symbol == " " else shown(symbol)
