"""Messages of protobuf, measured before they are parsed: a few bytes may ask for a hundred times their memory.

Source: https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unrolled.formats.outside_files import refused
from unrolled.words import counted

#: The most fields that all messages of a file may have together, and the most messages inside each other.
MOST_FIELDS, DEEPEST = 1_000_000, 32
#: Bytes of a value by wire type; the others say their length themselves.
_FIXED = {1: 8, 5: 4}


def check_wire(path: Path, data: bytes, descriptor: Any) -> None:
    """Refuse a message that is cut off, deeper than any real one, or of more fields than any real one.

    Args: the file, for the message; its bytes; the descriptor of the message that it holds.
    Raises: FormatError naming the file and the position.
    """
    fields, waiting = 0, [(0, len(data), descriptor, 0)]
    while waiting:
        at, end, kind, depth = waiting.pop()
        if depth > DEEPEST:
            raise refused(path, f"damaged: messages in messages, {depth} deep, at byte {at}")
        while at < end:
            fields, begin = fields + 1, at
            if fields > MOST_FIELDS:
                raise refused(path, f"has more than {MOST_FIELDS:,} fields")
            tag, at = _varint(path, data, at, end)
            number, wire = tag >> 3, tag & 7
            size = _FIXED.get(wire, 0)
            if wire in (0, 2):
                value, at = _varint(path, data, at, end)
                size = value if wire == 2 else 0
            elif wire not in _FIXED:
                raise refused(path, f"damaged, or no file of this format: wire type {wire} at byte {begin}")
            if at + size > end:
                raise refused(
                    path, f"damaged: field {number} at byte {begin} has {counted(size, 'byte')}, {end - at:,} are left"
                )
            field = kind.fields_by_number.get(number)
            if wire == 2 and field is not None and field.message_type is not None:
                waiting.append((at, at + size, field.message_type, depth + 1))
            at += size


def _varint(path: Path, data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return the number that begins at a position, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise refused(path, f"damaged: a number that does not end, at byte {at}")
