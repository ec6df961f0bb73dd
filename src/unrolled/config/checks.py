"""Checks of the configurations' fields: each error names the field, its value and what is legal."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from operator import contains
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from msgspec import Meta

#: Whole numbers from 0, and from 1.
Count = Annotated[int, Meta(ge=0)]
PositiveInt = Annotated[int, Meta(ge=1)]
#: Numbers from 0, above 0, and in [0, 1).
NonNegative = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, lt=1)]
#: Steps whose gates the backward pass computes again at a time; "auto" for about sqrt(T); None saves every gate.
CheckpointSteps: TypeAlias = int | Literal["auto"] | None

#: Types whose values are all legal, as messages name them.
PLAIN: dict[Any, str] = {bool: "true or false", str: "text"}


def check_fields(config: Any) -> None:
    """Refuse any field whose value its annotation does not allow: a ``Literal``, a number with a range, text, a bool.

    Raises: ValueError naming the field, its value and what is legal.

    >>> from unrolled.config.model import ModelConfig
    >>> ModelConfig(cell="lstn")
    Traceback (most recent call last):
        ...
    ValueError: cell is 'lstn'; it must be one of rnn, lstm, gru
    """
    for field, fits, legal in _rules(config.__class__):
        value = getattr(config, field)
        if not fits(value):
            raise ValueError(f"{field} is {value!r}; it must be {legal}")


@cache
def _rules(cls: type[Any]) -> list[tuple[str, Callable[[Any], bool], str]]:
    """Return name, test and legal values of every field whose annotation says them."""
    rules: list[tuple[str, Callable[[Any], bool], str]] = []
    for field, hint in get_type_hints(cls, include_extras=True).items():
        origin, parts = get_origin(hint), get_args(hint)
        if origin is Literal:
            rules.append((field, partial(contains, parts), f"one of {', '.join(parts)}"))
        elif origin is Annotated:
            rules.append((field, partial(_fits, *parts), _range(*parts)))
        elif hint in PLAIN:
            rules.append((field, partial(_is_a, hint), PLAIN[hint]))
    return rules  # checkpoint_steps has a check of its own


def _is_a(kind: type, value: Any) -> bool:
    return isinstance(value, kind)


def _fits(kind: type, bounds: Any, value: Any) -> bool:
    """Return whether a value is a finite number of a type and within bounds."""
    if isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)):
        return False
    above = value > bounds.gt if bounds.ge is None else value >= bounds.ge
    return bool(above and (value < _end(bounds) if bounds.le is None else value <= bounds.le))


def _end(bounds: Any) -> float:
    """Return the upper end of a range that does not include it."""
    return math.inf if bounds.lt is None else bounds.lt


def _range(kind: type, bounds: Any) -> str:
    """Return bounds as messages name them.

    >>> _range(float, Meta(gt=0, le=1))
    'a number in (0, 1]'
    """
    if kind is int:
        return f"a whole number of at least {bounds.ge}"
    low = f"({bounds.gt:g}" if bounds.ge is None else f"[{bounds.ge:g}"
    high = f"{bounds.le:g}]" if bounds.le is not None else f"{_end(bounds):g})"
    return f"a number in {low}, {high}"


def check_checkpoint_steps(wanted: object) -> None:
    """Refuse anything but None, "auto" and a number of steps.

    Raises: ValueError naming the value and what is legal.

    >>> check_checkpoint_steps(0)
    Traceback (most recent call last):
        ...
    ValueError: checkpoint_steps is 0, expected None, "auto" or the steps of a segment, 1 or more
    """
    if not (wanted is None or wanted == "auto" or (type(wanted) is int and wanted >= 1)):
        raise ValueError(f'checkpoint_steps is {wanted!r}, expected None, "auto" or the steps of a segment, 1 or more')
