"""Where the options of `train` come from: flags, a TOML file, the run that is resumed or the model it starts from."""

from __future__ import annotations

import tomllib
import warnings
from contextvars import ContextVar
from io import StringIO
from pathlib import Path
from typing import Any

from cyclopts import App, Token
from cyclopts.argument import ArgumentCollection
from cyclopts.utils import UNSET

from unrolled.commands.starting_point import sections_of
from unrolled.config.options import named_as_flags
from unrolled.config.run import RunConfig

#: Bytes of a TOML file at most.
LIMIT = 1 << 20

_given: ContextVar[frozenset[str]] = ContextVar("given", default=frozenset())


def given_options() -> frozenset[str]:
    """Return the names of the options that :func:`fill_in` found set: not by their defaults."""
    return _given.get()


def fill_in(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Set every flag that was not given to its value in the TOML file, else in the run to resume or the model to start
    from.

    Raises: ValueError naming the file and the key that is wrong.
    """
    by_name = {argument.name: argument for argument in arguments}

    def given() -> dict[str, str]:
        return {name: _text(argument.tokens[0]) for name, argument in by_name.items() if argument.tokens}

    def fill(sections: dict[str, Any], source: str) -> None:
        for key, value in [item for section in sections.values() for item in section.items()]:
            argument = by_name["--" + key.replace("_", "-")]  # the keys of all sections are distinct
            if value is not None and not argument.tokens:
                text = str(value).lower() if isinstance(value, bool) else str(value)
                argument.append(Token(keyword=argument.name, value=text, source=source))

    flags = given()
    if "--from" in flags and "--resume" in flags:
        raise ValueError("--from begins a new run and --resume continues one; leave one of them out")
    if flags.get("--config"):  # one that is empty is refused with every other path
        fill(_of_toml(Path(flags["--config"])), flags["--config"])
    if "--resume" in flags and flags.get("--out"):
        fill(_of_run(Path(flags["--out"])), flags["--out"])
    if flags.get("--from"):
        fill(sections_of(Path(flags["--from"]), given()), flags["--from"])
    _given.set(frozenset(name.removeprefix("--").replace("-", "_") for name in given()))


def _text(token: Token) -> str:
    """Return the value of an option as text; a flag has none but what its name implies."""
    return token.value or ("" if token.implicit_value is UNSET else str(token.implicit_value).lower())


def _of_toml(path: Path) -> dict[str, Any]:
    sections = read_toml(path)
    try:
        _check(sections)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return sections


def read_toml(path: Path) -> dict[str, Any]:
    """Return what a TOML file holds.

    Raises: ValueError naming the file and what is wrong with it.
    """
    from unrolled.saved.visible import unmarked

    try:
        with path.open("rb") as file:
            data = file.read(LIMIT + 1)
        if len(data) > LIMIT:
            raise ValueError(f"has more than {LIMIT:,} bytes, so it is no configuration")
        return tomllib.loads(StringIO(unmarked(data).decode(), newline=None).read())
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: byte {error.start} is not UTF-8; convert the file to UTF-8") from None
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _of_run(folder: Path) -> dict[str, Any]:
    """Return the sections of the run in a folder; a run that began in Python has no [data]."""
    from unrolled.saved.checkpoints import load_state

    if not (folder / "checkpoints" / "latest").exists():
        raise ValueError(f"{folder}: no checkpoints/latest, so there is no run to resume; check --out")
    try:
        began = load_state(folder)["config"]
        sections = {name: began.get(name) or {} for name in ("model", "data", "training")}
        _check(sections)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder}: not the checkpoint of a run: {error}") from None
    return sections


def _check(sections: dict[str, Any]) -> None:
    """Refuse sections that are no configuration; what one only warns of is said of the options as a whole."""
    with named_as_flags(False), warnings.catch_warnings(action="ignore"):
        RunConfig.from_dict(sections)
