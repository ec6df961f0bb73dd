"""Range checks for the frozen configurations: each names the field, the value that came and the legal range."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

#: Steps whose gates the backward pass computes again at a time; "auto" for about sqrt(T); None saves every gate.
CheckpointSteps: TypeAlias = int | Literal["auto"] | None


def check_integer(config: Any, field: str, low: int) -> None:
    """Refuse a field that is not an integer of at least `low`.

    Raises: ValueError naming the class, the field, its value and the legal range.

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
    """Refuse any field annotated with a ``Literal`` that holds none of its words.

    Raises: ValueError naming the field, its value and every legal word.

    >>> from unrolled.config.model import ModelConfig
    >>> ModelConfig(cell="lstn")
    Traceback (most recent call last):
        ...
    ValueError: cell is 'lstn'; it must be one of rnn, lstm, gru
    """
    for field, choices in _literals(config.__class__).items():
        value = getattr(config, field)
        if value not in choices:
            raise ValueError(f"{field} is {value!r}; it must be one of {', '.join(choices)}")


@cache
def _literals(cls: type[Any]) -> dict[str, tuple[str, ...]]:
    hints = get_type_hints(cls)
    return {name: get_args(hint) for name, hint in hints.items() if get_origin(hint) is Literal}
