"""Checks of the configurations' fields: each error names the field, its value and what is legal."""

from __future__ import annotations

import math
from functools import cache
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from msgspec import Meta

#: Types whose values are all legal, as messages name them.
PLAIN: dict[Any, str] = {bool: "true or false", str: "text"}
#: Steps whose gates the backward pass computes again at a time; "auto" for about sqrt(T); None saves every gate.
CheckpointSteps: TypeAlias = int | Literal["auto"] | None


def check_integer(config: Any, field: str, low: int) -> None:
    """Refuse a field that is not an integer of at least `low`.

    Raises: ValueError naming the field, its value and the legal range.

    >>> from types import SimpleNamespace
    >>> check_integer(SimpleNamespace(hidden_size=0), "hidden_size", 1)
    Traceback (most recent call last):
        ...
    ValueError: hidden_size is 0; it must be a whole number of at least 1
    """
    value = getattr(config, field)
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ValueError(f"{field} is {value!r}; it must be a whole number of at least {low}")


def check_number(config: Any, field: str, low: float, high: float = math.inf, *, open_ends: str = "") -> None:
    """Refuse a field that is not a finite number from `low` to `high`.

    Args:
        config: the object that holds the field.
        field: its name.
        low, high: the legal range.
        open_ends: "low", "high" or "low high": the ends that are themselves not legal.

    Raises: ValueError naming the field, its value and the legal range.

    >>> from types import SimpleNamespace
    >>> check_number(SimpleNamespace(dropout=1.0), "dropout", 0, 1, open_ends="high")
    Traceback (most recent call last):
        ...
    ValueError: dropout is 1.0; it must be a number in [0, 1)
    """
    value = getattr(config, field)
    left, right = "(" if "low" in open_ends else "[", ")" if "high" in open_ends or high == math.inf else "]"
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    above = number and (value > low if left == "(" else value >= low)
    below = number and (value < high if right == ")" else value <= high)
    if not (above and below):
        raise ValueError(f"{field} is {value!r}; it must be a number in {left}{low:g}, {high:g}{right}")


def check_ranges(config: Any) -> None:
    """Refuse any number outside the range that its field is annotated with, as in ``Annotated[float, Meta(gt=0)]``.

    Raises: ValueError naming the field, its value and the legal range.

    >>> from unrolled.config.generation import GenerationConfig
    >>> GenerationConfig(top_p=0)
    Traceback (most recent call last):
        ...
    ValueError: top_p is 0; it must be a number in (0, 1]
    """
    for field, (kind, meta) in _ranges(config.__class__).items():
        if kind is int:
            check_integer(config, field, meta.ge)
        else:
            low, high = (meta.ge if meta.gt is None else meta.gt), (math.inf if meta.le is None else meta.le)
            check_number(config, field, low, high, open_ends="" if meta.gt is None else "low")


@cache
def _ranges(cls: type[Any]) -> dict[str, tuple[type, Any]]:
    """Return the type and the Meta of every field that has one."""
    hints = get_type_hints(cls, include_extras=True)
    annotated = {name: get_args(hint) for name, hint in hints.items() if get_origin(hint) is Annotated}
    return {name: (kind, each) for name, (kind, *more) in annotated.items() for each in more if isinstance(each, Meta)}


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


def check_choices(config: Any) -> None:
    """Refuse any field annotated as a ``Literal``, text or true/false that holds something else.

    Raises: ValueError naming the field, its value and every legal word.

    >>> from unrolled.config.model import ModelConfig
    >>> ModelConfig(cell="lstn")
    Traceback (most recent call last):
        ...
    ValueError: cell is 'lstn'; it must be one of rnn, lstm, gru
    """
    for field, hint in _hints(config.__class__).items():
        value, choices = getattr(config, field), get_args(hint)
        if get_origin(hint) is Literal and value not in choices:
            raise ValueError(f"{field} is {value!r}; it must be one of {', '.join(choices)}")
        if hint in PLAIN and not isinstance(value, hint):
            raise ValueError(f"{field} is {value!r}; it must be {PLAIN[hint]}")


@cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    return get_type_hints(cls)
