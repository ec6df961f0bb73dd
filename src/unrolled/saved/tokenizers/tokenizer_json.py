"""The merges of a byte-level BPE tokenizer in the file of the Hugging Face library, tokenizer.json."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from unrolled.config.options import brief

#: Bytes of such a file at most; the largest that are published have some tens of millions.
LIMIT = 1 << 28


class _Model(msgspec.Struct):
    type: str = "BPE"
    merges: list[str | tuple[str, str]] = []
    continuing_subword_prefix: str | None = None
    end_of_word_suffix: str | None = None


class _File(msgspec.Struct):
    model: _Model


def merges_in(path: str | Path) -> Iterator[tuple[str, str]]:
    """Yield the pairs of symbols that a tokenizer joins, the first one first.

    Raises: ValueError naming the file, and what it is instead of a tokenizer of kind BPE on bytes.
    """
    try:
        with Path(path).open("rb") as stream:
            data = stream.read(LIMIT + 1)
    except OSError as error:
        raise ValueError(f"{path}: cannot read: {error.strerror}") from None
    if len(data) > LIMIT:
        raise ValueError(f"{path}: has more than {LIMIT:,} bytes, so it is no tokenizer.json")
    try:
        model = msgspec.json.decode(data, type=_File).model
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a tokenizer.json: {error}") from None
    if model.type != "BPE":
        raise ValueError(f"{path}: its model is {brief(model.type)}, expected BPE; take another, or learn symbols here")
    if model.continuing_subword_prefix or model.end_of_word_suffix:
        raise ValueError(f"{path}: it marks where words begin or end, as no byte-level BPE does; take another")
    if not model.merges:
        raise ValueError(f"{path}: it has no merges, so there is nothing to take")
    for number, merge in enumerate(model.merges):
        pair = tuple(merge.split(" ")) if isinstance(merge, str) else merge
        if len(pair) != 2 or not all(pair):
            raise ValueError(f"{path}: merge {number} is {brief(merge)}, expected two symbols")
        yield pair
