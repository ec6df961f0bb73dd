"""Results on disk: each experiment of a sweep is cached when it is done, so an interrupted sweep can be resumed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unrolled.saved.atomic_files import write_file

#: Version of the files; others are refused.
VERSION = 1


def cached_result(
    folder: Path, name: str, settings: dict[str, Any], compute: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Return the result of an experiment: from its file if there is one, else computed and written to it.

    The file is written under a temporary name and renamed, so it is either complete or missing.

    Args:
        folder: of the sweep; created if missing.
        name: of the experiment and its file.
        settings: everything the result depends on, as JSON values.
        compute: returns the result as JSON values.

    Raises: ValueError if the file is damaged or holds a result of other settings; CheckpointError if it cannot be
        written.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> [cached_result(folder, "one", {"a": 1}, lambda: {"found": k}) for k in (2, 3)]
    [{'found': 2}, {'found': 2}]
    """
    path = folder / f"{name}.json"
    settings = json.loads(json.dumps(settings))  # as they are read back: lists for tuples
    if not path.exists():
        result = compute()
        lines = {"version": VERSION, "settings": settings, "result": result}
        write_file(path, json.dumps(lines, indent=1, ensure_ascii=False).encode() + b"\n")
    try:
        read = json.loads(path.read_bytes())
        version, before, result = read["version"], read["settings"], read["result"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path}: damaged, or not a result; remove it to compute the result again") from None
    if version != VERSION:
        raise ValueError(
            f"{path}: version {version}, this release reads {VERSION}; choose another folder, or remove the file"
        )
    if before != settings:
        changed = sorted(key for key in {*before, *settings} if before.get(key) != settings.get(key))
        raise ValueError(f"{path} has other settings ({', '.join(changed)}); choose another folder, or remove the file")
    return dict(result)
