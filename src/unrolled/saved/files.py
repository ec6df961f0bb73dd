"""Files that a crash leaves whole: written under another name, synced, renamed; read with their sha256.

Loading runs no code.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError

FORMAT_VERSION = 1

Tensors = dict[str, npt.NDArray[Any]]
Parsed = TypeVar("Parsed")


class CheckpointError(Exception):
    """A file of a run cannot be read or written; the message names it, what is wrong, and what to do."""


class _Version(msgspec.Struct):
    format_version: int


def new_folder(folder: str | Path) -> Path:
    """Make the folder of a new run, before anything is spent on the run.

    Raises: CheckpointError if the folder holds anything already, or cannot be written to.
    """
    folder = Path(folder)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise CheckpointError(f"{folder}: the folder is not empty; name a new one, or resume the run that is there")
        with tempfile.TemporaryFile(dir=folder):
            return folder


def clear_folder(folder: str | Path) -> None:
    """Take away what a run wrote to the folder that :func:`new_folder` gave it, for it could not begin."""
    for entry in Path(folder).iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink()


def write_file(path: str | Path, data: bytes) -> None:
    """Write one file so that it is there whole or as it was; its folder is made if it is not there.

    Raises: CheckpointError if it cannot be written.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_files({path: data})


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write into one sentence."""
    try:
        yield
    except OSError as error:
        remedy = {
            errno.ENOSPC: "free some space, or name a folder on another disk",
            errno.EDQUOT: "free some space, or name a folder on another disk",
            errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
        }.get(error.errno or 0, "name a folder that you can write to")
        raise CheckpointError(f"{path}: cannot write: {error.strerror or error}; {remedy}") from error


def to_json(value: dict[str, Any]) -> bytes:
    """Return a value as UTF-8 JSON with a line end; finite numbers only."""
    return json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False).encode() + b"\n"


def sha256(data: bytes) -> str:
    """Return the sha256 of some bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def pack(tensors: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return arrays as the bytes of a safetensors file."""
    return safetensors.numpy.save({name: np.asarray(array, order="C") for name, array in tensors.items()})


def write_synced(path: Path, data: bytes) -> None:
    """Write one file and wait until it is on disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Wait until a file or folder is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_files(files: dict[Path, bytes]) -> None:
    """Write files of one folder, all of them under other names first; renamed in this order."""
    staged = {path: path.with_name(f".{path.name}.unfinished") for path in files}
    try:
        for path, data in files.items():
            write_synced(staged[path], data)
        for path in files:
            staged[path].replace(path)
    finally:
        for stage in staged.values():
            stage.unlink(missing_ok=True)
    sync(next(iter(files)).parent)


def read_file(path: Path) -> bytes:
    """Return the bytes of a file of a run; CheckpointError if there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: the file is missing; the run is not whole") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read: {error.strerror}") from None


def parse(path: Path, data: bytes, kind: type[Parsed]) -> Parsed:
    """Return the struct in a JSON file; CheckpointError naming the file if it is damaged or of another version."""
    try:
        version = msgspec.json.decode(data, type=_Version).format_version
        if version != FORMAT_VERSION:
            raise CheckpointError(f"{path}: format version {version}; this release reads {FORMAT_VERSION}")
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: damaged, or written by something else: {error}") from None


def check_sum(path: Path, data: bytes, expected: str | None) -> None:
    """Refuse bytes whose sha256 is not the expected one: CheckpointError naming the file."""
    if sha256(data) != expected:
        raise CheckpointError(
            f"{path}: damaged, or of another save: its sha256 begins {sha256(data)[:12]}, "
            f"expected {(expected or 'none')[:12]}; restore the folder from a copy, or train the model again"
        )


def unpack(path: Path, expected: str | None) -> Tensors:
    """Return the arrays of a safetensors file with this sha256; CheckpointError naming the file if it is damaged."""
    data = read_file(path)
    check_sum(path, data, expected)
    try:
        return safetensors.numpy.load(data)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: damaged, or no safetensors file: {error}") from None
