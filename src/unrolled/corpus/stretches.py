"""Data of any size in stretches: bytes of a source that are encoded by themselves, in several processes.

    unfinished/plan.json              the sources as they were, and the stretches into which they are divided
    unfinished/000012.ids, .json      a stretch in provisional ids, and their symbols

A stretch is whole once its .json is there, so what was interrupted goes on where it stopped.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec

from unrolled.config.data import DataConfig, Format
from unrolled.corpus import reading, records
from unrolled.corpus.encoding import Encoder, encode_records, kind_or
from unrolled.corpus.packed import is_packed
from unrolled.corpus.prepared import File
from unrolled.corpus.reading import CorpusError, CorpusWarning, Source
from unrolled.corpus.splitting import BLOCK, counts
from unrolled.saved.atomic_files import (
    FORMAT_VERSION,
    from_json,
    read_file,
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
    """Bytes of a source that are encoded together."""

    source: int
    start: int
    stop: int  # -1: all of the source, which cannot be divided
    last: bool  # of its source


class Plan(msgspec.Struct, forbid_unknown_fields=True):
    """All stretches, and what they were planned from."""

    format_version: int
    sources: list[File]
    stretches: list[Stretch]
    data: dict[str, Any]


class Encoded(msgspec.Struct, forbid_unknown_fields=True):
    """A stretch in provisional ids, which lie beside it."""

    format_version: int
    length: int
    symbols: list[str]
    often: list[int]  # each provisional id occurs
    starts: list[int]  # where sources begin in it
    kind: str
    warnings: list[str]


def plan_of(sources: list[Source], format: Format, config: DataConfig, scratch: Path) -> tuple[Plan, set[int]]:
    """Return how the sources are divided, and the stretches that an interrupted call has encoded already."""
    stretches = [each for k, source in enumerate(sources) for each in _divided(k, source, format, config)]
    plan = Plan(FORMAT_VERSION, [*map(_as_file, sources)], stretches, asdict(config))
    file = scratch / "plan.json"
    if file.exists() and all(source.path for source in plan.sources):
        try:
            if from_json(read_file(file), Plan) == plan:
                return plan, {int(found.stem) for found in scratch.glob("*.json") if found.stem.isdecimal()}
        except ValueError:  # damaged, so it is begun anew
            pass
    shutil.rmtree(scratch, ignore_errors=True)
    write_file(file, to_json(msgspec.to_builtins(plan)))
    return plan, set()


def _as_file(source: Source) -> File:
    if source.path is None or not source.path.is_file():
        return File("", 0, 0)
    now = source.path.stat()
    return File(str(source.path.resolve()), now.st_size, now.st_mtime_ns)


def _divided(number: int, source: Source, format: Format, config: DataConfig) -> Iterator[Stretch]:
    """Yield the stretches of a source: from line end to line end where lines stand for themselves, else one."""
    by_lines = format == "jsonl" or (format == "text" and not config.separator)
    if source.path is None or not by_lines or not source.is_utf8 or not source.path.is_file():
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
    sizes = [_size(stretch, plan) for stretch in plan.stretches]
    finished, left = sum(sizes[k] for k in done), [k for k in range(len(sizes)) if k not in done]
    progress(finished, sum(sizes))
    encode = partial(_encode_stretch, plan.stretches, sources, format, config, scratch)
    for k in map(encode, left) if min(processes, len(left)) <= 1 else _side_by_side(encode, left, processes):
        finished += sizes[k]
        progress(finished, sum(sizes))


def _side_by_side(encode: Callable[[int], int], left: list[int], processes: int) -> Iterator[int]:
    with ProcessPoolExecutor(min(processes, len(left)), get_context("spawn")) as pool:
        try:
            yield from pool.map(encode, left)
        except BrokenProcessPool:
            raise CorpusError(
                "a process that encodes was killed, most likely for want of memory; the same command goes on from here"
            ) from None


def _size(stretch: Stretch, plan: Plan) -> int:
    return (plan.sources[stretch.source].size if stretch.stop < 0 else stretch.stop) - stretch.start


def _encode_stretch(
    stretches: list[Stretch], sources: list[Source], format: Format, config: DataConfig, scratch: Path, number: int
) -> int:
    """Encode one stretch and write it; return its number."""
    stretch = stretches[number]
    source = sources[stretch.source]
    if stretch.stop >= 0:
        source = replace(source, stretch=(stretch.start, stretch.stop))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        if format == "text" and not config.separator:
            encoder, starts = _encode_text(source, stretch, len(sources) > 1, config)
        else:
            found = ((0, where, record) for where, record in records.records(source, format, config))
            encoder, starts = encode_records(found, config)
    length, ids = encoder.length, encoder.ids()
    often = counts(ids, len(encoder.symbols) + 2).tolist()
    said = [str(each.message) for each in heard if issubclass(each.category, CorpusWarning)]
    encoded = Encoded(FORMAT_VERSION, length, encoder.symbols, often, starts, encoder.tokenizer.kind, said)
    with writing(scratch):
        write_synced(scratch / f"{number:06}.ids", ids.astype(ids.dtype.newbyteorder("<"), copy=False).tobytes())
    write_file(scratch / f"{number:06}.json", to_json(msgspec.to_builtins(encoded)))
    return number


def _encode_text(source: Source, stretch: Stretch, several: bool, config: DataConfig) -> tuple[Encoder, list[int]]:
    encoder = Encoder(tokenizer(kind_or("characters", config)), lines=config.lines)
    for block in reading.blocks(source, encoder.tokenizer, config.nfc):
        try:
            encoder.text(block)
        except CorpusError as error:
            raise CorpusError(f"{source}: {error}") from None
    if stretch.last and (config.lines or config.split_by == "file" or several):
        encoder.end()
    return encoder, [0] if stretch.start == 0 else []
