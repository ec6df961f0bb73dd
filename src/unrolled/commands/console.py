"""The one console of the commands."""

from __future__ import annotations

from rich.console import Console


class PlainConsole(Console):
    """Prints text as it is: the name of a folder may hold brackets, which are not read as markup.

    >>> PlainConsole().print("runs/[red]a :smile:")
    runs/[red]a :smile:
    """

    def __init__(self) -> None:
        super().__init__(markup=False, emoji=False, highlight=False)
