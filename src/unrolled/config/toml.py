"""A configuration as TOML text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def to_toml(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """Return tables of plain values as TOML; a value of None, which TOML lacks, is left out.

    >>> print(to_toml({"model": {"cell": "gru", "hidden_size": 64, "tied": True, "checkpoint_steps": None}}), end="")
    [model]
    cell = "gru"
    hidden_size = 64
    tied = true
    """
    tables = (
        "\n".join([f"[{name}]", *(f"{key} = {_value(each)}" for key, each in table.items() if each is not None)])
        for name, table in sections.items()
    )
    return "\n\n".join(tables) + "\n"


def _value(value: bool | int | float | str) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # all else that TOML escapes, JSON does
    return str(value).lower() if isinstance(value, bool) else repr(value)
