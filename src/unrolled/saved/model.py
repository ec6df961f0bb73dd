"""The folder of a model: config.json, vocabulary.json and model.safetensors.

config.json holds the sha256 of all three; its own is of its bytes with 64 zeros in the place of that sum, and version
0.1 wrote none.  Its rename is the moment of a save: before it the folder holds the model of the save before, after it
the new one, and parts of two saves are never taken for one.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from unrolled.config.data import DataConfig
from unrolled.config.model import ModelConfig
from unrolled.config.options import named_as_flags
from unrolled.config.training import TrainingConfig
from unrolled.saved.atomic_files import (
    FORMAT_VERSION,
    CheckpointError,
    Tensors,
    check_sum,
    parse,
    read_file,
    read_whole,
    replace_files,
    sha256,
    to_json,
    unchanged,
    writing,
)
from unrolled.saved.checkpoints import refuse_other
from unrolled.saved.lock import only_writer
from unrolled.saved.stored import pack_as, unpack_as
from unrolled.saved.tensors import check_tensors, model_tensors
from unrolled.saved.vocabulary import Vocabulary

Section = TypeVar("Section", ModelConfig, DataConfig, TrainingConfig)

#: Keys of config.json that belong to the file format; all others describe the model.
RESERVED = ("format_version", "sha256")
#: What stands in config.json for its own sum while that is computed.
BLANK = "0" * 64


@dataclass(frozen=True)
class SavedModel:
    """A model as its folder holds it, each part checked against the others.

    Attributes:
        model: Cell, sizes and options.
        framed: Whether it learned sequences that end with EOS; else one stream.
        vocabulary: The symbols it reads and writes.
        tensors: Its parameters by stored name, all finite and of one type, float32 or float64.
        origin: How it was trained: the other keys of config.json.
    """

    model: ModelConfig
    framed: bool
    vocabulary: Vocabulary
    tensors: Tensors
    origin: dict[str, Any]

    @classmethod
    def load(cls, folder: str | Path) -> SavedModel:
        """Load the model in a folder; no code in it is run.

        Raises: CheckpointError naming the file, and what is missing, damaged, out of range or does not fit the others.
        """
        config, vocabulary, tensors = load_model(folder)
        model, framed = _described(Path(folder) / "config.json", config, vocabulary)
        check_model(folder, model, vocabulary, tensors)
        return cls(model, framed, vocabulary, tensors, config)


def check_model(folder: str | Path, model: ModelConfig, vocabulary: Vocabulary, tensors: Tensors) -> None:
    """Refuse tensors that are not those of a model of this configuration and vocabulary.

    Raises: CheckpointError naming the file and the tensors.
    """
    double = "head.bias" in tensors and tensors["head.bias"].dtype == np.float64
    expected = model_tensors(model, len(vocabulary), np.float64 if double else np.float32)
    check_tensors(Path(folder) / "model.safetensors", tensors, expected, "config.json and vocabulary.json")


class _Described(msgspec.Struct):
    """The keys of config.json that commands read; there may be more, and fewer of a model that no run made."""

    model: dict[str, Any]
    framed: bool
    training: dict[str, Any] | None = None
    data: dict[str, Any] | None = None
    sources: list[str] | None = None
    fingerprint: str | None = None


def _described(file: Path, config: dict[str, Any], vocabulary: Vocabulary) -> tuple[ModelConfig, bool]:
    """Return what config.json says of the model itself; all that it says must hold, by itself and with the rest."""
    try:
        described = msgspec.convert(config, _Described)
        model = section(ModelConfig, "model", described.model)
        if described.training is not None:
            section(TrainingConfig, "training", described.training)
        if described.data is not None:
            data = section(DataConfig, "data", described.data)
            if (data.lines or data.separator) and not described.framed:
                which = "lines is true" if data.lines else "separator is given"
                raise ValueError(f"[data] {which}, but framed is false: these are sequences, which end with EOS")
            if data.kind not in ("auto", vocabulary.kind):
                raise ValueError(f"[data] kind is {data.kind!r}, but vocabulary.json holds {vocabulary.kind}")
        return model, described.framed
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{file}: not the config of a model: {error}; it was changed by hand, or damaged"
        ) from None


def section(kind: type[Section], name: str, values: Mapping[str, Any]) -> Section:
    """Return a section of config.json; what a later release wrote beside the keys known here is left out."""
    known = {field.name for field in fields(kind)}
    try:
        with named_as_flags(False), warnings.catch_warnings(action="ignore"):
            return kind(**{key: value for key, value in values.items() if key in known})
    except (TypeError, ValueError) as error:
        raise ValueError(f"[{name}] {error}") from None


def save_model(
    folder: str | Path,
    config: dict[str, Any],
    vocabulary: Vocabulary | None,
    tensors: Mapping[str, npt.NDArray[Any]],
    *,
    overwrite: bool = False,
) -> None:
    """Write a model's config.json, vocabulary.json and model.safetensors.

    Args:
        folder: created if need be; other files in it stay as they are.
        config: JSON values that describe the model; `weights`, if it is there, how its matrices are stored.
        vocabulary: the symbols it reads and writes; None for a network that is no text model.
        tensors: its parameters by stored name.
        overwrite: replace a model that is already there.

    Raises: CheckpointError if a model is there and overwrite is False, if a run is there that can be resumed, or if the
        files cannot be written; the folder is then unchanged.  ValueError if config has a reserved key.
    """
    folder = Path(folder)
    with only_writer(folder):
        refuse_other(folder, "config.json")
        if not overwrite and (folder / "config.json").exists():
            raise CheckpointError(
                f"{folder}: a model is already there; name another folder, or overwrite it on purpose"
            )
        if (folder / "checkpoints" / "latest").exists():
            raise CheckpointError(
                f"{folder}: a run is there, and resuming it would replace this model; name another folder"
            )
        if not config.keys().isdisjoint(RESERVED):
            raise ValueError(f"save_model: config has one of the reserved keys {', '.join(RESERVED)}")
        write_model(folder, config, vocabulary, tensors)


def write_model(
    folder: Path, config: dict[str, Any], vocabulary: Vocabulary | None, tensors: Mapping[str, npt.NDArray[Any]]
) -> None:
    """Write a model as :func:`save_model`, over one that is there, for the only writer of the folder."""
    parts = {} if vocabulary is None else {"vocabulary.json": vocabulary.to_json()}
    parts |= {"model.safetensors": pack_as(tensors, config.get("weights"))}
    sums = {"config.json": BLANK} | {name: sha256(part) for name, part in parts.items()}
    described = to_json({"format_version": FORMAT_VERSION, "sha256": sums} | config)
    parts |= {"config.json": described.replace(BLANK.encode(), sha256(described).encode(), 1)}
    with writing(folder):
        replace_files({folder / name: part for name, part in parts.items()})
        if vocabulary is None:
            (folder / "vocabulary.json").unlink(missing_ok=True)  # of a model that was there before


def load_model(folder: str | Path) -> tuple[dict[str, Any], Vocabulary, Tensors]:
    """Return the config, the vocabulary and the tensors that :func:`save_model` wrote.

    Each is as it was saved; :meth:`SavedModel.load` also finds out whether they fit each other.

    Raises: CheckpointError if there is no model, or a file is damaged, foreign or of an unknown format version.
    """
    config, vocabulary, tensors = unchanged(Path(folder) / "config.json", lambda: read_parts(Path(folder)))
    if vocabulary is None or "network" in config:
        raise CheckpointError(
            f"{folder}: holds layers that are no text model of this package; load them with unrolled.runtime.load"
        )
    return config, vocabulary, tensors


def read_parts(folder: Path) -> tuple[dict[str, Any], Vocabulary | None, Tensors]:
    """Return the config, the vocabulary, if there is one, and the tensors in a folder, each whole by its sum.

    Raises: CheckpointError as :func:`load_model`; another process may be replacing them (:func:`unchanged`).
    """
    config, sums = read_config(folder)

    def tensors() -> Tensors:
        return unpack_as(folder / "model.safetensors", sums.get("model.safetensors"), config.get("weights"))

    symbols_file = folder / "vocabulary.json"
    if symbols_file.name not in sums:
        return config, None, tensors()
    symbols = read_whole(symbols_file, sums.get(symbols_file.name))
    try:
        vocabulary = Vocabulary.from_json(symbols)
    except ValueError as error:
        raise CheckpointError(f"{symbols_file}: {error}") from None
    return config, vocabulary, tensors()


def read_config(folder: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what config.json says of a model and of its training, and the sums of the files beside it.

    Raises: CheckpointError if there is none, or it is damaged, foreign or of an unknown format version.
    """
    file = Path(folder) / "config.json"
    if not file.exists():
        raise CheckpointError(f"{folder}: no config.json, so there is no model; check the path")
    data = read_file(file)
    config = parse(file, data, dict[str, Any])
    try:
        sums = msgspec.convert(config.get("sha256"), dict[str, str])
    except msgspec.ValidationError as error:
        raise CheckpointError(f"{file}: damaged, or written by something else: sha256: {error}") from None
    own = sums.pop(file.name, None)
    if own is not None:
        check_sum(file, data.replace(own.encode(), BLANK.encode(), 1), own)
    parts = {"model.safetensors"} if "network" in config else {"model.safetensors", "vocabulary.json"}
    if not parts <= sums.keys() <= {"model.safetensors", "vocabulary.json"}:
        raise CheckpointError(f"{file}: damaged: it has the sha256 of {', '.join(map(repr, sums)) or 'no file'}")
    return {key: config[key] for key in config if key not in RESERVED}, sums
