"""The one console of the commands."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text


class PlainConsole(Console):
    """Prints text as it is: the name of a folder may hold brackets, which are not read as markup.

    >>> PlainConsole().print("runs/[red]a :smile:")
    runs/[red]a :smile:
    """

    def __init__(self) -> None:
        super().__init__(markup=False, emoji=False, highlight=False)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print; what is no terminal gets lines of text whole, so that grep finds what stands in them."""
        if not self.is_terminal and all(isinstance(each, str | Text) for each in objects):
            options.setdefault("soft_wrap", True)
        super().print(*objects, **options)
