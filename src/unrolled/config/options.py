"""How a message names an option: as a field in Python and TOML, as a flag on the command line."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

#: The flags of options that have not their own names, where options are named as flags.
_flags: ContextVar[Mapping[str, str] | None] = ContextVar("flags", default=None)

#: Characters of a value that a message repeats, and values of a list.
SHOWN, LISTED = 60, 20


def option(name: str, value: object = None) -> str:
    """Return an option, with a value if one is given, as the user writes it.

    >>> option("min_count"), option("kind", "bytes"), option("lines", True)
    ('min_count', "kind='bytes'", 'lines=True')
    >>> with named_as_flags():
    ...     option("min_count"), option("kind", "bytes"), option("lines", True)
    ('--min-count', '--kind bytes', '--lines')
    """
    renamed = _flags.get()
    if renamed is None:
        return name if value is None else f"{name}={value!r}"
    flag = renamed.get(name, name).replace("_", "-")
    if isinstance(value, list | tuple):
        return " ".join(option(name, each) for each in value)
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"--{flag}" if value is None else f"--{flag} {shlex.quote(str(value))}"


def options(values: Mapping[str, object]) -> str:
    """Return several options with their values, as the user writes them.

    >>> options({"rnn": ["a", "b"], "head": "c"})
    "rnn=['a', 'b'], head='c'"
    >>> with named_as_flags():
    ...     options({"rnn": ["a", "b"], "head": "c"})
    '--rnn a --rnn b --head c'
    """
    return (", " if _flags.get() is None else " ").join(option(*each) for each in values.items())


def typed(text: str, *, exactly: bool = False) -> str:
    r"""Return a text as it was meant that was typed on the command line, where \n is a line end, and \r\n another.

    Args: exactly: leave other line ends as they are, as for a model that reads them.

    >>> typed("anna\\nbela\r\n"), typed("\\r\\n")
    ('anna\nbela\n', '\n')
    """
    text = text.replace("\\r\\n", "\r\n").replace("\\n", "\n")
    return text if exactly else line_ends(text)


def line_ends(text: str) -> str:
    r"""Return a text with the line ends that files of text are read with: \n for \r\n and \r too."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def idle_of(config: Any, whys: Mapping[str, str]) -> dict[str, str]:
    """Return those of the options, each with why it would do nothing, that differ from their defaults.

    >>> from unrolled.config.training import TrainingConfig
    >>> idle_of(TrainingConfig(momentum=0.5), {"momentum": "adamw has none", "patience": "nothing is held out"})
    {'momentum': 'adamw has none'}
    """
    return {name: why for name, why in whys.items() if getattr(config, name) != getattr(type(config), name)}


def note_idle(config: Any, whys: Mapping[str, str]) -> None:
    """Warn of each option of a config that does nothing; `whys` says why, by name."""
    for name, why in whys.items():
        warnings.warn(f"{option(name, getattr(config, name))} has no effect: {why}", stacklevel=4)


@contextmanager
def named_as_flags(flags: bool = True, *, renamed: Mapping[str, str] | None = None) -> Iterator[None]:
    """Name options as flags inside the block, or as fields; `renamed` are flags that have another name than theirs."""
    before = _flags.set((renamed or {}) if flags else None)
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


def listed(values: Sequence[object]) -> str:
    """Return the values of a list as a message repeats them: the first ones, each cut if it is long.

    >>> listed(["a", "b"]), listed([]), listed(range(1000))[-19:]
    ("'a', 'b'", 'none', '18, 19 and 980 more')
    """
    shown = ", ".join(map(brief, values[:LISTED])) or "none"
    return shown if len(values) <= LISTED else f"{shown} and {len(values) - LISTED:,} more"
