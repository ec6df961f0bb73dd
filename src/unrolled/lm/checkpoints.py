"""Checkpoints on disk, in the folder of a run; one of them is complete, whenever the machine stops.

    checkpoints/latest                                   names the folder below, and the sha256 of its training.json
    checkpoints/step-000000123/training.json             state, and the sha256 of the tensors beside it
    checkpoints/step-000000123/training.safetensors

A checkpoint becomes the latest by one rename, after all of it is on disk, so a crash at any point leaves the previous
one or the new one complete.  `latest` is replaced as a whole and the checksums form a chain from it, so parts of two
checkpoints are never mixed.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
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
    pack,
    parse,
    read_file,
    replace_files,
    sha256,
    sync,
    to_json,
    unpack,
    write_synced,
    writing,
)


class _Latest(msgspec.Struct, forbid_unknown_fields=True):
    format_version: int
    checkpoint: str
    sha256: str


class _Training(msgspec.Struct, forbid_unknown_fields=True):
    format_version: int
    step: int
    sha256: str
    state: dict[str, Any]


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
        unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=checkpoints))
        try:
            packed = pack(tensors)
            write_synced(unfinished / "training.safetensors", packed)
            training = {"format_version": FORMAT_VERSION, "step": step, "sha256": sha256(packed), "state": state}
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
            if entry.is_dir() and entry != finished:
                shutil.rmtree(entry, ignore_errors=True)


def load_checkpoint(folder: str | Path) -> tuple[Tensors, dict[str, Any]]:
    """Return the tensors and the state of the latest checkpoint, as given to :func:`save_checkpoint`.

    Raises: CheckpointError if there is none, or a file is damaged, foreign or of an unknown format version.
    """
    checkpoint, sum = latest(folder)
    described = read_file(checkpoint / "training.json")
    training = parse(checkpoint / "training.json", described, _Training)
    check_sum(checkpoint / "training.json", described, sum)
    return unpack(checkpoint / "training.safetensors", training.sha256), training.state


def latest(folder: str | Path) -> tuple[Path, str]:
    """Return the folder of the latest checkpoint, and the sha256 of its training.json.

    Raises: CheckpointError as :func:`load_checkpoint`.
    """
    checkpoints = Path(folder) / "checkpoints"
    if not checkpoints.is_dir():
        raise CheckpointError(f"{folder}: no folder checkpoints, so there is no run to resume; check the path")
    named = parse(checkpoints / "latest", read_file(checkpoints / "latest"), _Latest)
    return checkpoints / Path(named.checkpoint).name, named.sha256


def _free_name(checkpoints: Path, step: int) -> Path:
    """Return an unused name for a checkpoint of this step, which may be saved more than once."""
    name = f"step-{step:09}"
    names = itertools.chain([name], (f"{name}.{again}" for again in itertools.count(2)))
    return next(checkpoints / name for name in names if not (checkpoints / name).exists())
