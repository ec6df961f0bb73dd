"""A prepared corpus: ids in files that are mapped into memory, for data that is larger than memory.

    corpus.json                                 what the folder holds, and the sha256 of vocabulary.json
    vocabulary.json
    train.ids  validation.ids  test.ids         ids, little-endian, of the smallest unsigned type that holds V
    train.ends  validation.ends  test.ends      where each sequence ends, int64, little-endian; not of a stream
    train.sums  validation.sums  test.sums      the CRC-32 of each 65,536 ids, uint32, little-endian

corpus.json is written last, so a folder without it is one that is not finished.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from unrolled.config.data import DataConfig
from unrolled.config.options import option
from unrolled.corpus.encoding import Compact
from unrolled.corpus.mapped import SUMMED, MappedIds, Sums
from unrolled.corpus.reading import CorpusError, CorpusWarning
from unrolled.corpus.splitting import BLOCK, Sequences, Split, as_stream
from unrolled.saved.atomic_files import CheckpointError, parse, read_file, read_whole, sha256
from unrolled.saved.checkpoints import PREPARED
from unrolled.saved.vocabulary import Vocabulary
from unrolled.words import counted

SPLITS = ("train", "validation", "test")
#: Ids of a split that are checked when it is mapped, from its beginning, its end and between; the others when read.
CHECKED = 1 << 24


class PreparedPart(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A split: its symbols, its sequences, how many symbols are UNK, and the sha256 of its sums and of its ends.

    A folder of version 0.1 has neither; a stream has no ends.
    """

    symbols: int
    sequences: int
    unknown: int
    sums: str = ""
    ends: str = ""


class File(msgspec.Struct, forbid_unknown_fields=True):
    """A file that the data came from, as it was then; of standard input the path is empty."""

    path: str
    size: int
    modified: int  # nanoseconds since 1970

    def changed(self) -> bool:
        """Return whether the file is there and is another."""
        try:
            now = Path(self.path).stat()
        except (OSError, ValueError):  # it need not be kept; a name with NUL is none
            return False
        return bool(self.path) and (now.st_size, now.st_mtime_ns) != (self.size, self.modified)


class Index(msgspec.Struct, forbid_unknown_fields=True):
    """What corpus.json holds."""

    format_version: int
    vocabulary: str  # sha256 of vocabulary.json
    fingerprint: str
    stream: bool
    data: dict[str, Any]  # how it was read: a DataConfig
    split: Split
    sources: list[File]
    parts: dict[str, PreparedPart]
    first: list[int]  # how often each symbol begins a sequence of train, or occurs in its stream

    def counts_agree(self) -> bool:
        """Return whether no count is negative or above what holds what is counted."""
        parts = self.parts.values()
        inside = all(0 <= n <= part.symbols for part in parts for n in (part.sequences, part.unknown))
        return inside and all(0 <= n <= self.parts["train"].symbols for n in self.first)


def is_prepared(folder: str | Path) -> bool:
    """Return whether a folder is a prepared corpus."""
    return (Path(folder) / PREPARED).is_file()


def read_index(folder: Path) -> tuple[Index, Vocabulary]:
    """Return the index and the vocabulary of a prepared corpus.

    Raises: CorpusError naming the file, and what is missing, damaged or out of range.
    """
    try:
        file = folder / PREPARED
        index = parse(file, read_file(file), Index)
        vocabulary = Vocabulary.from_json(read_whole(folder / "vocabulary.json", index.vocabulary))
    except (CheckpointError, ValueError) as error:
        raise CorpusError(f"{error}; prepare the corpus again") from None
    if index.parts.keys() != {*SPLITS} or len(index.first) != len(vocabulary) or not index.counts_agree():
        raise CorpusError(f"{file}: damaged: its parts or counts are not those of its vocabulary; prepare it again")
    if changed := [source.path for source in index.sources if source.changed()]:
        said = f"changed since {folder} was prepared from it: {changed[0]}"
        more = f" and {len(changed) - 1:,} more" if len(changed) > 1 else ""
        warnings.warn(f"{said}{more}; prepare the corpus again to have it as it is now", CorpusWarning, stacklevel=4)
    return index, vocabulary


def check_config(folder: Path, index: Index, config: DataConfig) -> None:
    """Refuse options that would read the data in another way than that in which it was prepared.

    Raises: CorpusError naming the folder and the first such option.
    """
    for name, plain in asdict(DataConfig()).items():
        asked, was = getattr(config, name), index.data.get(name, plain)
        if asked not in (plain, was):
            remedy = "prepare the data again with it, or leave it out"
            raise CorpusError(f"{folder}: prepared with {option(name, was)}, not with {option(name, asked)}; {remedy}")


def map_part(folder: Path, name: str, index: Index, V: int) -> Sequences:
    """Return a split of a prepared corpus, mapped into memory.

    Raises: CorpusError naming the file if it is missing, has another size, or holds other ids than were written: at
        once where a sample shows it, else when they are read.
    """
    part = index.parts[name]
    mapped = _mapped(folder / f"{name}.ids", np.min_scalar_type(V - 1), part.symbols)
    ids = MappedIds.of(mapped, V, _summed(folder / f"{name}.sums", part.sums, -(-part.symbols // SUMMED)))
    for start in np.linspace(0, max(0, len(ids) - BLOCK), max(1, CHECKED // BLOCK), dtype=np.int64):
        ids.check(slice(start, start + BLOCK))
    if index.stream:
        return as_stream(ids)
    ends = _mapped(folder / f"{name}.ends", np.dtype("<i8"), part.sequences)
    _check_sum(folder / f"{name}.ends", np.ascontiguousarray(ends), part.ends)
    offsets = np.concatenate([np.zeros(1, np.int64), ends])
    if (offsets[1:] <= offsets[:-1]).any() or offsets[-1] != len(ids):
        raise CorpusError(f"{folder / name}.ends: damaged: the sequences do not follow each other; prepare it again")
    return Sequences(ids, offsets)


def _summed(file: Path, expected: str, length: int) -> Sums | None:
    """Return the sums of a split; None if it was prepared without."""
    if not expected:
        return None
    sums = np.array(_mapped(file, np.dtype(np.uint32), length))
    _check_sum(file, sums, expected)
    return sums


def _check_sum(file: Path, data: Any, expected: str) -> None:
    if expected and sha256(data) != expected:
        raise CorpusError(f"{file}: damaged: it does not hold what was written, by its sum; prepare the corpus again")


def _mapped(file: Path, dtype: np.dtype[Any], length: int) -> Compact:
    try:
        size = file.stat().st_size
    except OSError as error:
        raise CorpusError(f"{file}: cannot read: {error.strerror}; prepare the corpus again") from None
    if size != length * dtype.itemsize:
        expected = f"expected {length * dtype.itemsize:,} for {counted(length, 'number')}"
        raise CorpusError(f"{file}: has {counted(size, 'byte')}, {expected}; prepare the corpus again")
    return np.memmap(file, dtype.newbyteorder("<"), "r", shape=(length,)) if length else np.empty(0, dtype)
