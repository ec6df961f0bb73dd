"""A sweep: many experiments, each kept on disk when it is done, so that an interrupted sweep goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unrolled.saved.files import write_file

#: Of the files; a file of another version is refused.
VERSION = 1


def kept(folder: Path, name: str, settings: dict[str, Any], compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the result of one experiment: from the folder if it is there, else computed now and put there.

    A result is one file, written under another name and renamed, so it is whole or not there.

    Args:
        folder: of the sweep; it is made if it is not there.
        name: of the experiment, which gives the file its name.
        settings: JSON values; all that the result depends on.
        compute: returns the result, as JSON values.

    Raises: ValueError if the file holds a result of other settings, or is damaged; CheckpointError if it cannot be
        written.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> kept(folder, "one", {"a": 1}, lambda: {"found": 2}), kept(folder, "one", {"a": 1}, lambda: {"found": 3})
    ({'found': 2}, {'found': 2})
    """
    path = folder / f"{name}.json"
    settings = json.loads(json.dumps(settings))  # as it will be read back: lists for tuples
    if not path.exists():
        result = compute()
        lines = {"version": VERSION, "settings": settings, "result": result}
        write_file(path, json.dumps(lines, indent=1, ensure_ascii=False).encode() + b"\n")
    try:
        read = json.loads(path.read_bytes())
        version, before, result = read["version"], read["settings"], read["result"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{path}: damaged, or written by something else; remove it, and it is computed again"
        ) from None
    if version != VERSION:
        raise ValueError(f"{path}: version {version}, this release reads {VERSION}; name another folder")
    if before != settings:
        changed = sorted(key for key in {*before, *settings} if before.get(key) != settings.get(key))
        raise ValueError(
            f"{path} was made with other settings ({', '.join(changed)}); name another folder, or remove the file"
        )
    return dict(result)
