"""The files of the page."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

#: The page's content types by file extension; no other file of its folder is served.
TYPES = {
    "html": "text/html",
    "css": "text/css",
    "svg": "image/svg+xml",
    "js": "text/javascript",
    "LICENSE": "text/plain",
}


def page_files(folder: str = "static") -> dict[str, tuple[bytes, str]]:
    """Return content and type of every file of the page, by path; a request reads no other file.

    >>> sorted(page_files("alone"))[:2]
    ['choosing.js', 'gradients.js']
    """
    return dict(_below(files("unrolled.webpage") / folder, ""))


def _below(folder: Traversable, path: str) -> Iterator[tuple[str, tuple[bytes, str]]]:
    for each in folder.iterdir():
        kind = TYPES.get(each.name.rpartition(".")[2])
        if each.is_dir():
            yield from _below(each, f"{path}{each.name}/")
        elif kind:
            yield path + each.name, (each.read_bytes(), kind)
