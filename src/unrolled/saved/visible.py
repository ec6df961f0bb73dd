"""Characters that cannot be seen, drawn: those of symbols, of files and of their names."""

from __future__ import annotations

import os
from codecs import BOM_UTF8
from typing import Any

#: Variables that ask for the colours of a terminal where there is none, as in the logs of test machines.
FORCED = ("FORCE_COLOR", "TTY_COMPATIBLE")

#: What is drawn for the characters that a terminal obeys: control characters, and those that turn the order of others.
DRAWN = {
    **{k: chr(0x2400 + k) for k in range(0x20) if chr(k) not in "\t\n"},
    0x7F: "\N{SYMBOL FOR DELETE}",
    **{k: f"\\x{k:02x}" for k in range(0x80, 0xA0)},
    **{k: f"\\u{k:04x}" for k in (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))},
}


def is_screen(console: Any) -> bool:
    """Return whether a console of rich is looked at while it is written to, so that what stands there may be replaced.

    >>> from rich.console import Console
    >>> is_screen(Console(force_terminal=True))
    True
    """
    forced = any(os.environ.get(name) for name in FORCED)
    return bool(console.is_terminal and (not forced or console.file.isatty()))


def unmarked(data: bytes) -> bytes:
    """Return the bytes of a text in UTF-8 without the byte order mark that some editors begin it with.

    >>> unmarked(BOM_UTF8 + b"[model]")
    b'[model]'
    """
    return data.removeprefix(BOM_UTF8)


def drawn(text: str) -> str:
    """Return a text with nothing in it that a terminal obeys, but for tabs and line ends.

    >>> drawn("a" + chr(27) + "[31m")
    'a␛[31m'
    """
    return text.translate(DRAWN)


def shown(text: str) -> str:
    """Return a text on one line, what cannot be seen drawn.

    >>> shown("so long" + chr(10) + "lives this")
    'so long⏎lives this'
    """
    line = drawn(text).replace("\n", "⏎").replace("\t", "␉")
    return line if line.isprintable() else "".join(c if c.isprintable() else "�" for c in line)


def coded(text: str) -> str:
    """Return a text on one line, each character that cannot be seen by its code, so that no two look alike.

    >>> coded("a" + chr(0x2028) + chr(0x200D))
    'a\\\\u2028\\\\u200d'
    """
    line = drawn(text).replace("\n", "⏎").replace("\t", "␉")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
