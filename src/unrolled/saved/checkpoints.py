"""Checkpoints on disk, in the folder of a run; one of them is complete, whenever the machine stops.

    checkpoints/latest                                   names the folder below, and the sha256 of its training.json
    checkpoints/step-000000123/training.json             state, and the sha256 of the tensors beside it
    checkpoints/step-000000123/training.safetensors

A checkpoint becomes the latest by one rename, after all of it is on disk, so a crash at any point leaves the previous
one or the new one complete.  `latest` is replaced as a whole and the checksums form a chain from it, so parts of two
checkpoints are never mixed.  A folder without `latest` is that of a run that has not begun.
"""

from __future__ import annotations

import itertools
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy.typing as npt

from unrolled.saved.atomic_files import (
    FORMAT_VERSION,
    CheckpointError,
    Tensors,
    check_sum,
    packed,
    parse,
    read_file,
    replace_files,
    sha256,
    sync,
    to_json,
    unchanged,
    unpack,
    write_synced,
    writing,
)
from unrolled.saved.lock import LOCK

#: Names of the folders of checkpoints, whole or unfinished; what else lies beside them is the user's.
_OWN = re.compile(r"step-\d+(\.\d+)?|\.unfinished-\w+")


class _Latest(msgspec.Struct, forbid_unknown_fields=True):
    format_version: int
    checkpoint: str
    sha256: str


class _Training(msgspec.Struct, forbid_unknown_fields=True):
    format_version: int
    step: int
    sha256: str
    state: dict[str, Any]


def new_folder(folder: Path) -> None:
    """Make sure that a folder holds nothing, for its only writer; delete the rest of a run that had not begun.

    Raises: CheckpointError if anything else is there.
    """
    with writing(folder):
        if any(not _unbegun(entry) for entry in folder.iterdir()):
            raise CheckpointError(f"{folder}: the folder is not empty; name a new one, or resume the run that is there")
        clear_folder(folder)


def clear_folder(folder: Path) -> None:
    """Delete all that a run wrote, its latest checkpoint last, so that until then it can be resumed."""
    checkpoints = folder / "checkpoints"
    for entry in folder.iterdir():
        if entry.is_dir() and entry != checkpoints:
            shutil.rmtree(entry, ignore_errors=True)
        elif entry != checkpoints and entry.name != LOCK:
            entry.unlink()
    (checkpoints / "latest").unlink(missing_ok=True)
    shutil.rmtree(checkpoints, ignore_errors=True)


def _unbegun(entry: Path) -> bool:
    """Return whether an entry of a folder is the lock, or what a first save that was interrupted left."""
    if entry.name != "checkpoints" or not entry.is_dir():
        return entry.name == LOCK
    left = {path.name for path in entry.rglob("*") if not path.is_dir()}
    return left <= {"training.json", "training.safetensors", ".latest.unfinished"}


#: The file that makes a folder a prepared corpus.
PREPARED = "corpus.json"
#: What a model or a run consists of, in its folder.
PARTS = frozenset(
    {"config.json", "model.safetensors", "vocabulary.json", "evaluation.json", "metrics.jsonl", "checkpoints", LOCK}
)


def is_model_or_run(folder: Path) -> bool:
    """Return whether a folder is that of a model or of a run, even of one that has just begun."""
    saved = (folder / "config.json").exists() and (folder / "model.safetensors").exists()
    return saved or (folder / LOCK).exists() or (folder / "checkpoints" / "latest").exists()


def refuse_other(folder: Path, own: str) -> None:
    """Refuse a folder for what would be mixed with another thing that is there: a model or a run, a prepared corpus.

    Args: the folder; the file that makes a folder what is to be written to it, which may be there.
    Raises: CheckpointError naming the folder and what it holds.
    """
    held = {PREPARED: "a prepared corpus", "config.json": "a model", "checkpoints/latest": "a run"}
    for name, what in held.items():
        if (folder / name).is_file() and (name == PREPARED) != (own == PREPARED):
            raise CheckpointError(f"{folder}: {what} is there, which would be damaged; name another folder")


def refuse_part(path: Path) -> None:
    """Refuse to write over a file that a model or a run consists of; others may lie beside them.

    Raises: CheckpointError naming the folder.
    """
    for folder in path.parents:
        if path.relative_to(folder).parts[0] in PARTS and is_model_or_run(folder):
            raise CheckpointError(f"{path}: a part of the model in {folder}, which would be lost; name another file")


def save_checkpoint(
    folder: str | Path, step: int, tensors: Mapping[str, npt.NDArray[Any]], state: dict[str, Any]
) -> None:
    """Write a checkpoint; the previous one is deleted only once this one is on disk.

    Args:
        folder: the folder of the run, made if missing.
        step: optimiser steps done.
        tensors: arrays by name.
        state: whatever else the next step depends on, as JSON values; finite numbers only.

    Raises: CheckpointError if it cannot be written; the previous checkpoint then remains.  ValueError if the state
        holds what JSON cannot express, such as inf.
    """
    folder = Path(folder)
    checkpoints = folder / "checkpoints"
    with writing(folder):
        checkpoints.mkdir(parents=True, exist_ok=True)
        unfinished = checkpoints / f".unfinished-{secrets.token_hex(8)}"
        unfinished.mkdir()  # as every folder, for those whom the process lets read
        try:
            parts = packed(tensors)  # not copied: they hold almost all that training keeps
            write_synced(unfinished / "training.safetensors", *parts)
            training = {"format_version": FORMAT_VERSION, "step": step, "sha256": sha256(*parts), "state": state}
            described = to_json(training)
            write_synced(unfinished / "training.json", described)
            if (folder / "metrics.jsonl").exists():
                sync(folder / "metrics.jsonl")
            sync(unfinished)
            finished = _free_name(checkpoints, step)
            unfinished.rename(finished)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        sync(checkpoints)
        latest = {"format_version": FORMAT_VERSION, "checkpoint": finished.name, "sha256": sha256(described)}
        replace_files({checkpoints / "latest": to_json(latest)})
        for entry in checkpoints.iterdir():
            if entry != finished and _OWN.fullmatch(entry.name):
                shutil.rmtree(entry, ignore_errors=True)


def load_checkpoint(folder: str | Path) -> tuple[Tensors, dict[str, Any]]:
    """Return the tensors and the state of the latest checkpoint, as given to :func:`save_checkpoint`.

    Raises: CheckpointError if there is none, or a file is damaged, foreign or of an unknown format version.
    """
    checkpoint, training = _latest(Path(folder))
    return unpack(checkpoint / "training.safetensors", training.sha256), training.state


def load_state(folder: str | Path) -> dict[str, Any]:
    """Return the state of the latest checkpoint, without its tensors, also while a run goes on; otherwise the same."""
    return unchanged(Path(folder) / "checkpoints" / "latest", lambda: _latest(Path(folder))[1].state)


def latest(folder: str | Path) -> Path:
    """Return the folder of the latest checkpoint; otherwise as :func:`load_checkpoint`."""
    return _latest(Path(folder))[0]


def _latest(folder: Path) -> tuple[Path, _Training]:
    """Return the folder of the latest checkpoint and its training.json."""
    checkpoints = folder / "checkpoints"
    if not (checkpoints / "latest").exists():
        raise CheckpointError(f"{folder}: no checkpoints/latest, so there is no run to resume; check the path")
    latest = parse(checkpoints / "latest", read_file(checkpoints / "latest"), _Latest)
    checkpoint = checkpoints / Path(latest.checkpoint).name
    described = read_file(checkpoint / "training.json")
    training = parse(checkpoint / "training.json", described, _Training)
    check_sum(checkpoint / "training.json", described, latest.sha256)
    return checkpoint, training


def _free_name(checkpoints: Path, step: int) -> Path:
    """Return an unused name for a checkpoint of this step, which may be saved more than once."""
    name = f"step-{step:09}"
    names = itertools.chain([name], (f"{name}.{again}" for again in itertools.count(2)))
    return next(checkpoints / name for name in names if not (checkpoints / name).exists())
