"""What the commands write to: standard output, the one console, files, and text that a terminal must not obey."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO, TypeVar

from rich.console import Console
from rich.text import Text

from unrolled.saved.visible import drawn


def printable(text: str, stream: TextIO | None = None) -> str:
    """Return a text of a model or a file as it may be printed: as it is, or for a terminal with nothing to obey in it.

    Args: text; the stream it goes to, standard output if left out.

    >>> printable("as it is: " + chr(27)) == "as it is: " + chr(27)
    True
    """
    return drawn(text) if (stream or sys.stdout).isatty() else text


def write_out(out: Path, made: str | Callable[[Path], object]) -> None:
    """Write the file that a command makes, and say that it is made.

    Args: the file; its text, in which lone surrogates stand for bytes that are none, or what writes it.
    Raises: CheckpointError naming the file, if it cannot be written.
    """
    from unrolled.saved.atomic_files import write_whole
    from unrolled.saved.checkpoints import refuse_part

    refuse_part(out)
    if isinstance(made, str):
        write_whole(out, made.encode(errors="surrogateescape"))
    else:
        made(out)
    print(printable(f"made {out}"))


def as_json(value: object) -> str:
    """Return a result as one line of JSON; a number that is none is null.

    What standard output lacks is escaped as JSON has it; the escapes of a console are none there.

    >>> as_json({"bits": 2.5, "worst": float("inf")})
    '{"bits":2.5,"worst":null}'
    """
    import msgspec

    line = msgspec.json.encode(value).decode()
    try:
        line.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return re.sub(r"[^\0-\x7f]", lambda found: json.dumps(found[0])[1:-1], line)
    return line


Result = TypeVar("Result")


class StandardOutput:
    """Standard output while a command runs; what goes wrong there is said as for a file.

    Args: stream: where it goes; None if the process has none.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream or io.StringIO()

    def write(self, text: str) -> int:
        """Write a text; CheckpointError if it cannot be written."""
        return self._try(lambda: self._stream.write(text))

    def flush(self) -> None:
        """Write what is still held back; CheckpointError if it cannot be written."""
        self._try(self._stream.flush)

    def abandon(self) -> None:
        """Drop what could not be written, or Python would try once more at its exit."""
        with suppress(OSError):  # not every stream is a file
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @staticmethod
    def _try(act: Callable[[], Result]) -> Result:
        try:
            return act()
        except OSError:
            from unrolled.saved.atomic_files import writing  # here, because `--help` needs no numpy

            with writing("standard output", "send it somewhere else"):
                raise


class PlainConsole(Console):
    """Prints text as it is: the name of a folder may hold brackets, which are not read as markup.

    Args: stderr: print on standard error, because a result goes to standard output; quiet: print nothing.

    >>> PlainConsole().print("runs/[red]a :smile:")
    runs/[red]a :smile:
    """

    def __init__(self, *, stderr: bool = False, quiet: bool = False) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, stderr=stderr, quiet=quiet)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print; what is no terminal gets lines of text whole, so that grep finds what stands in them."""
        if self.is_terminal:
            objects = tuple(drawn(each) if isinstance(each, str) else each for each in objects)
        elif all(isinstance(each, str | Text) for each in objects):
            options.setdefault("soft_wrap", True)
        super().print(*objects, **options)

    def on_broken_pipe(self) -> None:
        """Leave it to the command line, which knows one answer for all that is printed."""
        raise
