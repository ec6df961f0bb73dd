"""Recurrent networks from their textbook equations, fast on an ordinary CPU, and easy to look inside."""

import importlib as _importlib
import sys as _sys
from typing import Any as _Any

from unrolled import extras as _extras

__version__ = "0.1.0"

_PACKAGES = ("corpus", "export", "imports", "lab", "languages", "lm", "nn", "runtime", "textbook", "views")

_sys.meta_path.append(_extras.Remedy)


def release_memory() -> None:
    """Return to the system the memory that the compiled core keeps for its next calls.

    It keeps no more than recent calls needed at once, and releases the rest by itself; this is for a program that
    will make no more calls for a while.

    >>> release_memory()
    """
    from unrolled import _core  # here, because `import unrolled` is to stay light

    _core.release_workspace()


def __getattr__(name: str) -> _Any:
    """Import a package of this one when it is first asked for, because `import unrolled` is to stay light."""
    if name in _PACKAGES:
        return _importlib.import_module(f"unrolled.{name}")
    raise AttributeError(f"module 'unrolled' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PACKAGES})
