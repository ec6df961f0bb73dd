"""Where the options of `train` come from: flags, then a TOML file, then the run that is resumed, then defaults."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cyclopts import App, Token
from cyclopts.argument import ArgumentCollection

from unrolled.config.run import RunConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def fill_in(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Give every flag of `train` that was not given the value it has in the TOML file or in the run to resume.

    Raises: ValueError naming the file and the key that is wrong.
    """
    if commands != ("train",):
        return
    by_name = {argument.name: argument for argument in arguments}
    given = {name: argument.tokens[0].value for name, argument in by_name.items() if argument.tokens}
    values: dict[str, tuple[Any, str]] = {}
    if "--resume" in given and "--out" in given:
        values |= _flat(_of_run(Path(given["--out"])), given["--out"])
    if "--config" in given:
        values |= _flat(_of_toml(Path(given["--config"])), given["--config"])
    for key, (value, source) in values.items():
        argument = by_name["--" + key.replace("_", "-")]
        if not argument.tokens:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            argument.append(Token(keyword=argument.name, value=text, source=source))


def _flat(sections: Mapping[str, Mapping[str, Any]], source: str) -> Iterator[tuple[str, tuple[Any, str]]]:
    """Yield each key with its value and where it comes from; the keys of all tables are distinct."""
    return ((key, (value, source)) for section in sections.values() for key, value in section.items())


def _of_toml(path: Path) -> dict[str, Any]:
    try:
        sections = tomllib.loads(path.read_text("utf-8"))
        RunConfig.from_dict(sections)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    return sections


def _of_run(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.exists():
        raise ValueError(f"{folder}: no config.json, so there is no run to resume; check --out")
    try:
        saved = json.loads(path.read_text("utf-8"))
        sections = {name: saved[name] or {} for name in ("model", "data", "training")}
        RunConfig.from_dict(sections)
    except (KeyError, TypeError, OSError, ValueError) as error:
        raise ValueError(f"{path}: not the config of a run: {error}") from None
    return sections
