"""The files in a tar archive, each where its bytes lie in it."""

from __future__ import annotations

import tarfile
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


def members(path: Path) -> tuple[list[Member], list[str]]:
    """Return the files in an archive in its order, without hidden ones, and the names of its symbolic links.

    Of several files of one name the last counts, as when it is unpacked; a hard link is the file that it names.

    Raises: TarError if it is packed, damaged, ends early, or has a file whose bytes do not lie in one piece.
    """
    if path.name.lower().endswith(PACKED_TAR):
        raise TarError("a packed archive can be read from its beginning only; unpack it once to a .tar, and name that")
    size, there, files = path.stat().st_size, dict[str, tuple[int, int]](), dict[str, Member]()
    links: list[str] = []
    try:
        with tarfile.open(path, "r:") as archive:
            for found in archive:
                if found.size < 0:  # the archive would go back, and never end
                    raise TarError(f"damaged: {found.name} has the size {found.size:,}; pack it again")
                if found.islnk() and found.linkname in there:
                    found.offset_data, found.size, found.type = *there[found.linkname], tarfile.REGTYPE
                if found.issym():
                    links.append(found.name)
                if not found.isreg() or any(part.startswith(".") for part in PurePosixPath(found.name).parts):
                    continue
                stop = found.offset_data + found.size
                if found.issparse() or stop > size:
                    raise TarError(f"{found.name} {'is sparse' if found.issparse() else 'ends early'}; pack it again")
                there[found.name] = found.offset_data, found.size
                files.pop(found.name, None)
                files[found.name] = Member(found.name, found.offset_data, stop)
    except (tarfile.TarError, ValueError, MemoryError) as error:  # of sizes that no archive has
        if isinstance(error, TarError):
            raise
        raise TarError(f"not a tar archive, or damaged: {str(error) or 'a name in it is larger than memory'}") from None
    return [*files.values()], links
