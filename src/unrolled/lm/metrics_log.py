"""metrics.jsonl of a run: one JSON object per line, in the order of steps; `Run` makes the lines."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec

from unrolled.saved.atomic_files import CheckpointError, open_own, read_file, writing
from unrolled.words import counted

#: The largest number of a line: all are measured or counted.
LARGEST = 1e100


class MetricsLog:
    """The file metrics.jsonl of a run.

    Args:
        folder: the folder of the run.
        length: its size in bytes at the checkpoint from which the run resumes; what follows is dropped, because it is
            written again.

    Raises: CheckpointError if it is shorter or has no line that ends there, or cannot be written.
    """

    def __init__(self, folder: str | Path, length: int = 0) -> None:
        self.path = Path(folder) / "metrics.jsonl"
        if os.path.lexists(self.path):
            with writing(self.path):
                file = open_own(self.path, os.O_RDWR)
                try:
                    self._check(file, length)
                    os.ftruncate(file, length)
                finally:
                    os.close(file)

    @property
    def length(self) -> int:
        """The size of the file in bytes."""
        return self.path.stat().st_size if self.path.exists() else 0

    def append(self, line: dict[str, Any]) -> None:
        """Append one line; it is whole or absent, unless the machine itself fails."""
        data = json.dumps(line, allow_nan=False).encode() + b"\n"
        with writing(self.path):
            file = open_own(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            length = os.fstat(file).st_size
            try:
                while data:
                    data = data[os.write(file, data) :]
            except OSError:
                os.ftruncate(file, length)
                raise
            finally:
                os.close(file)

    def _check(self, file: int, length: int) -> None:
        if length and os.pread(file, 1, length - 1) != b"\n":
            raise CheckpointError(
                f"{self.path}: changed since the checkpoint: no line ends after {counted(length, 'byte')}; restore the "
                "file, or remove it to begin a new one"
            )


def read_metrics(folder: Path) -> list[dict[str, int | float]]:
    """Return all lines of the metrics.jsonl in a folder; none if there is no such file.

    Raises: CheckpointError if a line is not a JSON object of numbers, or the file cannot be read.
    """
    path = folder / "metrics.jsonl"
    if not path.exists():
        return []
    decoder, found = msgspec.json.Decoder(dict[str, int | float]), []
    for number, line in enumerate(read_file(path).splitlines(), 1):
        try:
            found.append(decoder.decode(line))
            if "symbols" not in found[-1] or not {"bits", "validation_bits"} & found[-1].keys():
                raise msgspec.ValidationError("it has no symbols, or neither bits nor validation_bits")
            if any(abs(value) > LARGEST for value in found[-1].values()):
                raise msgspec.ValidationError("a number in it is out of range")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise CheckpointError(
                f"{path}: line {number} is damaged, or written by something else: {error}; correct or remove it"
            ) from None
    return found


def length_up_to(folder: Path, step: int) -> int:
    """Return the size in bytes of the lines of metrics.jsonl up to a step; checkpoints of version 0.1 do not hold it.

    Raises: CheckpointError if a line is not a JSON object with a step.
    """
    path, length = folder / "metrics.jsonl", 0
    if not path.exists():
        return 0
    for number, line in enumerate(read_file(path).splitlines(keepends=True), 1):
        try:
            if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                break
        except (ValueError, KeyError, TypeError, RecursionError):
            raise CheckpointError(
                f"{path}: line {number} is not a JSON object with a step; correct or remove the line"
            ) from None
        length += len(line)
    return length
