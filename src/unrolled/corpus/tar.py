"""The files in a tar archive, each where its bytes lie in it."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

#: Endings of the names of archives, and of packed ones.
TAR, PACKED_TAR = (".tar",), (".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz", ".tar.zst")


class TarError(ValueError):
    """An archive cannot be read; the message says why and what to do."""


class Member(NamedTuple):
    """A file in an archive: its name there, and where its bytes begin and end."""

    name: str
    start: int
    stop: int


def is_tar(path: Path) -> bool:
    """Return whether a file is an archive, by its name.

    >>> is_tar(Path("books.TAR.gz")), is_tar(Path("tar.txt"))
    (True, False)
    """
    return path.name.lower().endswith((*TAR, *PACKED_TAR))


def members(path: Path) -> Iterator[Member]:
    """Yield the files in an archive in its order, without hidden ones.

    Raises: TarError if it is packed, damaged, ends early, or has a file whose bytes do not lie in one piece.
    """
    if path.name.lower().endswith(PACKED_TAR):
        raise TarError("a packed archive can be read from its beginning only; unpack it once to a .tar, and name that")
    size = path.stat().st_size
    try:
        with tarfile.open(path, "r:") as archive:
            for found in archive:
                if not found.isreg() or any(part.startswith(".") for part in PurePosixPath(found.name).parts):
                    continue
                stop = found.offset_data + found.size
                if found.issparse() or stop > size:
                    raise TarError(f"{found.name} {'is sparse' if found.issparse() else 'ends early'}; pack it again")
                yield Member(found.name, found.offset_data, stop)
    except tarfile.TarError as error:
        raise TarError(f"not a tar archive, or damaged: {error}") from None
