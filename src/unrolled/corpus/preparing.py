"""Prepares a corpus on disk from data of any size, in several processes, in memory that does not grow with the data.

The data is encoded stretch by stretch; then the symbols of all stretches are counted, and their ids are written once
more, in those of the vocabulary, to the files of the splits.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from unrolled.config.checks import PositiveInt, check_value
from unrolled.config.data import DataConfig
from unrolled.corpus import finding, prepared, records
from unrolled.corpus.encoding import END, Compact, kind_or
from unrolled.corpus.finding import UNFINISHED
from unrolled.corpus.mapped import Sums, sums_of
from unrolled.corpus.numbering import (
    Known,
    assigned,
    check_lengths,
    final_ids,
    fingerprint,
    first_counts,
    vocabulary_of,
)
from unrolled.corpus.prepared import SPLITS, Index, PreparedPart
from unrolled.corpus.reading import CorpusError, CorpusWarning
from unrolled.corpus.splitting import BLOCK, Assignment, Positions, counts
from unrolled.corpus.stretches import Encoded, Plan, Progress, encode, encode_values, plan_of
from unrolled.saved.atomic_files import (
    FORMAT_VERSION,
    from_json,
    read_file,
    sha256,
    to_json,
    write_file,
    write_synced,
    writing,
)
from unrolled.saved.checkpoints import PREPARED, refuse_other
from unrolled.saved.lock import only_writer
from unrolled.saved.tokenizers import tokenizer
from unrolled.words import counted

#: The code of data that goes to no split: the third is test.
NO_SPLIT = 3


def prepare(
    data: str | Path | Sequence[str | Path] | Iterable[object],
    folder: str | Path,
    config: DataConfig | None = None,
    *,
    processes: int = 1,
    progress: Progress | None = None,
    **changes: Any,
) -> None:
    """Encode data of any size into a folder, which `Corpus.read` maps into memory.

    The corpus is identical, to the last id, to the one that `Corpus.read` makes from the data itself.  After an
    interruption, the same call continues where it stopped.

    Args:
        data: what to read, as for :meth:`unrolled.corpus.Corpus.read`; standard input is read from its beginning.  Or
            an iterator of sequences, as :meth:`unrolled.corpus.Corpus.from_sequences` takes them, such as a data set of
            the Hugging Face library with `column`; it is read once, from its beginning, in one process.
        folder: for the prepared corpus; made if need be.
        config: how to read and split the data.
        processes: how many encode in parallel.
        progress: called with the bytes that are encoded so far, and with those of all the data.
        changes: fields of the config to change.

    Raises: CorpusError if the data cannot be read as the config says, or a split would be empty; CheckpointError if the
        folder cannot be written, or another process is writing to it.

    >>> from unrolled.corpus import Corpus
    >>> _ = Path("rhyme.txt").write_text("so long lives this " * 50)
    >>> prepare("rhyme.txt", "rhyme")
    >>> Corpus.read("rhyme").fingerprint == Corpus.read("rhyme.txt").fingerprint
    True
    """
    check_value("processes", processes, PositiveInt)
    config, folder = replace(config or DataConfig(), **changes), Path(folder)
    told = progress or (lambda *_: None)
    if isinstance(data, str | Path | Sequence):
        sources = finding.find_sources(data, config.include, config.encoding)
        if not tokenizer(kind_or("characters", config)).reads_bytes:
            sources = finding.text_only(sources)
        format = records.format_of(sources, config)
    refuse_other(folder, PREPARED)
    with writing(folder), only_writer(folder):
        if prepared.is_prepared(folder):
            shutil.rmtree(folder / UNFINISHED, ignore_errors=True)  # of a process that was killed at its very end
            raise CorpusError(f"{folder}: a prepared corpus is already there; name another folder, or remove it")
        if not isinstance(data, str | Path | Sequence):
            plan = encode_values(data, config, folder / UNFINISHED, told)
            _finish(plan, "sequences in memory", False, config, folder)
            return
        plan, done = plan_of(sources, format, config, folder / UNFINISHED)
        encode(plan, done, sources, format, config, folder / UNFINISHED, processes, told)
        inputs = str(sources[0]) if len(sources) == 1 else counted(len(sources), "file")
        stream = format == "text" and not (config.lines or config.separator)
        _finish(plan, inputs, stream, config, folder)


def read_blocks(file: Path, dtype: np.dtype[Any]) -> Iterator[Compact]:
    """Yield the ids of a file in blocks; mapped into memory, they would count as the process's own."""
    with file.open("rb") as stream:
        while len(block := np.fromfile(stream, dtype.newbyteorder("<"), BLOCK)):
            yield block


class _Ids(NamedTuple):
    """The ids of one stretch, on disk, and what its provisional ids are among those of all."""

    file: Path
    first: int  # position of its first id in the data
    length: int
    often: list[int]  # each of its provisional ids occurs
    among_all: Compact

    def blocks(self) -> Iterator[tuple[int, Compact]]:
        """Yield the position of some of its ids in the data, and these among those of all."""
        first = self.first
        for block in read_blocks(self.file, np.min_scalar_type(len(self.among_all) - 1)):
            yield first, self.among_all[block]
            first += len(block)


class _All(NamedTuple):
    """The data in provisional ids."""

    stretches: list[_Ids]
    symbols: list[str]
    file_starts: Positions
    length: int
    kind: str

    def blocks(self) -> Iterator[tuple[int, Compact]]:
        """Yield the position of some ids in the data, and these."""
        return chain.from_iterable(stretch.blocks() for stretch in self.stretches)

    def often(self, places: _Places) -> npt.NDArray[np.int64]:
        """Return how often each provisional id occurs in training."""
        often = np.zeros(len(self.symbols) + 2, np.int64)
        for stretch in self.stretches:
            code = places.only(stretch.first, stretch.length)
            if code == 0:
                often[stretch.among_all] += stretch.often
            elif code is None:
                for first, ids in stretch.blocks():
                    often += counts(ids[places.codes(first, len(ids)) == 0], len(often))
        return often

    def sequence_starts(self) -> Positions:
        """Return where sequences may begin: at 0 and after each END."""
        found = [np.flatnonzero(ids == END) + 1 + first for first, ids in self.blocks()]
        return np.concatenate([np.zeros(1, np.int64), *found])


def _gathered(plan: Plan, scratch: Path, inputs: str, config: DataConfig) -> _All:
    """Return all stretches as one; their warnings are given now."""
    id_of: dict[str, int] = {}
    kinds: dict[str, str] = {}  # of symbols, and a file of each
    stretches, starts, length, begun, said = [], [], 0, set(), []
    for number, stretch in enumerate(plan.stretches):
        encoded = from_json(read_file(scratch / f"{number:06}.json"), Encoded)
        ids = [END, 1, *(id_of.setdefault(symbol, len(id_of) + 2) for symbol in encoded.symbols)]
        stretches.append(
            _Ids(scratch / f"{number:06}.ids", length, encoded.length, encoded.often, np.array(ids, np.uint32))
        )
        own = (
            [] if stretch.source in begun else encoded.starts[: stretch.count]
        )  # a file of several stretches begins once
        starts += [length + start for start in own]
        begun |= {stretch.source} if own else set()
        if encoded.length:
            kinds.setdefault(encoded.kind, plan.sources[stretch.source].path)
        said += encoded.warnings
        length += encoded.length
    for warning in dict.fromkeys(said):
        warnings.warn(warning, CorpusWarning, stacklevel=5)
    if len(kinds) > 1:
        found = " and ".join(f"{kind} in {path}" for kind, path in kinds.items())
        raise CorpusError(f"{inputs}: texts and lists of symbols are mixed ({found}); use one of them")
    smallest = np.min_scalar_type(len(id_of) + 1)
    stretches = [each._replace(among_all=each.among_all.astype(smallest)) for each in stretches]
    kind = next(iter(kinds), kind_or("characters", config))
    return _All(stretches, [*id_of], np.array(starts, np.int64), length, kind)


class _Places(NamedTuple):
    """Where the split changes in the data: from `starts[k]` on it is that of `code[k]`."""

    starts: Positions
    code: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, units: Assignment) -> _Places:
        """Return the places of assigned units; what lies between them is in no split."""
        starts, ends = np.concatenate(units.starts), np.concatenate(units.starts) + np.concatenate(units.lengths)
        code = np.repeat(np.arange(3, dtype=np.uint8), [len(each) for each in units.starts])
        order = np.argsort(starts, kind="stable")
        order = order[ends[order] > starts[order]]
        places = np.stack([starts[order], ends[order]], axis=1).ravel()
        codes = np.stack([code[order], np.full(len(order), NO_SPLIT, np.uint8)], axis=1).ravel()
        return cls(np.concatenate([[-1], places]), np.concatenate([np.array([NO_SPLIT], np.uint8), codes]))

    def only(self, first: int, n: int) -> int | None:
        """Return the code of n ids from a position on, or None if they have several."""
        begin, end = np.searchsorted(self.starts, [first, first + max(n, 1) - 1], side="right") - 1
        return int(self.code[begin]) if begin == end else None

    def codes(self, first: int, n: int) -> npt.NDArray[np.uint8]:
        """Return the code of the split of each of n ids from a position on, (n,)."""
        begin, end = np.searchsorted(self.starts, [first, first + n - 1], side="right") - 1
        bounds = np.clip(np.append(self.starts[begin : end + 1], first + n), first, first + n)
        if end + 1 < len(self.starts):
            bounds[-1] = min(first + n, int(self.starts[end + 1]))
        return np.repeat(self.code[begin : end + 1], np.diff(bounds))


class _Written:
    """A split while it is written."""

    def __init__(self, stem: Path, lengths: Positions, stream: bool, V: int):
        self._ids, self._ends_file = stem.with_suffix(".ids").open("wb"), None if stream else stem.with_suffix(".ends")
        self._ends = np.cumsum(lengths)  # of its sequences, among provisional ids
        self._read = self._symbols = self._ended = 0  # provisional ids, final ones, and sequences so far
        self.often = np.zeros(V, np.int64)  # each symbol occurs

    def write(self, ids: Compact, final: Compact, lengths: Positions) -> None:
        """Append provisional ids as final ones."""
        if (lengths == 1).all():
            after, ends = final[ids], None
        else:
            ends = np.cumsum(lengths[ids])
            first = (np.cumsum(lengths) - lengths)[ids]  # where the final ids of each symbol begin
            after = final[
                np.repeat(first - ends + lengths[ids], lengths[ids]) + np.arange(ends[-1] if len(ends) else 0)
            ]
        if ends is not None:  # a sequence ends where the final ids of its last symbol do
            left = self._ends[self._ended :]  # those before are of final ids already
            inside = slice(self._ended, self._ended + int(np.searchsorted(left, self._read + len(ids), side="right")))
            self._ended = inside.stop
            self._ends[inside] = self._symbols + ends[self._ends[inside] - self._read - 1]
        self._read += len(ids)
        self._symbols += len(after)
        self.often += counts(after, len(self.often))
        self._ids.write(after.astype(after.dtype.newbyteorder("<"), copy=False).tobytes())

    def finish(self, unknown: int) -> PreparedPart:
        """Write what is left to disk, and return what the split holds."""
        self._ids.flush()
        os.fsync(self._ids.fileno())
        self.close()
        unknowns, ends = int(self.often[unknown]), self._ends.astype("<i8").tobytes()
        if self._ends_file is None:
            return PreparedPart(self._symbols, int(self._symbols > 0), unknowns)
        write_synced(self._ends_file, ends)
        return PreparedPart(self._symbols, len(self._ends), unknowns, ends=sha256(ends))

    def close(self) -> None:
        """Close the file of ids, finished or not."""
        self._ids.close()


def _summing(blocks: Iterator[Compact], sums: list[Sums]) -> Iterator[Compact]:
    """Yield blocks of ids, and append the sums of each."""
    for block in blocks:
        sums.append(sums_of(block))
        yield block


def _sequences_of_files(found: _All, files: Assignment) -> Assignment:
    """Return the sequences of assigned files, each in the split of its file."""
    starts = found.sequence_starts()
    lengths = np.diff(np.append(starts, found.length))
    codes = _Places.of(files)
    code = codes.code[np.searchsorted(codes.starts, starts, side="right") - 1]
    kept = [(code == k) & (lengths > 1) for k in range(3)]  # a lone EOS is dropped
    return Assignment([starts[each] for each in kept], [lengths[each] for each in kept], files.split)


def _finish(plan: Plan, inputs: str, stream: bool, config: DataConfig, folder: Path) -> None:
    """Count, number and write what was encoded."""
    scratch = folder / UNFINISHED
    found = _gathered(plan, scratch, inputs, config)
    units = assigned(found.length, found.file_starts, found.sequence_starts, stream, config, inputs)
    if not stream:
        units = _sequences_of_files(found, units) if units.split.unit == "files" else units
        check_lengths(max(int(lengths.max(initial=0)) for lengths in units.lengths), inputs)
    places = _Places.of(units)
    often = found.often(places)[2:]
    vocabulary, _ = vocabulary_of(tokenizer(found.kind), found.symbols, often, config, Known(), stream, inputs)
    final, lengths = final_ids(vocabulary, found.symbols)
    with ExitStack() as files:
        written = [
            files.enter_context(closing(_Written(scratch / name, units.lengths[k], stream, len(vocabulary))))
            for k, name in enumerate(SPLITS)
        ]
        for first, ids in found.blocks():
            only = places.only(first, len(ids))
            codes = places.codes(first, len(ids)) if only is None else None
            for k, part in enumerate(written):
                if only == k or codes is not None:
                    part.write(ids if codes is None else ids[codes == k], final, lengths)
        parts = {name: part.finish(vocabulary.unk_id) for name, part in zip(SPLITS, written, strict=True)}
    for name in SPLITS:
        for file in scratch.glob(f"{name}.*"):
            file.replace(folder / file.name)
    write_file(folder / "vocabulary.json", vocabulary.to_json())
    index = Index(
        format_version=FORMAT_VERSION,
        vocabulary=sha256(vocabulary.to_json()),
        fingerprint="",
        stream=stream,
        data=asdict(config),
        split=units.split.of_symbols(*(parts[name].symbols for name in SPLITS)),
        sources=plan.sources,
        parts=parts,
        first=[],
    )
    dtype = np.min_scalar_type(len(vocabulary) - 1)
    mapped = [prepared.map_part(folder, name, index, len(vocabulary)) for name in SPLITS]
    sums: dict[str, list[Sums]] = {name: [] for name in SPLITS}
    read = (
        (part.offsets, _summing(read_blocks(folder / f"{name}.ids", dtype), sums[name]))
        for name, part in zip(SPLITS, mapped, strict=True)
    )
    index.fingerprint = fingerprint(vocabulary, read)
    for name in SPLITS:
        summed = np.concatenate([np.empty(0, np.uint32), *sums[name]]).astype("<u4").tobytes()
        write_file(folder / f"{name}.sums", summed)
        parts[name].sums = sha256(summed)
    begins = written[0].often if stream else first_counts(mapped[0], stream, len(vocabulary))
    index.first = begins.tolist()
    write_file(folder / PREPARED, to_json(msgspec.to_builtins(index)))
    shutil.rmtree(scratch)
