"""What the commands print on: the one console, and text that a terminal must not obey."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from unrolled.saved.visible import drawn


def printable(text: str, stream: TextIO | None = None) -> str:
    """Return a text of a model or a file as it may be printed: as it is, or for a terminal with nothing to obey in it.

    Args: text; the stream it goes to, standard output if left out.

    >>> printable("as it is: " + chr(27)) == "as it is: " + chr(27)
    True
    """
    return drawn(text) if (stream or sys.stdout).isatty() else text


class PlainConsole(Console):
    """Prints text as it is: the name of a folder may hold brackets, which are not read as markup.

    >>> PlainConsole().print("runs/[red]a :smile:")
    runs/[red]a :smile:
    """

    def __init__(self) -> None:
        super().__init__(markup=False, emoji=False, highlight=False)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print; what is no terminal gets lines of text whole, so that grep finds what stands in them."""
        if self.is_terminal:
            objects = tuple(drawn(each) if isinstance(each, str) else each for each in objects)
        elif all(isinstance(each, str | Text) for each in objects):
            options.setdefault("soft_wrap", True)
        super().print(*objects, **options)
