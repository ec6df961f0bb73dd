"""What the commands print on: the one console, and text that a terminal must not obey."""

from __future__ import annotations

import sys
from typing import TextIO

from rich.console import Console

#: What is drawn for the characters that a terminal obeys: control characters, and those that turn the order of others.
DRAWN = {
    **{k: chr(0x2400 + k) for k in range(0x20) if chr(k) not in "\t\n"},
    0x7F: "\N{SYMBOL FOR DELETE}",
    **{k: f"\\x{k:02x}" for k in range(0x80, 0xA0)},
    **{k: f"\\u{k:04x}" for k in (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))},
}


def printable(text: str, stream: TextIO | None = None) -> str:
    """Return a text of a model or a file as it may be printed: as it is, or for a terminal with nothing to obey in it.

    Args: text; the stream it goes to, standard output if left out.

    >>> printable("as it is: " + chr(27)) == "as it is: " + chr(27)
    True
    """
    return text.translate(DRAWN) if (stream or sys.stdout).isatty() else text


class PlainConsole(Console):
    """Prints text as it is: the name of a folder may hold brackets, which are not read as markup.

    >>> PlainConsole().print("runs/[red]a :smile:")
    runs/[red]a :smile:
    """

    def __init__(self) -> None:
        super().__init__(markup=False, emoji=False, highlight=False)
