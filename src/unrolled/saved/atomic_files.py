"""Atomic files: after a crash a file is there whole or as it was before; a damaged one is found by its sha256.

Data goes to a temporary file first, which is synced to disk and then renamed.  Files that belong together are replaced
by one rename, that of the file which holds the sums of the others.  Reading a file runs no code.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import stat
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError

from unrolled.words import one_line

#: Of every JSON file that is written; a file of another version is refused.
FORMAT_VERSION = 1
#: The types of safetensors by numpy's, in the order in which the library writes them.
_KINDS = {
    "u8": "U64", "i8": "I64", "f8": "F64", "c8": "C64", "f4": "F32", "u4": "U32", "i4": "I32", "f2": "F16", "u2": "U16",
    "i2": "I16", "i1": "I8", "u1": "U8", "b1": "BOOL",
}  # fmt: skip
#: Bytes of a file's name at most that stands in that of the file which will replace it; file systems take 255.
LONGEST = 240

Tensors = dict[str, npt.NDArray[Any]]
Buffer = bytes | memoryview
Parsed = TypeVar("Parsed")
Loaded = TypeVar("Loaded")


class CheckpointError(Exception):
    """A file of a run cannot be read or written; the message says which one, what is wrong and what to do."""

    def __init__(self, said: str) -> None:
        super().__init__(one_line(said))


class _Version(msgspec.Struct):
    format_version: int


def write_file(path: str | Path, data: bytes) -> None:
    """Write one file as :func:`write_whole`; its folder is created if need be."""
    with writing(Path(path)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data)


def write_whole(path: str | Path, data: bytes) -> None:
    """Write one file atomically, in a folder that is there.

    A link stays one, and what it leads to is written; a pipe or a device is written to as it is.

    Raises: CheckpointError if it cannot be written.
    """
    path = Path(path)
    with writing(path):
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_bytes(data)
        else:
            replace_files({Path(os.path.realpath(path)): data})


def replace_files(files: dict[Path, bytes]) -> None:
    """Replace files of one folder together, by one rename, that of the last.

    The last holds the sha256 of the others.  These lie beside their places before that rename and move into them after
    it; :func:`read_whole` finds them at either.  Another process that writes the last one too waits.
    """
    *others, last = files
    staged = {path: beside(path, sha256(files[path])) for path in others}
    staged[last] = _before(last)
    with _only_one(staged[last]):
        _replace(files, staged)


def _replace(files: dict[Path, bytes], staged: dict[Path, Path]) -> None:
    *others, last = files
    written = [path for path in files if path == last or _read_if_there(staged[path]) != files[path]]
    try:
        for path in written:
            write_synced(staged[path], files[path], as_open_as=path)
        if others:
            sync(last.parent)
        staged[last].replace(last)
    except (OSError, CheckpointError):
        for path in written:
            staged[path].unlink(missing_ok=True)
        raise
    sync(last.parent)
    for path in others:
        staged[path].replace(path)
        for left in path.parent.glob(beside(path, "*").name):  # by saves that were interrupted
            left.unlink()


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold a file that only one process writes at a time, and renames; it is made if need be."""
    while True:
        file = open_own(path, os.O_WRONLY | os.O_CREAT)
        try:
            with suppress(OSError):  # not every file system has locks
                fcntl.flock(file, fcntl.LOCK_EX)
            if in_place(path, file):
                yield
                return
        finally:
            os.close(file)


def in_place(path: Path, file: int) -> bool:
    """Return whether an open file is the one of this name, which another process may have moved or removed."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except OSError:
        return False


def _before(path: Path) -> Path:
    """Return where a file lies before it moves into its place, also where a longer name would be too long."""
    name = path.name if len(os.fsencode(path.name)) <= LONGEST else sha256(os.fsencode(path.name))
    return path.with_name(f".{name}.unfinished")


def beside(path: Path, sum: str) -> Path:
    """Return where a file with this sha256 lies before it moves into its place."""
    return path.with_name(f".{path.name}.{sum[:16]}.unfinished")


def open_own(path: Path, flags: int) -> int:
    """Open a file that is only this package's to write; no link in its place is followed, and no pipe waited for.

    Raises: CheckpointError if what is in its place is no file.
    """
    if path.is_symlink():
        raise CheckpointError(f"{path}: is a link, expected a file; remove it")
    file = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise CheckpointError(f"{path}: is a pipe or a device, expected a file; remove it")
    return file


def write_synced(path: Path, *data: Buffer, as_open_as: Path | None = None) -> None:
    """Write one file and wait until it is on disk.

    Args: the file; its bytes, in parts; a file that it will replace, whose permissions it takes on if that is there.
    """
    with os.fdopen(open_own(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
        with suppress(OSError):  # it is not there, or its file system has no permissions
            if as_open_as is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(as_open_as.stat().st_mode) | stat.S_IWUSR)
        file.writelines(data)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Wait until a file or folder is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing(place: Path | str, elsewhere: str = "name a folder that you can write to") -> Iterator[None]:
    """Turn an OSError inside the block into a CheckpointError that names the place and says what to do.

    A pipe that its reader has closed stays a BrokenPipeError: nobody is left to be told.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        remedy = {
            errno.ENOSPC: "free some space, or write to another disk",
            errno.EDQUOT: "free some space, or write to another disk",
            errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
            errno.ENAMETOOLONG: "give it a shorter name",
        }.get(error.errno or 0, elsewhere)
        raise CheckpointError(f"{place}: cannot write: {error.strerror or error}; {remedy}") from error


def to_json(value: dict[str, Any]) -> bytes:
    """Return a value as UTF-8 JSON with a final line end; ValueError if a number is not finite."""
    return json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False).encode() + b"\n"


def recorded(path: Path) -> str:
    """Return a path as a JSON file records it: from the root on, or as it is given if the folders above it forbid that.

    What is not UTF-8 in the path itself stands there as escapes, by which nothing is found again.

    >>> recorded(Path("/data/a.txt"))
    '/data/a.txt'
    """
    whole = str(path.resolve())
    return whole if in_utf8(whole) == whole else in_utf8(str(path))


def in_utf8(name: str) -> str:
    r"""Return a text in which bytes of a name that are not UTF-8, which Python passes on as surrogates, are escapes.

    >>> in_utf8("b\udce9")
    'b\\xe9'
    """
    return os.fsencode(name).decode(errors="backslashreplace")


def from_json(data: bytes | str, kind: type[Parsed]) -> Parsed:
    """Return the struct that a JSON text with a format version holds.

    Raises: ValueError if the text is damaged, foreign or of another version.

    >>> class Note(msgspec.Struct):
    ...     text: str
    >>> from_json(to_json({"format_version": 1, "text": "so long"}), Note)
    Note(text='so long')
    """
    try:
        value = msgspec.json.decode(data)  # once, so that a key that stands there twice has one value
        version = msgspec.convert(value, _Version).format_version
        if version != FORMAT_VERSION:
            raise ValueError(f"format version {version}; this release reads {FORMAT_VERSION}")
        return msgspec.convert(value, kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"damaged, or written by something else: {error}") from None


def sha256(*data: Buffer) -> str:
    """Return the sha256 of some bytes, in hexadecimal; they may be in parts."""
    digest = hashlib.sha256()
    for part in data:
        digest.update(part)
    return digest.hexdigest()


def pack(tensors: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return arrays as the bytes of a safetensors file."""
    return b"".join(packed(tensors))


def packed(tensors: Mapping[str, npt.NDArray[Any]]) -> list[Buffer]:
    """Return the parts of a safetensors file: its header, and the bytes of each array, which are not copied.

    >>> b"".join(packed({"b": np.zeros(2)})) == safetensors.numpy.save({"b": np.zeros(2)})
    True
    """
    little = {
        name: array.astype(array.dtype.newbyteorder("<"), order="C", copy=False) for name, array in tensors.items()
    }
    kinds = {name: _KINDS[array.dtype.str[1:]] for name, array in little.items()}
    order = sorted(little, key=lambda name: ([*_KINDS.values()].index(kinds[name]), name))  # as the library has them
    return packed_as((name, kinds[name], little[name]) for name in order)


def packed_as(arrays: Iterable[tuple[str, str, npt.NDArray[Any]]]) -> list[Buffer]:
    """Return arrays with their names and types as :func:`packed` does."""
    header, parts, at = {}, list[Buffer](), 0
    for name, kind, values in arrays:
        header[name] = {"dtype": kind, "shape": values.shape, "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
        parts.append(values.reshape(-1).view(np.uint8).data)
    described = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    described += b" " * (-len(described) % 8)
    return [struct.pack("<Q", len(described)) + described, *parts]


def read_file(path: Path) -> bytes:
    """Return the bytes of a file; CheckpointError if it is missing, cannot be read or is no file of bytes."""
    try:
        # A pipe would wait for its writer, and a device might never end.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise CheckpointError(f"{path}: cannot read: it is a pipe or a device; put the file itself there")
            return file.read()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: the file is missing, so the run is incomplete") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read: {error.strerror}") from None


def check_sum(path: Path, data: bytes, expected: str | None) -> None:
    """Raise CheckpointError if the sha256 of a file's bytes is not the expected one."""
    if sha256(data) != expected:
        raise CheckpointError(
            f"{path}: damaged, or of another save: its sha256 begins {sha256(data)[:12]}, "
            f"expected {(expected or 'none')[:12]}; restore the folder from a copy, or train the model again"
        )


def read_whole(path: Path, expected: str | None) -> bytes:
    """Return the bytes of a file that has this sha256; it may still lie beside its place (:func:`replace_files`).

    Raises: CheckpointError if there is no such file.
    """
    if expected and expected.isalnum():
        for place in (path, beside(path, expected)):
            data = _read_if_there(place)
            if data is not None and sha256(data) == expected:
                return data
    data = read_file(path)  # once more, for it may have moved meanwhile
    check_sum(path, data, expected)
    return data


def unchanged(manifest: Path, load: Callable[[], Loaded]) -> Loaded:
    """Return what `load` reads by the names and sums in a file; again, if another process has replaced that meanwhile.

    Raises: CheckpointError as `load`.
    """
    while True:
        before = _read_if_there(manifest)
        try:
            return load()
        except CheckpointError:
            if _read_if_there(manifest) == before:
                raise


def _read_if_there(path: Path) -> bytes | None:
    try:
        return read_file(path)
    except CheckpointError:
        return None


def parse(path: Path, data: bytes, kind: type[Parsed]) -> Parsed:
    """Return the struct in the bytes of a JSON file; as :func:`from_json`, with CheckpointError."""
    try:
        return from_json(data, kind)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None


def unpack(path: Path, expected: str | None) -> Tensors:
    """Return the arrays of a safetensors file; CheckpointError if it is damaged or has another sha256."""
    return unpacked(path, read_whole(path, expected))


def unpacked(path: Path, data: bytes) -> Tensors:
    """Return the arrays in the bytes of a safetensors file; CheckpointError if they are damaged."""
    try:
        return safetensors.numpy.load(data)
    except KeyError as error:  # numpy has no such type
        raise CheckpointError(f"{path}: a tensor is of type {error.args[0]}; this release reads none of that") from None
    except (SafetensorError, ValueError) as error:  # numpy holds no shape as large as the file may name
        raise CheckpointError(f"{path}: damaged, or no safetensors file: {error}") from None
