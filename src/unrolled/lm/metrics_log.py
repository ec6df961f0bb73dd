"""metrics.jsonl of a run: one JSON object per line, in the order of steps; `Run` makes the lines."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from unrolled.saved.atomic_files import CheckpointError, writing


class MetricsLog:
    """The file metrics.jsonl of a run; each line has a ``step``.

    Args:
        folder: the folder of the run.
        step: of the checkpoint from which the run resumes; later lines are dropped, because they are written again.

    Raises: CheckpointError if a line is not such an object, or the file cannot be written.
    """

    def __init__(self, folder: str | Path, step: int = 0) -> None:
        self.path = Path(folder) / "metrics.jsonl"
        if self.path.exists():
            with writing(self.path):
                os.truncate(self.path, self._length_up_to(step))

    def append(self, line: dict[str, Any]) -> None:
        """Append one line; it is whole or absent, unless the machine itself fails."""
        data = json.dumps(line, allow_nan=False).encode() + b"\n"
        with writing(self.path):
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            length = os.fstat(file).st_size
            try:
                while data:
                    data = data[os.write(file, data) :]
            except OSError:
                os.truncate(file, length)
                raise
            finally:
                os.close(file)

    def _length_up_to(self, step: int) -> int:
        """Return the size in bytes of the lines up to this step, without an incomplete last line."""
        length = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    found = json.loads(line)["step"]
                except (ValueError, KeyError, TypeError):
                    raise CheckpointError(
                        f"{self.path}: line {number} is not a JSON object with a step; correct or remove the line"
                    ) from None
                if found > step:
                    break
                length += len(line)
        return length
