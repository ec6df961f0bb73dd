"""evaluation.json: what was measured of the model in a folder, bits beside baselines, for its card and for tables."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec

from unrolled.saved.atomic_files import FORMAT_VERSION, CheckpointError, from_json, read_file, to_json, write_file
from unrolled.saved.model import read_config

FILE = "evaluation.json"


class _Baseline(msgspec.Struct):
    bits: float | None


class _Measured(msgspec.Struct):
    sha256: str
    of: str
    symbols: int
    bits: float | None
    baselines: dict[str, _Baseline]


def save_measured(folder: str | Path, measured: dict[str, Any]) -> None:
    """Write what was measured of the model in a folder.

    Args: the folder; the data it was measured on, `of`, its `symbols`, the `bits` for each, and `baselines` by name,
        each with its `bits`.
    Raises: CheckpointError if there is no model, or the file cannot be written.
    """
    _, sums = read_config(folder)
    beside = {name: {"bits": _finite(each["bits"])} for name, each in measured["baselines"].items()}
    value = {"format_version": FORMAT_VERSION, "sha256": sums["model.safetensors"], "baselines": beside}
    value |= {"of": measured["of"], "symbols": measured["symbols"], "bits": _finite(measured["bits"])}
    write_file(Path(folder) / FILE, to_json(value))


def load_measured(folder: str | Path) -> dict[str, Any] | None:
    """Return what was measured of the model in a folder; None if nothing was, or of other weights.

    Raises: CheckpointError if there is no model, or the file is damaged.
    """
    file = Path(folder) / FILE
    if not file.exists():
        return None
    try:
        found = from_json(read_file(file), _Measured)
    except ValueError as error:
        raise CheckpointError(f"{file}: {error}") from None
    _, sums = read_config(folder)
    known: dict[str, Any] = msgspec.to_builtins(found)
    return known if known.pop("sha256") == sums.get("model.safetensors") else None


def _finite(bits: float) -> float | None:
    return bits if math.isfinite(bits) else None
