"""In what processes that shall train one model differ: found at the start, and named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unrolled.config.options import brief, option

#: What each process says of a kind of thing: names and values.
Given = dict[str, dict[str, Any]]
#: What is to be done about each kind.
REMEDIES = {
    "version": "install the same versions everywhere",
    "options": "start all processes with the same options",
    "data": "give all processes the same files, read in the same way",
    "model": "make the same model in all processes",
}


def difference(given: Sequence[Given], names: Sequence[str]) -> str | None:
    """Return a sentence on the first process that was given another thing than the first one; None if none was.

    Args: what each process was given, by kind; what each is called.

    >>> given = [{"options": {"hidden_size": size}} for size in (64, 64, 32)]
    >>> difference(given, ["rank 0", "rank 1", "rank 2"])
    'rank 2 has hidden_size=32, rank 0 has hidden_size=64; start all processes with the same options'
    """
    first = given[0]
    for name, other in zip(names[1:], given[1:], strict=True):
        for kind, values in first.items():
            mine, its = values, other.get(kind, {})
            for key in [*mine, *(its.keys() - mine.keys())]:
                if mine.get(key) != its.get(key):
                    has = (_said(kind, key, each.get(key)) for each in (its, mine))
                    return f"{name} has {next(has)}, {names[0]} has {next(has)}; {REMEDIES[kind]}"
    return None


def _said(kind: str, key: str, value: Any) -> str:
    if kind == "options":
        return f"no {option(key)}" if value is None else option(key, value)
    return f"{key} {value if isinstance(value, str) else brief(value)}"
