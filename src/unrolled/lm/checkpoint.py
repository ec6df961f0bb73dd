"""The folder of a run: a model that stands alone, the state that training goes on from, and the metrics.

    config.json  vocabulary.json  model.safetensors      the model; config.json holds the sha256 of the other two
    metrics.jsonl                                        one JSON object a line, in the order of steps
    checkpoints/latest                                   names the folder below, and the sha256 of its training.json
    checkpoints/step-000000123/training.json             state, and the sha256 of the tensors beside it
    checkpoints/step-000000123/training.safetensors

Every file is written under another name, synced, and renamed.  A checkpoint becomes the latest in one rename, after
all of it is on disk, so a crash at any point leaves the one before or the one after, whole.  The sums chain from one
file that is replaced as a whole, so parts of two saves are never taken for one.  Loading runs no code.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError

from unrolled.lm.vocabulary import Vocabulary

FORMAT_VERSION = 1
#: Keys of config.json that say how the model is kept; all others say what it is.
OURS = ("format_version", "sha256")

Tensors = dict[str, npt.NDArray[Any]]
Parsed = TypeVar("Parsed")


class CheckpointError(Exception):
    """A file of a run cannot be read or written; the message names it, what is wrong, and what to do."""


class _Version(msgspec.Struct):
    format_version: int


class _Latest(msgspec.Struct, forbid_unknown_fields=True):
    format_version: int
    checkpoint: str
    sha256: str


class _Training(msgspec.Struct, forbid_unknown_fields=True):
    format_version: int
    step: int
    sha256: str
    state: dict[str, Any]


class _Config(msgspec.Struct):
    format_version: int
    sha256: dict[str, str]


def new_folder(folder: str | Path) -> Path:
    """Make the folder of a new run, before anything is spent on the run.

    Raises: CheckpointError if the folder holds anything already, or cannot be written to.
    """
    folder = Path(folder)
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise CheckpointError(f"{folder}: the folder is not empty; name a new one, or resume the run that is there")
        with tempfile.TemporaryFile(dir=folder):
            return folder


def clear_folder(folder: str | Path) -> None:
    """Take away what a run wrote to the folder that :func:`new_folder` gave it, for it could not begin."""
    for entry in Path(folder).iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink()


def write_file(path: str | Path, data: bytes) -> None:
    """Write one file so that it is there whole or as it was; its folder is made if it is not there.

    Raises: CheckpointError if it cannot be written.
    """
    path = Path(path)
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace({path: data})


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
    with _writing(folder):
        checkpoints.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=checkpoints))
        try:
            packed = _packed(tensors)
            _write(unfinished / "training.safetensors", packed)
            training = {"format_version": FORMAT_VERSION, "step": step, "sha256": _sha256(packed), "state": state}
            described = _json(training)
            _write(unfinished / "training.json", described)
            if (folder / "metrics.jsonl").exists():
                _sync(folder / "metrics.jsonl")
            _sync(unfinished)
            finished = _free_name(checkpoints, step)
            unfinished.rename(finished)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        _sync(checkpoints)
        latest = {"format_version": FORMAT_VERSION, "checkpoint": finished.name, "sha256": _sha256(described)}
        _replace({checkpoints / "latest": _json(latest)})
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
    latest = _parsed(checkpoints / "latest", _read(checkpoints / "latest"), _Latest)
    checkpoint = checkpoints / Path(latest.checkpoint).name
    described = _read(checkpoint / "training.json")
    training = _parsed(checkpoint / "training.json", described, _Training)
    _refuse_other_sum(checkpoint / "training.json", described, latest.sha256)
    return _unpacked(checkpoint / "training.safetensors", training.sha256), training.state


def save_model(
    folder: str | Path,
    config: dict[str, Any],
    vocabulary: Vocabulary,
    tensors: Mapping[str, npt.NDArray[Any]],
    *,
    overwrite: bool = False,
) -> None:
    """Write a model: config.json, vocabulary.json and model.safetensors.

    Args:
        folder: is made if it is not there; other files in it stay as they are.
        config: JSON values that say what the model is.
        vocabulary: the symbols it reads and writes.
        tensors: its parameters by name.
        overwrite: replace a model that is already there.

    Raises: CheckpointError if a model is there and overwrite is False, or the files cannot be written; what was there
        is then as it was.  ValueError if config holds a key of the file's own.
    """
    folder = Path(folder)
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not overwrite and (folder / "config.json").exists():
            raise CheckpointError(
                f"{folder}: a model is already there; name another folder, or overwrite it on purpose"
            )
        if not config.keys().isdisjoint(OURS):
            raise ValueError(f"save_model: config has one of the keys {', '.join(OURS)}, which are the file's own")
        packed, symbols = _packed(tensors), vocabulary.to_json()
        sums = {"vocabulary.json": _sha256(symbols), "model.safetensors": _sha256(packed)}
        _replace(
            {
                folder / "vocabulary.json": symbols,
                folder / "model.safetensors": packed,
                folder / "config.json": _json({"format_version": FORMAT_VERSION, "sha256": sums} | config),
            }
        )


def load_model(folder: str | Path) -> tuple[dict[str, Any], Vocabulary, Tensors]:
    """Return the config, the vocabulary and the tensors of a model, as :func:`save_model` got them.

    Raises: CheckpointError if there is no model, or a file is damaged, foreign or of an unknown format version.
    """
    folder = Path(folder)
    if not (folder / "config.json").exists():
        raise CheckpointError(f"{folder}: no config.json, so there is no model; check the path")
    described = _read(folder / "config.json")
    sums = _parsed(folder / "config.json", described, _Config).sha256
    symbols = _read(folder / "vocabulary.json")
    _refuse_other_sum(folder / "vocabulary.json", symbols, sums.get("vocabulary.json"))
    try:
        vocabulary = Vocabulary.from_json(symbols)
    except ValueError as error:
        raise CheckpointError(f"{folder / 'vocabulary.json'}: {error}") from None
    tensors = _unpacked(folder / "model.safetensors", sums.get("model.safetensors"))
    config = json.loads(described)
    return {key: config[key] for key in config if key not in OURS}, vocabulary, tensors


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
            with _writing(self.path):
                os.truncate(self.path, self._length_up_to(step))

    def append(self, line: dict[str, Any]) -> None:
        """Write one line at the end; it is whole or not there at all, unless the machine itself goes down."""
        data = json.dumps(line, allow_nan=False).encode() + b"\n"
        with _writing(self.path):
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


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write into one sentence."""
    try:
        yield
    except OSError as error:
        remedy = {
            errno.ENOSPC: "free some space, or name a folder on another disk",
            errno.EDQUOT: "free some space, or name a folder on another disk",
            errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
        }.get(error.errno or 0, "name a folder that you can write to")
        raise CheckpointError(f"{path}: cannot write: {error.strerror or error}; {remedy}") from error


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False).encode() + b"\n"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _packed(tensors: Mapping[str, npt.NDArray[Any]]) -> bytes:
    return safetensors.numpy.save({name: np.asarray(array, order="C") for name, array in tensors.items()})


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(files: dict[Path, bytes]) -> None:
    """Write files of one folder, all of them under other names first; renamed in this order."""
    staged = {path: path.with_name(f".{path.name}.unfinished") for path in files}
    try:
        for path, data in files.items():
            _write(staged[path], data)
        for path in files:
            staged[path].replace(path)
    finally:
        for stage in staged.values():
            stage.unlink(missing_ok=True)
    _sync(next(iter(files)).parent)


def _free_name(checkpoints: Path, step: int) -> Path:
    """Return a name for the checkpoint of this step; one step may be saved more than once."""
    name = f"step-{step:09}"
    names = itertools.chain([name], (f"{name}.{again}" for again in itertools.count(2)))
    return next(checkpoints / name for name in names if not (checkpoints / name).exists())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: the file is missing; the run is not whole") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read: {error.strerror}") from None


def _parsed(path: Path, data: bytes, kind: type[Parsed]) -> Parsed:
    try:
        version = msgspec.json.decode(data, type=_Version).format_version
        if version != FORMAT_VERSION:
            raise CheckpointError(f"{path}: format version {version}; this release reads {FORMAT_VERSION}")
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: damaged, or written by something else: {error}") from None


def _refuse_other_sum(path: Path, data: bytes, expected: str | None) -> None:
    if _sha256(data) != expected:
        raise CheckpointError(
            f"{path}: damaged, or of another save: its sha256 begins {_sha256(data)[:12]}, "
            f"expected {(expected or 'none')[:12]}; restore the folder from a copy, or train the model again"
        )


def _unpacked(path: Path, expected: str | None) -> Tensors:
    data = _read(path)
    _refuse_other_sum(path, data, expected)
    try:
        return safetensors.numpy.load(data)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: damaged, or no safetensors file: {error}") from None
