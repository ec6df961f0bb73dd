"""Results on disk: each experiment of a sweep is cached when it is done, so an interrupted sweep can be resumed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from unrolled.saved.atomic_files import write_file

#: Version of the files; others are refused.
VERSION = 1


def cached_result(
    folder: Path,
    name: str,
    settings: dict[str, Any],
    compute: Callable[[], dict[str, Any]],
    *,
    kind: type[Any] = dict,
    beside: str = "",
) -> dict[str, Any]:
    """Return the result of an experiment: from its file if there is one, else computed and written to it.

    The file is written under a temporary name and renamed, so it is either complete or missing.  An experiment that
    writes more than its result writes its settings first, so that what is left of it is known as its own.

    Args:
        folder: of the sweep, for its only writer; created if missing.
        name: of the experiment and its file.
        settings: everything the result depends on, as JSON values.
        compute: returns the result as JSON values.
        kind: the type that they convert to.
        beside: name of a folder in `folder` that `compute` writes to.

    Raises: ValueError if the file is damaged or holds other settings, or if `beside` is there without the settings that
        it was made with; CheckpointError if the file cannot be written.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> [cached_result(folder, "one", {"a": 1}, lambda: {"found": k}) for k in (2, 3)]
    [{'found': 2}, {'found': 2}]
    """
    path, made = folder / f"{name}.json", folder / beside if beside else None
    settings = json.loads(json.dumps(settings))  # as they are read back: lists for tuples
    left = made if made is not None and made.exists() else None
    if path.exists():
        result = _read(path, settings, left, kind)
        if result is not None:
            return result
    elif left is not None:
        raise ValueError(f"{left}: left of an experiment without its {path.name}; choose another folder, or remove it")
    if made is not None:
        _write(path, {"version": VERSION, "settings": settings})
    result = json.loads(json.dumps(compute()))
    _write(path, {"version": VERSION, "settings": settings, "result": result})
    return dict(result)


def _write(path: Path, values: dict[str, Any]) -> None:
    write_file(path, json.dumps(values, indent=1, ensure_ascii=False).encode() + b"\n")


def _read(path: Path, settings: dict[str, Any], left: Path | None, kind: type[Any]) -> dict[str, Any] | None:
    """Return the result in a file; None if its experiment was interrupted, and has these settings or left nothing."""
    try:
        read = json.loads(path.read_bytes())
        version, before = read["version"], dict(read["settings"])
        result = dict(read["result"]) if "result" in read else None
        if result is not None:
            msgspec.convert(result, kind)
    except (ValueError, KeyError, TypeError, RecursionError, msgspec.ValidationError):
        raise ValueError(f"{path}: damaged, or not a result; remove it to compute the result again") from None
    if version != VERSION:
        raise ValueError(
            f"{path}: version {version}, this release reads {VERSION}; choose another folder, or remove the file"
        )
    if before != settings and (result is not None or left is not None):
        changed = sorted(key for key in {*before, *settings} if before.get(key) != settings.get(key))
        remove = f"it and {left}" if left is not None else "the file"
        raise ValueError(f"{path} has other settings ({', '.join(changed)}); choose another folder, or remove {remove}")
    return result
