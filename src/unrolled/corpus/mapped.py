"""Ids in a file that is mapped into memory: checked where they are picked out of it, because to read all takes long."""

from __future__ import annotations

import zlib
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from unrolled.corpus.encoding import Compact
from unrolled.corpus.reading import CorpusError
from unrolled.corpus.splitting import BLOCK

#: Ids that have one sum.
SUMMED = 1 << 16

Sums = npt.NDArray[np.uint32]


def sums_of(ids: Compact) -> Sums:
    """Return the CRC-32 of each `SUMMED` ids as they lie in a file, the last of fewer.

    >>> sums_of(np.frombuffer(b"123456789", np.uint8))  # the sum that every description of CRC-32 gives
    array([3421780262], dtype=uint32)
    """
    stored = ids.astype(ids.dtype.newbyteorder("<"), copy=False)
    places = range(0, len(stored), SUMMED)
    return np.array([zlib.crc32(stored[k : k + SUMMED].tobytes()) for k in places], np.uint32)


class _Summed:
    """All ids of a file, the sums of those that were written there, and which of these have been compared."""

    def __init__(self, ids: Compact, sums: Sums) -> None:
        self.ids, self.sums, self.right = ids, sums, np.zeros(len(sums), np.bool_)

    def damaged(self, some: Any) -> range | None:
        """Return the places of the first ids that have another sum, among the sums at a slice or an array of places."""
        if self.right[some].all():
            return None
        for k in np.unique(np.arange(len(self.sums))[some]).tolist():
            first = k * SUMMED
            ids = self.ids[first : first + SUMMED]
            if not self.right[k] and sums_of(ids)[0] != self.sums[k]:
                return range(first, first + len(ids))
            self.right[k] = True
        return None


class MappedIds(np.memmap[Any, np.dtype[np.unsignedinteger[Any]]]):
    """Symbol ids below V in a file.

    What is picked out of them is checked, and is in memory; a slice of more than `BLOCK` is mapped as they are.

    Raises: CorpusError naming the file, the place in it and what it holds, when an id that is no symbol is picked, or
        one among others that are not what was written.
    """

    V = 0
    first = 0  # place of its first id in the file
    summed: _Summed | None = None

    @classmethod
    def of(cls, mapped: Compact, V: int, sums: Sums | None = None) -> MappedIds:
        """Return the ids of a file that is mapped, or empty, with the sums that they should have, if they are known."""
        ids = mapped.view(cls)
        ids.V, ids.summed = V, None if sums is None else _Summed(np.asarray(mapped), sums)
        return ids

    def check(self, key: Any) -> Compact:
        """Return the ids at a slice, at an array of places or at one place."""
        ids: Compact = np.asarray(self)[key]
        if ids.size and int(ids.max()) >= self.V:
            places = key if isinstance(key, np.ndarray) else range(len(self))[key]
            self._refuse(np.ravel(ids), self.first + np.ravel(places))
        if self.summed is not None and ids.size:
            damaged = self.summed.damaged(self._sums_at(key))
            if damaged is not None:
                self._refuse(self.summed.ids[damaged.start : damaged.stop], np.array(damaged))
        return ids

    def _sums_at(self, key: Any) -> Any:
        """Return which sums are those of ids at a slice, at an array of places or at one place."""
        if not isinstance(key, slice):
            return (self.first + np.ravel(key) % len(self)) // SUMMED
        places = range(len(self))[key]
        low, high = sorted((places[0], places[-1]))
        return slice((self.first + low) // SUMMED, (self.first + high) // SUMMED + 1)

    def _refuse(self, ids: Compact, places: npt.NDArray[np.integer[Any]]) -> NoReturn:
        """Raise the error of ids at places in the file, one of which was not written so."""
        wrong = int(np.argmax(ids >= self.V))
        said = f"place {places[wrong]:,} holds {ids[wrong]}, expected 0 to {self.V - 1}"
        if ids[wrong] < self.V:
            said = f"places {places[0]:,} to {places[-1]:,} do not hold what was written, by their sum"
        raise CorpusError(f"{self.filename}: damaged: {said}; prepare the corpus again")

    def __array_finalize__(self, whole: Any) -> None:
        super().__array_finalize__(whole)
        self.V, self.first = getattr(whole, "V", 0), getattr(whole, "first", 0)
        self.summed = getattr(whole, "summed", None)

    def __getitem__(self, key: Any) -> Any:
        if self.filename is None:  # not the file's own: a result of arithmetic, or empty
            return super().__getitem__(key)
        if isinstance(key, slice) and len(range(len(self))[key]) > BLOCK:
            part: Any = super().__getitem__(key)
            part.first += key.indices(len(self))[0]
            return part
        return self.check(key)
