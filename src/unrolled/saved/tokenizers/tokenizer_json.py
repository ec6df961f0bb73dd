"""The merges of a byte-level BPE tokenizer in the file of the Hugging Face library, tokenizer.json."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from unrolled.config.options import brief, option
from unrolled.saved.visible import unmarked

#: Bytes of such a file at most; the largest that are published have some tens of millions.
LIMIT = 1 << 28


class _Model(msgspec.Struct):
    type: str = "BPE"
    merges: list[str | tuple[str, str]] = []
    continuing_subword_prefix: str | None = None
    end_of_word_suffix: str | None = None


class _Normalizer(msgspec.Struct):
    """What is done to a text before it is cut; one of type Sequence is several, one after the other."""

    type: str
    normalizers: list[_Normalizer] = []

    def steps(self) -> list[str]:
        """Return the types of what is done."""
        return [step for each in self.normalizers for step in each.steps()] if self.type == "Sequence" else [self.type]


class _File(msgspec.Struct):
    model: _Model
    normalizer: _Normalizer | None = None


def merges_in(path: str | Path, nfc: bool = False) -> Iterator[tuple[str, str]]:
    """Yield the pairs of symbols that a tokenizer joins, the first one first.

    Args: path of its file; whether texts are read in Unicode normal form C.
    Raises: ValueError naming the file, and what it is instead of a tokenizer of kind BPE on bytes, or what it does to a
        text first that is not done here.
    """
    try:
        with Path(path).open("rb") as stream:
            data = stream.read(LIMIT + 1)
    except OSError as error:
        raise ValueError(f"{path}: cannot read: {error.strerror}") from None
    if len(data) > LIMIT:
        raise ValueError(f"{path}: has more than {LIMIT:,} bytes, so it is no tokenizer.json")
    try:
        file = msgspec.json.decode(unmarked(data), type=_File)
        model, steps = file.model, file.normalizer.steps() if file.normalizer else []
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a tokenizer.json: {error}") from None
    if model.type != "BPE":
        raise ValueError(f"{path}: its model is {brief(model.type)}, expected BPE; take another, or learn symbols here")
    if model.continuing_subword_prefix or model.end_of_word_suffix:
        raise ValueError(f"{path}: it marks where words begin or end, as no byte-level BPE does; take another")
    if undone := [step for step in steps if step != "NFC" or not nfc]:
        remedy = option("nfc", True) if undone == ["NFC"] else "do it to the text before"
        said = f"it brings a text into another form first ({', '.join(map(brief, undone))}), which is not done here"
        raise ValueError(f"{path}: {said}; {remedy}, or take the normalizer out of the file")
    if not model.merges:
        raise ValueError(f"{path}: it has no merges, so there is nothing to take")
    for number, merge in enumerate(model.merges):
        pair = tuple(merge.split(" ")) if isinstance(merge, str) else merge
        if len(pair) != 2 or not all(pair):
            raise ValueError(f"{path}: merge {number} is {brief(merge)}, expected two symbols")
        yield pair
