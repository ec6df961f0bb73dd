"""Recurrent networks from their textbook equations, fast on an ordinary CPU, and open to the eye."""

__version__ = "0.1.0"


def release_memory() -> None:
    """Give the memory back to the system that the compiled core keeps for its next calls.

    It keeps no more than recent calls needed at once, and lets go of the rest by itself; this is for a program that
    will make no more calls for a while.

    >>> release_memory()
    """
    from unrolled import _core  # here, because the package itself imports nothing

    _core.release_workspace()
