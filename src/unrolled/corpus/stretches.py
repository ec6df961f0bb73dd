"""Data of any size in stretches: bytes of a source that are encoded by themselves, in several processes.

    unfinished/plan.json              the sources as they were, and the stretches into which they are divided
    unfinished/000012.ids, .json      a stretch in provisional ids, and their symbols

A stretch is whole once its .json is there, so what was interrupted goes on where it stopped; one that is damaged since
is encoded anew.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, replace
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec

from unrolled.config.data import DataConfig, Format
from unrolled.corpus import packed, records
from unrolled.corpus.encoding import Encoder, encode_records, encode_source, kind_or
from unrolled.corpus.packed import is_packed
from unrolled.corpus.prepared import File
from unrolled.corpus.reading import CorpusError, CorpusWarning, Source
from unrolled.corpus.splitting import BLOCK, counts
from unrolled.saved.atomic_files import (
    FORMAT_VERSION,
    CheckpointError,
    from_json,
    in_utf8,
    read_file,
    recorded,
    sha256,
    to_json,
    write_file,
    write_synced,
    writing,
)
from unrolled.saved.tokenizers import tokenizer

#: Bytes of a stretch, about.
STRETCH = 1 << 25

#: Called with the bytes that are encoded so far, and those of all sources; a source of unknown size counts 0.
Progress = Callable[[int, int], None]


class Stretch(msgspec.Struct, forbid_unknown_fields=True):
    """Bytes that are encoded together: of a source, or of several small ones that follow each other."""

    source: int
    start: int
    stop: int  # -1: all of the source, which cannot be divided
    last: bool  # of its source
    count: int = 1  # of sources


class Plan(msgspec.Struct, forbid_unknown_fields=True):
    """All stretches, and what they were planned from."""

    format_version: int
    sources: list[File]
    stretches: list[Stretch]
    data: dict[str, Any]


class Encoded(msgspec.Struct, forbid_unknown_fields=True):
    """A stretch in provisional ids, which lie beside it."""

    format_version: int
    sha256: str  # of the ids' own, and of this record with an empty one
    length: int
    symbols: list[str]
    often: list[int]  # each provisional id occurs
    starts: list[int]  # where sources begin in it
    kind: str
    warnings: list[str]


def plan_of(sources: list[Source], format: Format, config: DataConfig, scratch: Path) -> tuple[Plan, set[int]]:
    """Return how the sources are divided, and the stretches that an interrupted call has encoded already."""
    stretches = [
        *_grouped([each for k, source in enumerate(sources) for each in _divided(k, source, format, config)], sources)
    ]
    plan = Plan(FORMAT_VERSION, [*map(_as_file, sources)], stretches, asdict(config))
    file = scratch / "plan.json"
    if file.exists() and all(source.path for source in plan.sources):
        try:
            if from_json(read_file(file), Plan) == plan:
                return plan, {k for k in range(len(stretches)) if _is_whole(scratch, k)}
        except ValueError:  # damaged, so it is begun anew
            pass
    shutil.rmtree(scratch, ignore_errors=True)
    write_file(file, to_json(msgspec.to_builtins(plan)))
    return plan, set()


def _as_file(source: Source) -> File:
    if source.path is None or not source.path.is_file():
        return File("", 0, 0)
    now = source.path.stat()
    return File(recorded(source.path), now.st_size, now.st_mtime_ns)


def _divided(number: int, source: Source, format: Format, config: DataConfig) -> Iterator[Stretch]:
    """Yield the stretches of a source: from line end to line end where lines stand for themselves, else one."""
    by_lines = format == "jsonl" or (format == "text" and not config.separator)
    if source.path is None or not by_lines or not source.is_utf8 or source.stretch or not source.path.is_file():
        yield Stretch(number, 0, -1, True)
        return
    size, start = source.path.stat().st_size, 0
    with source.open() as stream:
        whole = is_packed(stream) and not tokenizer(kind_or("characters", config)).reads_bytes
    while not whole and size - start > 2 * STRETCH:
        stop = _line_end(source, start + STRETCH, size)
        if stop is None:
            break
        yield Stretch(number, start, stop, False)
        start = stop
    yield Stretch(number, start, -1 if start == 0 else size, True)


def _grouped(stretches: list[Stretch], sources: list[Source]) -> Iterator[Stretch]:
    """Yield the stretches, whole sources that are small together; what is packed is of unknown size."""
    group, size = None, 0
    for each in stretches:
        source = sources[each.source]
        small = (
            each.stop < 0 and 0 < source.size < STRETCH and source.path and source.path.suffix not in packed.SUFFIXES
        )
        if group and small and size + source.size <= STRETCH:
            group.count += 1
            size += source.size
            continue
        if group:
            yield group
        group, size = (each, source.size) if small else (None, 0)
        if not small:
            yield each
    if group:
        yield group


def _line_end(source: Source, start: int, size: int) -> int | None:
    """Return the position after the first line end from `start` on, or None if there is none."""
    with replace(source, stretch=(start, size)).open() as stream:
        while block := stream.read(BLOCK):
            found = block.find(b"\n")
            if found >= 0:
                return start + found + 1 if start + found + 1 < size else None
            start += len(block)
    return None


def encode(
    plan: Plan,
    done: set[int],
    sources: list[Source],
    format: Format,
    config: DataConfig,
    scratch: Path,
    processes: int,
    progress: Progress,
) -> None:
    """Encode the stretches that are left."""
    sizes = [_size(stretch, sources) for stretch in plan.stretches]
    finished, left = sum(sizes[k] for k in done), [k for k in range(len(sizes)) if k not in done]
    progress(finished, sum(sizes))
    encode = partial(_encode_stretch, plan.stretches, sources, format, config, scratch)
    for k in map(encode, left) if min(processes, len(left)) <= 1 else _side_by_side(encode, left, processes):
        finished += sizes[k]
        progress(finished, sum(sizes))


def _side_by_side(encode: Callable[[int], int], left: list[int], processes: int) -> Iterator[int]:
    with ProcessPoolExecutor(min(processes, len(left)), get_context("spawn"), _end_with_parent) as pool:
        try:
            yield from pool.map(encode, left)
        except BrokenProcessPool:
            raise CorpusError(
                "an encoding process was killed, most likely for lack of memory; the same command continues from here"
            ) from None


def _end_with_parent() -> None:
    """Let this process end when its parent does, however that ends: nobody is left to take what it encodes."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def _size(stretch: Stretch, sources: list[Source]) -> int:
    if stretch.stop >= 0:
        return stretch.stop - stretch.start
    return sum(source.size for source in _of_stretch(stretch, sources))


def _of_stretch(stretch: Stretch, sources: list[Source]) -> list[Source]:
    return sources[stretch.source : stretch.source + stretch.count]


def _encode_stretch(
    stretches: list[Stretch], sources: list[Source], format: Format, config: DataConfig, scratch: Path, number: int
) -> int:
    """Encode one stretch and write it; return its number."""
    stretch = stretches[number]
    group = _of_stretch(stretch, sources)
    if stretch.stop >= 0:
        group = [replace(group[0], stretch=(stretch.start, stretch.stop))]
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        if format == "text" and not config.separator:
            encoder, starts = _encode_text(group, stretch, len(sources) > 1, config)
        else:
            found = (
                (k, where, record)
                for k, source in enumerate(group)
                for where, record in records.records(source, format, config)
            )
            encoder, starts = encode_records(found, config)
    _write(scratch, number, encoder, starts, heard)
    return number


def _write(
    scratch: Path, number: int, encoder: Encoder, starts: list[int], heard: Sequence[warnings.WarningMessage]
) -> None:
    """Write what was encoded of a stretch; it is whole once its .json is there."""
    length, ids = encoder.length, encoder.ids()
    often = counts(ids, len(encoder.symbols) + 2).tolist()
    said = [in_utf8(str(each.message)) for each in heard if issubclass(each.category, CorpusWarning)]
    encoded = Encoded(FORMAT_VERSION, "", length, encoder.symbols, often, starts, encoder.tokenizer.kind, said)
    data = ids.astype(ids.dtype.newbyteorder("<"), copy=False).tobytes()
    encoded.sha256 = _sum(data, encoded)
    with writing(scratch):
        write_synced(scratch / f"{number:06}.ids", data)
    write_file(scratch / f"{number:06}.json", to_json(msgspec.to_builtins(encoded)))


def _sum(ids: bytes, encoded: Encoded) -> str:
    return sha256(sha256(ids).encode() + to_json(msgspec.to_builtins(encoded) | {"sha256": ""}))


def _is_whole(scratch: Path, number: int) -> bool:
    """Return whether a stretch is there, as it was written."""
    try:
        encoded = from_json(read_file(scratch / f"{number:06}.json"), Encoded)
        return encoded.sha256 == _sum(read_file(scratch / f"{number:06}.ids"), encoded)
    except (CheckpointError, ValueError):
        return False


def _encode_text(group: list[Source], stretch: Stretch, several: bool, config: DataConfig) -> tuple[Encoder, list[int]]:
    encoder, starts = Encoder(tokenizer(kind_or("characters", config)), lines=config.lines), []
    for source in group:
        if stretch.start == 0:
            starts.append(encoder.length)
        encode_source(encoder, source, config.nfc)
        if stretch.last and (config.lines or config.split_by == "file" or several):
            encoder.end()
    return encoder, starts


def encode_values(values: Iterable[object], config: DataConfig, scratch: Path, progress: Progress) -> Plan:
    """Encode what a program gives, one sequence after the other, in stretches; return their plan.

    Raises: CorpusError naming the number of the first value that is no sequence.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    with writing(scratch):
        scratch.mkdir(parents=True)
    stretches: list[Stretch] = []
    found = records.of_values(values, config.column)
    read = 0
    while some := [*_some(found)]:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            encoder, starts = encode_records(some, config)
        read += encoder.length
        _write(scratch, len(stretches), encoder, starts, heard)
        stretches.append(Stretch(0, 0, -1, True))
        progress(read, 0)
    return Plan(FORMAT_VERSION, [File("", 0, 0)], stretches, asdict(config))


def _some(found: Iterator[tuple[int, str, records.Record]]) -> Iterator[tuple[int, str, records.Record]]:
    """Yield the next records, about a stretch; a symbol of a list takes as much as several characters."""
    size = 0
    for each in found:
        yield each
        size += len(each[2]) * (1 if isinstance(each[2], str) else 8)
        if size >= STRETCH:
            return
