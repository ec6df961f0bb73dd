"""Files of named arrays, safetensors and .npz, from anywhere: no pickle, and no memory for sizes that a file claims."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from unrolled.formats.network_of import FormatError
from unrolled.formats.outside_files import outside_bytes
from unrolled.saved.atomic_files import CheckpointError, pack, unpacked, write_file
from unrolled.words import counted

Arrays = dict[str, NDArray[Any]]

#: What the parts of a zip may hold: so many times the bytes of the file, and some more.
MOST_TIMES, MOST_MORE = 20, 1 << 24


def write_arrays(path: str | Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays by name, as .npz or .safetensors.

    Raises: FormatError for another end of the name; CheckpointError if the file cannot be written.
    """
    if Path(path).suffix == ".npz":
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        write_file(path, buffer.getvalue())
    elif Path(path).suffix == ".safetensors":
        write_file(path, pack(arrays))
    else:
        raise FormatError(f"{path}: arrays are written to .safetensors or .npz; give such a name")


def read_arrays(path: str | Path) -> Arrays:
    """Return the arrays of a .npz or safetensors file by name, numbers of less than 32 bits as float32.

    Raises: FormatError if it is damaged, something else or cannot be read.
    """
    path = Path(path)
    data = outside_bytes(path)
    if data.startswith(b"PK"):
        return _unzipped(path, data)
    try:
        return unpacked(path, data)
    except CheckpointError as error:
        raise FormatError(str(error)) from None


def numbers(where: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of weights in native byte order, half precision as float32, which is exact.

    Raises: FormatError if it holds something else than numbers.
    """
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise FormatError(f"{where}: is {array.dtype}, expected float16, float32 or float64")
    return array.astype(np.float64 if array.dtype.itemsize == 8 else np.float32)


def read_npy(where: str, data: bytes) -> NDArray[Any]:
    """Return the array that the bytes of one .npy file are.

    Raises: FormatError if its header does not fit its size, or it is damaged.
    """
    stream = io.BytesIO(data)
    array = next_npy(where, stream)
    if stream.read(1):
        raise FormatError(f"{where}: damaged: more bytes than its array has")
    return array


def next_npy(where: str, stream: io.BytesIO) -> NDArray[Any]:
    """Return the next array of several .npy files, one after the other.

    Raises: FormatError as :func:`read_npy`.
    """
    try:
        version = npy.read_magic(stream)
        read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
        shape, column_major, dtype = read_header(stream)
    except Exception as error:  # the header is Python, parsed and never run, and each of numpy's parsers has errors
        raise FormatError(f"{where}: damaged, or no array: {error}") from None
    count = 1
    for size in shape:
        count *= int(size)
    if dtype.hasobject or dtype.kind not in "fiub" or min(shape, default=0) < 0:
        raise FormatError(f"{where}: is an array {shape} of {dtype}, expected one of numbers; nothing else is read")
    raw = stream.read(max(0, min(count * dtype.itemsize, len(stream.getbuffer()))))
    if len(raw) != count * dtype.itemsize:
        raise FormatError(f"{where}: cut off: {shape} of {dtype} is more than its {counted(len(raw), 'byte')}")
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if column_major else "C")


def part_of_zip(where: str, archive: zipfile.ZipFile, name: str, size: int) -> bytes:
    """Return the bytes of one part of a zip of `size` bytes.

    Raises: FormatError if it is missing, damaged, or larger than any such file can hold.
    """
    most = MOST_TIMES * size + MOST_MORE
    try:
        with archive.open(name) as part:
            data = part.read(most + 1)
    except KeyError:
        raise FormatError(f"{where}: has no {name}; expected one") from None
    except Exception as error:  # zipfile and zlib have a dozen
        raise FormatError(f"{where}: {name} is damaged: {error}") from None
    if len(data) > most:
        raise FormatError(f"{where}: {name} unpacks to more than {MOST_TIMES} times its file; refused")
    return data


def opened_zip(where: str, data: bytes) -> zipfile.ZipFile:
    """Return the zip that some bytes are; FormatError if they are none."""
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except Exception as error:
        raise FormatError(f"{where}: damaged, or no zip: {error}") from None


def _unzipped(path: Path, data: bytes) -> Arrays:
    archive, found, left = opened_zip(str(path), data), {}, MOST_TIMES * len(data) + MOST_MORE
    for name in archive.namelist():
        stem = name.removesuffix(".npy")
        part = part_of_zip(str(path), archive, name, len(data))
        left -= len(part)
        if left < 0:
            raise FormatError(f"{path}: its parts unpack to more than {MOST_TIMES} times its size; refused")
        found[stem] = read_npy(f"{path}: {stem}", part)
    return found
