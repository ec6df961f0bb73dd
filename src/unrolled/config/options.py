"""How a message names an option: as a field in Python and TOML, as a flag on the command line."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_flags = ContextVar("flags", default=False)

#: Characters of a value that a message repeats.
SHOWN = 60


def option(name: str, value: object = None) -> str:
    """Return an option, with a value if one is given, as the user writes it.

    >>> option("min_count"), option("kind", "bytes"), option("lines", True)
    ('min_count', "kind='bytes'", 'lines=True')
    >>> with named_as_flags():
    ...     option("min_count"), option("kind", "bytes"), option("lines", True)
    ('--min-count', '--kind bytes', '--lines')
    """
    if not _flags.get():
        return name if value is None else f"{name}={value!r}"
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"--{flag}" if value is None else f"--{flag} {shlex.quote(str(value))}"


@contextmanager
def named_as_flags(flags: bool = True) -> Iterator[None]:
    """Name options as flags inside the block, or as fields."""
    before = _flags.set(flags)
    try:
        yield
    finally:
        _flags.reset(before)


def brief(value: object) -> str:
    """Return the repr of a value, cut in its middle if it is long.

    >>> brief("x" * 1000)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxx ... xxxxxxxxxxxxxxxxxxxxxxxxxxx'"
    """
    shown = str(value) if isinstance(value, float) else repr(value)
    half = SHOWN // 2 - 2
    return shown if len(shown) <= SHOWN else f"{shown[:half]} ... {shown[-half:]}"
