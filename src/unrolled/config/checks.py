"""Checks of the configurations' fields: each error names the field, its value and what is legal."""

from __future__ import annotations

import numbers
import re
from collections.abc import Callable
from functools import cache, partial
from operator import contains, index
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, Union, get_args, get_origin, get_type_hints

from msgspec import Meta

from unrolled.config.options import brief, option

#: The largest size, count and place, and the largest number that is not whole: every number has two bounds.
LARGEST, LARGE = 2**31 - 1, 1e9
#: Whole numbers from 0, from 1, and from the end too.
Count = Annotated[int, Meta(ge=0, le=LARGEST)]
PositiveInt = Annotated[int, Meta(ge=1, le=LARGEST)]
Index = Annotated[int, Meta(ge=-LARGEST, le=LARGEST)]
#: The largest lag whose Jacobian is asked for: each takes a step back of all unit vectors, milliseconds at H 256.
Lags = Annotated[int, Meta(ge=1, le=10_000)]
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]
#: Numbers, those from 0, above 0, and in [0, 1).
Real = Annotated[float, Meta(ge=-LARGE, le=LARGE)]
NonNegative = Annotated[float, Meta(ge=0, le=LARGE)]
Positive = Annotated[float, Meta(gt=0, le=LARGE)]
Share = Annotated[float, Meta(ge=0, lt=1)]
#: Steps whose gates the backward pass computes again at a time; "auto" for about sqrt(T); None saves every gate.
CheckpointSteps: TypeAlias = PositiveInt | Literal["auto"] | None
#: The type that a model computes in: bfloat16 reads its weights rounded, and sums in float32.
Precision: TypeAlias = Literal["float32", "bfloat16"]
#: The type that the runtime computes in: that in which a network is stored, or another.
RuntimeWeights: TypeAlias = Literal["stored", "float32", "bfloat16", "int8"]
#: How the matrices of a network of float32 are saved.
StoredWeights: TypeAlias = Literal["float32", "bfloat16", "int8"]

#: Types whose values are all legal, as messages name them.
PLAIN: dict[Any, str] = {bool: "true or false", str: "text"}


class Number(NamedTuple):
    """The numbers that an annotation allows."""

    kind: type
    bounds: Any  #: msgspec.Meta, with one lower and one upper bound

    def allows(self, value: Any) -> bool:
        """Return whether a value is a number of this kind within the bounds; NaN is in none."""
        if isinstance(value, bool) or not isinstance(value, int if self.kind is int else (int, float)):
            return False
        bounds = self.bounds
        above = value > bounds.gt if bounds.ge is None else value >= bounds.ge
        return bool(above and (value < bounds.lt if bounds.le is None else value <= bounds.le))

    def __str__(self) -> str:
        """Return what is legal, as messages say it.

        >>> str(Number(float, Meta(gt=0, le=1)))
        'a number in (0, 1]'
        """
        bounds = self.bounds
        if self.kind is int:
            return f"a whole number from {bounds.ge:,} to {bounds.le:,}"
        least = f"({bounds.gt:g}" if bounds.ge is None else f"[{bounds.ge:g}"
        return f"a number in {least}, " + (f"{bounds.lt:g})" if bounds.le is None else f"{bounds.le:g}]")


def number_in(hint: Any) -> Number | None:
    """Return the number that an annotation allows, also in a list or beside other values; None if it allows none.

    >>> str(number_in(list[Count] | None))
    'a whole number from 0 to 2,147,483,647'
    """
    parts = get_args(hint)
    if get_origin(hint) is Annotated:
        bounds = next((part for part in parts if isinstance(part, Meta)), None)
        return number_in(parts[0]) if bounds is None else Number(parts[0], bounds)
    inner = parts if get_origin(hint) in (list, Union, UnionType) else ()
    return next(filter(None, map(number_in, inner)), None)


def check_fields(config: Any) -> None:
    """Refuse any field whose value its annotation does not allow: a ``Literal``, a number with a range, text, a bool.

    Raises: ValueError naming the field, its value and what is legal.

    >>> from unrolled.config.model import ModelConfig
    >>> ModelConfig(cell="lstn")
    Traceback (most recent call last):
        ...
    ValueError: cell is 'lstn'; it must be one of rnn, lstm, gru
    """
    for field, rule in _rules(config.__class__):
        if not rule.fits(value := getattr(config, field)):
            raise _refused(field, value, rule)


def legal_values(config: Any) -> dict[str, str]:
    """Return what is legal for each field whose annotation says it, in the words of the messages.

    >>> from unrolled.config.model import ModelConfig
    >>> legal_values(ModelConfig)["cell"]
    'one of rnn, lstm, gru'
    """
    return {field: rule.legal for field, rule in _rules(config)}


def check_value(name: str, value: object, hint: Any) -> None:
    """Refuse a value that an annotation does not allow, as :func:`check_fields` does; numbers may be NumPy's.

    >>> check_value("size", None, PositiveInt | None)
    >>> check_value("weights", "int8", Precision)
    Traceback (most recent call last):
        ...
    ValueError: weights is 'int8'; it must be one of float32, bfloat16
    """
    takes_none, rule = _argument(hint)
    if value is None and takes_none:
        return
    if not isinstance(value, (bool, str)):
        try:
            value = index(value)  # type: ignore[arg-type]
        except TypeError:
            value = float(value) if isinstance(value, numbers.Real) else value
    if not rule.fits(value):
        raise _refused(name, value, rule)


class Rule(NamedTuple):
    """Which values are legal, and how messages say it."""

    fits: Callable[[Any], bool]
    legal: str


def _refused(name: str, value: object, rule: Rule) -> ValueError:
    return ValueError(f"{option(name)} is {brief(value)}; it must be {rule.legal}")


@cache
def _rules(cls: type[Any]) -> list[tuple[str, Rule]]:
    """Return the rule of every field whose annotation says it; checkpoint_steps has a check of its own."""
    rules = ((field, _rule(hint)) for field, hint in get_type_hints(cls, include_extras=True).items())
    return [(field, rule) for field, rule in rules if rule is not None]


@cache
def _rule(hint: Any) -> Rule | None:
    if get_origin(hint) is Literal:
        parts = get_args(hint)
        return Rule(partial(contains, parts), f"one of {', '.join(parts)}")
    if get_origin(hint) is Annotated and (number := number_in(hint)):
        return Rule(number.allows, str(number))
    return Rule(partial(_is_a, hint), PLAIN[hint]) if hint in PLAIN else None


@cache
def _argument(hint: Any) -> tuple[bool, Rule]:
    """Return whether an annotation is `X | None`, and the rule of X."""
    inner = [part for part in get_args(hint) if part is not NoneType] if NoneType in get_args(hint) else [hint]
    rule = _rule(inner[0])
    assert rule is not None
    return inner[0] is not hint, rule


def _is_a(kind: type, value: Any) -> bool:
    return isinstance(value, kind)


def check_checkpoint_steps(wanted: object) -> None:
    """Refuse anything but None, "auto" and a number of steps.

    Raises: ValueError naming the value and what is legal.

    >>> check_checkpoint_steps(0)
    Traceback (most recent call last):
        ...
    ValueError: checkpoint_steps is 0, expected None, "auto" or the steps of a segment, 1 to 2,147,483,647
    """
    if not (wanted is None or wanted == "auto" or (type(wanted) is int and 1 <= wanted <= LARGEST)):
        raise ValueError(
            f"{option('checkpoint_steps')} is {brief(wanted)}, "
            'expected None, "auto" or the steps of a segment, 1 to 2,147,483,647'
        )


def bytes_of(name: str, size: str) -> int:
    """Return the bytes of a size as people write it.

    Args: name: of the option; size: such as "500MB" or "2 GiB".
    Raises: ValueError naming the option, its value and what is legal.

    >>> bytes_of("memory", "2GB"), bytes_of("memory", "1.5 MiB")
    (2000000000, 1572864)
    >>> bytes_of("memory", "much")
    Traceback (most recent call last):
        ...
    ValueError: memory is 'much'; it must be a size such as 500MB or 2GB
    """
    check_value(name, size, str)
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?([kMGT])(i?)B", size.strip(), re.ASCII)
    count = int(float(found[1]) * (1024 if found[3] else 1000) ** (1 + "kMGT".index(found[2]))) if found else 0
    if not count:
        raise ValueError(f"{option(name)} is {brief(size)}; it must be a size such as 500MB or 2GB")
    return count
