"""Small pictures without a picture library: a PNG of 256 colours, to stand inside a page."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.views.colours import RGB, colour

SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Colours of a scale: more than the eye tells apart, and few enough that noise still compresses well.
STEPS = 64


def heat_map(values: NDArray[Any], low: float, high: float, scale: Sequence[RGB]) -> bytes:
    """Return a PNG of values (rows, columns), one pixel each, from low to high along a colour scale.

    Source: the PNG specification, third edition, sections 5 and 11.

    >>> heat_map(np.zeros((2, 3)), 0, 1, ((0, 0, 0), (255, 255, 255)))[16:24]  # width and height
    b'\\x00\\x00\\x00\\x03\\x00\\x00\\x00\\x02'
    """
    rows, columns = values.shape
    span = (high - low) or 1.0
    pixels = np.clip((values - low) / span * (STEPS - 1) + 0.5, 0, STEPS - 1).astype(np.uint8)
    lines = np.concatenate([np.zeros((rows, 1), np.uint8), pixels], axis=1)  # each begins with its filter: none
    palette = bytes(part for step in range(STEPS) for part in colour(step / (STEPS - 1), scale))
    header = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)  # eight bits, palette
    chunks = [(b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b"")]
    return SIGNATURE + b"".join(_chunk(name, data) for name, data in chunks)


def inline(picture: bytes) -> str:
    """Return a PNG as the source of an image, so that a page needs no file beside it.

    >>> inline(b"abc")
    'data:image/png;base64,YWJj'
    """
    return "data:image/png;base64," + base64.b64encode(picture).decode()


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
