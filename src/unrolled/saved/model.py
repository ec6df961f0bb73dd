"""The folder of a model: config.json, vocabulary.json and model.safetensors.

config.json holds the sha256 of the other two, and its rename is the moment of a save: before it the folder holds the
model of the save before, after it the new one.  Parts of two saves are never taken for one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import msgspec
import numpy.typing as npt

from unrolled.config.model import ModelConfig
from unrolled.saved.atomic_files import (
    FORMAT_VERSION,
    CheckpointError,
    Tensors,
    pack,
    parse,
    read_file,
    read_whole,
    replace_files,
    sha256,
    to_json,
    unchanged,
    unpack,
    writing,
)
from unrolled.saved.lock import only_writer
from unrolled.saved.vocabulary import Vocabulary

#: Keys of config.json that belong to the file format; all others describe the model.
RESERVED = ("format_version", "sha256")


class _Config(msgspec.Struct):
    format_version: int
    sha256: dict[str, str]


@dataclass(frozen=True)
class SavedModel:
    """What config.json says of the model itself, however it was trained.

    Attributes:
        model: Cell, sizes and options.
        framed: Whether it learned sequences that end with EOS; else one stream.
    """

    model: ModelConfig
    framed: bool

    @classmethod
    def from_dict(cls, config: Mapping[str, Any], folder: str | Path) -> SavedModel:
        """Convert the config that :func:`load_model` returned for this folder.

        Raises: ValueError naming the file, and the field that is missing or out of range.
        """
        try:
            known = {field.name for field in fields(ModelConfig)}  # a later release may write more
            model = ModelConfig(**{key: value for key, value in config["model"].items() if key in known})
            if not isinstance(config["framed"], bool):
                raise ValueError(f"framed is {config['framed']!r}; it must be true or false")
            return cls(model, config["framed"])
        except KeyError as error:
            problem = f"{error.args[0]} is missing"
        except (AttributeError, TypeError, ValueError) as error:
            problem = str(error)
        raise ValueError(f"{Path(folder) / 'config.json'}: not the config of a model: {problem}")


def save_model(
    folder: str | Path,
    config: dict[str, Any],
    vocabulary: Vocabulary,
    tensors: Mapping[str, npt.NDArray[Any]],
    *,
    overwrite: bool = False,
) -> None:
    """Write a model's config.json, vocabulary.json and model.safetensors.

    Args:
        folder: created if need be; other files in it stay as they are.
        config: JSON values that describe the model.
        vocabulary: the symbols it reads and writes.
        tensors: its parameters by stored name.
        overwrite: replace a model that is already there.

    Raises: CheckpointError if a model is there and overwrite is False, or the files cannot be written; the folder is
        then unchanged.  ValueError if config has a reserved key.
    """
    folder = Path(folder)
    with only_writer(folder):
        if not overwrite and (folder / "config.json").exists():
            raise CheckpointError(
                f"{folder}: a model is already there; name another folder, or overwrite it on purpose"
            )
        if not config.keys().isdisjoint(RESERVED):
            raise ValueError(f"save_model: config has one of the reserved keys {', '.join(RESERVED)}")
        write_model(folder, config, vocabulary, tensors)


def write_model(
    folder: Path, config: dict[str, Any], vocabulary: Vocabulary, tensors: Mapping[str, npt.NDArray[Any]]
) -> None:
    """Write a model as :func:`save_model`, over one that is there, for the only writer of the folder."""
    packed, symbols = pack(tensors), vocabulary.to_json()
    sums = {"vocabulary.json": sha256(symbols), "model.safetensors": sha256(packed)}
    with writing(folder):
        replace_files(
            {
                folder / "vocabulary.json": symbols,
                folder / "model.safetensors": packed,
                folder / "config.json": to_json({"format_version": FORMAT_VERSION, "sha256": sums} | config),
            }
        )


def load_model(folder: str | Path) -> tuple[dict[str, Any], Vocabulary, Tensors]:
    """Return the config, the vocabulary and the tensors that :func:`save_model` wrote.

    Raises: CheckpointError if there is no model, or a file is damaged, foreign or of an unknown format version.
    """
    return unchanged(Path(folder) / "config.json", lambda: _load(Path(folder)))


def _load(folder: Path) -> tuple[dict[str, Any], Vocabulary, Tensors]:
    config_file, symbols_file = folder / "config.json", folder / "vocabulary.json"
    if not config_file.exists():
        raise CheckpointError(f"{folder}: no config.json, so there is no model; check the path")
    described = read_file(config_file)
    sums = parse(config_file, described, _Config).sha256
    symbols = read_whole(symbols_file, sums.get(symbols_file.name))
    try:
        vocabulary = Vocabulary.from_json(symbols)
    except ValueError as error:
        raise CheckpointError(f"{symbols_file}: {error}") from None
    tensors = unpack(folder / "model.safetensors", sums.get("model.safetensors"))
    config = json.loads(described)
    return {key: config[key] for key in config if key not in RESERVED}, vocabulary, tensors
