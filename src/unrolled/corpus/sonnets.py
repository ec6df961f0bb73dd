"""Shakespeare's Sonnets, which come with the package."""

from __future__ import annotations

from importlib import resources


def sonnets() -> str:
    """Return the text that ships with the package: Shakespeare's Sonnets, 95,728 characters.

    >>> sonnets()[:11]
    'THE SONNETS'
    """
    return resources.files("unrolled.corpus").joinpath("data/sonnets.txt").read_text("ascii")
