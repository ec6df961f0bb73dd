"""JSON files of numbers: read without trust in sizes, nesting or numbers, and written in the digits of their type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from unrolled.formats.network_of import FormatError
from unrolled.formats.outside_files import outside_bytes, refused
from unrolled.saved.atomic_files import write_file
from unrolled.saved.visible import unmarked

Parsed = TypeVar("Parsed")


def read_json(path: Path, kind: type[Parsed]) -> Parsed:
    """Return what a JSON file holds, as a struct.

    Raises: FormatError if it cannot be read, is no JSON, or holds something else; the message names file and place.
    """
    try:
        return msgspec.json.decode(unmarked(outside_bytes(path)), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise refused(path, f"damaged, or of another format: {error}") from None


def write_json(path: str | Path, value: dict[str, Any]) -> None:
    """Write a value as JSON; :func:`decimals` gives its arrays."""
    write_file(path, json.dumps(value, allow_nan=False).encode() + b"\n")


def decimals(values: NDArray[Any]) -> Any:
    """Return an array as lists of the shortest decimal numbers that read back to the same bits in its type.

    >>> decimals(np.array([[0.1, 1e-9]], np.float32))
    [[0.1, 1e-09]]
    """
    flat = [float(text) for text in values.ravel().astype(str).tolist()]
    return np.array(flat).reshape(values.shape).tolist()


def numbers(value: Any, shape: tuple[int, ...], where: str) -> NDArray[np.float32]:
    """Return lists of numbers as an array of a shape.

    Raises: FormatError if they have another shape, hold something else, or a number that is not finite in float32.

    >>> numbers([[1, 2.5]], (1, 3), "amp.json: W")
    Traceback (most recent call last):
        ...
    unrolled.formats.network_of.FormatError: amp.json: W has another shape, expected numbers of shape 1 x 3
    """
    if not _has_shape(value, shape):
        raise FormatError(f"{where} has another shape, expected numbers of shape {' x '.join(map(str, shape))}")
    with np.errstate(over="ignore"):
        try:
            found = np.array(value, np.float64).reshape(shape).astype(np.float32)
        except OverflowError:
            found = np.full(1, np.inf, np.float32)
    if not np.isfinite(found).all():
        raise FormatError(f"{where} holds a number that is too large for float32")
    return found


def _has_shape(value: Any, shape: tuple[int, ...]) -> bool:
    if not shape:
        return type(value) in (int, float)
    return type(value) is list and len(value) == shape[0] and all(_has_shape(each, shape[1:]) for each in value)
