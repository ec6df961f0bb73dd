"""Ids in a file that is mapped into memory: checked where they are picked out of it, because to read all takes long."""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.corpus.encoding import Compact
from unrolled.corpus.reading import CorpusError
from unrolled.corpus.splitting import BLOCK


class MappedIds(np.memmap[Any, np.dtype[np.unsignedinteger[Any]]]):
    """Symbol ids below V in a file.

    What is picked out of them is checked, and is in memory; a slice of more than `BLOCK` is mapped as they are.

    Raises: CorpusError naming the file, the place in it and what it holds, when an id that is no symbol is picked.
    """

    V = 0
    first = 0  # place of its first id in the file

    @classmethod
    def of(cls, mapped: Compact, V: int) -> MappedIds:
        """Return the ids of a file that is mapped, or empty."""
        ids = mapped.view(cls)
        ids.V = V
        return ids

    def check(self, key: Any) -> Compact:
        """Return the ids at a slice, at an array of places or at one place."""
        ids: Compact = np.asarray(self)[key]
        if ids.size and int(ids.max()) >= self.V:
            wrong = int(np.argmax(ids >= self.V))
            places = np.ravel(key if isinstance(key, np.ndarray) else range(len(self))[key])
            raise CorpusError(
                f"{self.filename}: damaged: place {self.first + int(places[wrong]):,} holds {int(ids.flat[wrong])}, "
                f"expected 0 to {self.V - 1}; prepare the corpus again"
            )
        return ids

    def __array_finalize__(self, whole: Any) -> None:
        super().__array_finalize__(whole)
        self.V, self.first = getattr(whole, "V", 0), getattr(whole, "first", 0)

    def __getitem__(self, key: Any) -> Any:
        if self.filename is None:  # not the file's own: a result of arithmetic, or empty
            return super().__getitem__(key)
        if isinstance(key, slice) and len(range(len(self))[key]) > BLOCK:
            part: Any = super().__getitem__(key)
            part.first += key.indices(len(self))[0]
            return part
        return self.check(key)
