"""HDF5 files as Keras writes them: whole arrays of numbers in groups.

What else HDF5 can hold is refused: links to other places and files, arrays in chunks or made of others, and sizes that
the file is too small for.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from unrolled.formats.arrays import numbers
from unrolled.formats.network_of import FormatError
from unrolled.words import counted

Found = TypeVar("Found")

#: The first bytes of every such file.
SIGN = b"\x89HDF\r\n\x1a\n"
#: Groups in groups, at most.
DEEPEST = 12


class Hdf5:
    """The arrays in the bytes of an HDF5 file.

    Args: how messages call the file; its bytes.
    Raises: FormatError if they are damaged, or none.
    """

    def __init__(self, where: str, data: bytes) -> None:
        import h5py

        self.where, self._size, self._h5py = where, len(data), h5py
        if not data.startswith(SIGN):
            raise FormatError(f"{where}: damaged, or no HDF5 file")
        self._file = self._try("", lambda: h5py.File(io.BytesIO(data), "r"))

    def names(self, place: str = "") -> list[str]:
        """Return the names in a group; none if there is no such group."""
        group = self._at(place)
        return [] if group is None else self._try(place, lambda: [*map(str, group)])

    def arrays(self, place: str) -> Iterator[str]:
        """Yield the place of every array in a group, and in the groups in it."""
        waiting = [(place, 0)]
        while waiting:
            here, depth = waiting.pop()
            for name in self.names(here):
                below = f"{here}/{name}".strip("/")
                if self._is_group(below):
                    if depth == DEEPEST:
                        raise FormatError(f"{self.where}: {below} lies more than {DEEPEST} groups deep")
                    waiting.append((below, depth + 1))
                else:
                    yield below

    def has(self, place: str) -> bool:
        """Return whether something is at a place."""
        return self._at(place) is not None

    def array(self, place: str) -> NDArray[Any]:
        """Return the array of numbers at a place; FormatError if there is none, or it is not whole in this file."""
        found = self._at(place)
        if not isinstance(found, self._h5py.Dataset):
            raise FormatError(f"{self.where}: {place} is missing, expected an array")
        shape, nbytes, stored = self._try(
            place, lambda: (found.shape, found.nbytes, 0 if found.external else found.id.get_storage_size())
        )
        whole = self._try(place, lambda: found.chunks is None and not found.is_virtual)
        if shape is None or found.dtype.kind != "f" or not whole or nbytes != stored or nbytes > self._size:
            raise FormatError(
                f"{self.where}: {place} is {shape} of {found.dtype}, of which the file has {counted(stored, 'byte')}; "
                "expected numbers in one piece, as Keras writes them"
            )
        return numbers(f"{self.where}: {place}", self._try(place, lambda: np.asarray(found[()])))

    def _is_group(self, place: str) -> bool:
        return isinstance(self._at(place), self._h5py.Group)

    def _at(self, place: str) -> Any:
        """Return what is at a place, None if nothing is; links are not followed."""
        found = self._file
        for part in filter(None, place.split("/")):
            found = self._try(place, lambda: self._in(found, part, place))  # noqa: B023
        return found

    def _in(self, group: Any, name: str, place: str) -> Any:
        if not isinstance(group, self._h5py.Group) or name not in group:
            return None
        if not isinstance(group.get(name, getlink=True), self._h5py.HardLink):
            raise FormatError(f"{self.where}: {place} is a link to another place, which is not followed")
        return group[name]

    def _try(self, place: str, act: Callable[[], Found]) -> Found:
        try:
            return act()
        except FormatError:
            raise
        except Exception as error:  # the library has an exception for each of its layers
            raise FormatError(f"{self.where}: {place or 'the file'} is damaged: {error}") from None


def hdf5_bytes(groups: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return an HDF5 file of arrays by group and name."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for place, arrays in groups.items():
            group = file.require_group(place)
            for name, array in arrays.items():
                group.create_dataset(name, data=array)
    return buffer.getvalue()
