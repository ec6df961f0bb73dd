"""The state that training goes on from, and the metrics of a run, in the folder of its model.

    metrics.jsonl                                        one JSON object a line, in the order of steps
    checkpoints/latest                                   names the folder below, and the sha256 of its training.json
    checkpoints/step-000000123/training.json             state, and the sha256 of the tensors beside it
    checkpoints/step-000000123/training.safetensors

A checkpoint becomes the latest in one rename, after all of it is on disk, so a crash at any point leaves the one before
or the one after, whole.  The sums chain from one file that is replaced as a whole, so parts of two saves are never
taken for one.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy.typing as npt

from unrolled.saved.files import (
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


def save_run_state(
    folder: str | Path, step: int, tensors: Mapping[str, npt.NDArray[Any]], state: dict[str, Any]
) -> None:
    """Make this the state that training goes on from; the state before is dropped only when this one is on disk.

    Args:
        folder: of the run; it is made if it is not there.
        step: optimiser steps done.
        tensors: arrays by name.
        state: whatever else the next step depends on, as JSON values; finite numbers only.

    Raises: CheckpointError if the state cannot be written; the state before then still stands.  ValueError if the state
        holds what JSON cannot, such as inf.
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


def load_run_state(folder: str | Path) -> tuple[Tensors, dict[str, Any]]:
    """Return the tensors and the state of the latest checkpoint, as :func:`save_run_state` got them.

    Raises: CheckpointError if there is none, or a file is damaged, foreign or of an unknown format version.
    """
    checkpoints = Path(folder) / "checkpoints"
    if not checkpoints.is_dir():
        raise CheckpointError(f"{folder}: no folder checkpoints, so there is no run to resume; check the path")
    latest = parse(checkpoints / "latest", read_file(checkpoints / "latest"), _Latest)
    checkpoint = checkpoints / Path(latest.checkpoint).name
    described = read_file(checkpoint / "training.json")
    training = parse(checkpoint / "training.json", described, _Training)
    check_sum(checkpoint / "training.json", described, latest.sha256)
    return unpack(checkpoint / "training.safetensors", training.sha256), training.state


class MetricsLog:
    """The file metrics.jsonl of a run: one JSON object a line, each with its ``step``.

    Args:
        folder: of the run.
        step: of the checkpoint that the run goes on from; lines after it are dropped, for they will be written again.

    Raises: CheckpointError if a line of the file is no such object, or the file cannot be written.
    """

    def __init__(self, folder: str | Path, step: int = 0) -> None:
        self.path = Path(folder) / "metrics.jsonl"
        if self.path.exists():
            with writing(self.path):
                os.truncate(self.path, self._length_up_to(step))

    def append(self, line: dict[str, Any]) -> None:
        """Write one line at the end; it is whole or not there at all, unless the machine itself goes down."""
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
        """Return the number of bytes that the lines up to this step take; a torn last line is not one."""
        length = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    found = json.loads(line)["step"]
                except (ValueError, KeyError, TypeError):
                    raise CheckpointError(
                        f"{self.path}: line {number} is no JSON object with a step; mend or remove the line"
                    ) from None
                if found > step:
                    break
                length += len(line)
        return length


def _free_name(checkpoints: Path, step: int) -> Path:
    """Return a name for the checkpoint of this step; one step may be saved more than once."""
    name = f"step-{step:09}"
    names = itertools.chain([name], (f"{name}.{again}" for again in itertools.count(2)))
    return next(checkpoints / name for name in names if not (checkpoints / name).exists())
