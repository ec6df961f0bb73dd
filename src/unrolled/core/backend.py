"""The environment variable UNROLLED_BACKEND: whether calls run in the compiled core or by the equations in Python."""

from __future__ import annotations

from collections.abc import Callable

from unrolled.core import _core


def reference_forced(read: Callable[[str], str | None] = _core.environment) -> bool:
    """Return whether UNROLLED_BACKEND asks for the reference equations.

    Args:
        read: returns the value of an environment variable; the default takes a tenth of os.environ's time.
    Raises: ValueError unless it is unset, "fused" or "reference".

    >>> reference_forced({"UNROLLED_BACKEND": "reference"}.get)
    True
    """
    wanted = read("UNROLLED_BACKEND")
    if wanted not in (None, "fused", "reference"):
        raise ValueError(f"UNROLLED_BACKEND={wanted!r}; expected 'fused' or 'reference'")
    return wanted == "reference"
