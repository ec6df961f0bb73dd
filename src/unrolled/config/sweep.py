"""What a sweep tries: the options that are the same for all its trials, and those that are searched."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from itertools import product
from typing import Any, TypeAlias, get_type_hints

from unrolled.config.checks import check_checkpoint_steps, check_value, number_in
from unrolled.config.data import DataConfig
from unrolled.config.model import ModelConfig
from unrolled.config.options import brief, listed, option
from unrolled.config.run import RunConfig, refuse_unknown
from unrolled.config.training import ENDS, LIMITS, TrainingConfig

#: Options that every trial has alike: the end of a trial, and what changes no result.
ALIKE = LIMITS | {"checkpoint_steps", "validate_every", "log_every"}


@dataclass(frozen=True)
class Range:
    """Numbers from one to another, ends included.

    Attributes:
        low, high: The ends; whole numbers if the option is one.
        log: Whether each factor is as likely as every other, so that 0.001 to 0.01 is tried as often as 0.01 to 0.1.
    """

    low: float
    high: float
    log: bool = False


#: The values that an option may take in a trial: some of which one is chosen, or a range.
Space: TypeAlias = tuple[Any, ...] | Range


@dataclass(frozen=True)
class SweepConfig:
    """A sweep, as its TOML file says it.

    Attributes:
        sources: The data, as `unrolled train` takes it.
        data: How it is read, for all trials.
        given: Options of model and training that all trials have.
        search: The values of each option that is searched.

    >>> sweep = SweepConfig.from_dict({
    ...     "sources": ["sonnets"],
    ...     "training": {"max_steps": 100},
    ...     "search": {"cell": ["lstm", "gru"], "learning_rate": {"low": 1e-3, "high": 0.1, "log": True}},
    ... })
    >>> sweep.search["learning_rate"]
    Range(low=0.001, high=0.1, log=True)
    """

    sources: tuple[str, ...]
    data: DataConfig
    given: dict[str, Any]
    search: dict[str, Space]

    @classmethod
    def from_dict(cls, sections: Mapping[str, Any]) -> SweepConfig:
        """Build the configuration from nested plain values, as a TOML file has them.

        Raises: ValueError naming the key, its value and what is legal.
        """
        refuse_unknown(sections, ["sources", "data", "model", "training", "search"], where="at the top level")
        sources, searched = sections.get("sources"), sections.get("search")
        if not isinstance(sources, list) or not sources or not all(isinstance(name, str) for name in sources):
            raise ValueError(f'sources is {brief(sources)}; it must be a list of files and folders, as in ["mine.txt"]')
        if not isinstance(searched, Mapping) or not searched:
            raise ValueError("[search] must name the options to search, as in hidden_size = [128, 256]")
        data = RunConfig.from_dict({"data": sections.get("data", {})}).data
        for name, config in (("model", ModelConfig), ("training", TrainingConfig)):
            _check_given(name, sections.get(name, {}), [field.name for field in fields(config)])
        given = dict(sections.get("model", {})) | dict(sections.get("training", {}))
        if not any(given.get(name) for name in ENDS):
            steps, epochs, minutes = map(option, ("max_steps", "max_epochs", "max_minutes"))
            raise ValueError(f"[training] must say when a trial ends: {steps}, {epochs} or {minutes}")
        for name, space in searched.items():
            _check_name(name, given)
            _check_space(name, space)
        spaces = {
            name: Range(**space) if isinstance(space, Mapping) else tuple(space) for name, space in searched.items()
        }
        return cls(tuple(sources), data, given, spaces)

    def to_dict(self) -> dict[str, Any]:
        """Return all that decides what a trial finds, as JSON values, by which studies are compared."""
        spaces = {name: asdict(each) if isinstance(each, Range) else [*each] for name, each in self.search.items()}
        return {"data": asdict(self.data), "given": self.given, "search": spaces}

    def without_effect(self, *, stream: bool) -> dict[str, str]:
        """Return the options that are given or searched and do nothing in any trial, each with why.

        >>> training, search = {"max_steps": 9, "momentum": 0.5}, {"plateau_factor": [0.1, 0.5]}
        >>> sweep = SweepConfig.from_dict({"sources": ["a"], "training": training, "search": search})
        >>> sweep.without_effect(stream=True)
        {'momentum': 'adamw has none', 'plateau_factor': "only schedule='plateau' has one"}
        """
        defaults = {field.name: field.default for field in fields(TrainingConfig)}
        given = {name: value for name, value in self.given.items() if name in defaults}
        searched = {name: _values(space) for name, space in self.search.items() if name in defaults}
        for name, values in searched.items():
            given[name] = next((value for value in values if value != defaults[name]), values[0])
        deciding = {name: searched.get(name, [given.get(name, defaults[name])]) for name in ("optimiser", "schedule")}
        found = []
        for together in product(*deciding.values()):
            with suppress(ValueError), warnings.catch_warnings(action="ignore"):  # some do not go together
                config = TrainingConfig(**given | dict(zip(deciding, together, strict=True)))
                found.append(config.without_effect(stream=stream, validated=True))
        unused = {"tensorboard": "a trial writes no files", "checkpoint_every": "a trial writes no files"}
        unused["log_every"] = "a trial is measured at set points"
        idle = {name: why for name, why in unused.items() if given.get(name, defaults[name]) != defaults[name]}
        common = {name: why for each in found[:1] for name, why in each.items() if all(name in each for each in found)}
        return common | idle


def _values(space: Space) -> list[Any]:
    return [space.low, space.high] if isinstance(space, Range) else [*space]


def is_whole(name: str) -> bool:
    """Return whether an option of model or training is a whole number.

    >>> is_whole("hidden_size"), is_whole("dropout")
    (True, False)
    """
    number = number_in(_HINTS[name])
    return number is not None and number.kind is int


_HINTS: dict[str, Any] = get_type_hints(ModelConfig, include_extras=True) | get_type_hints(
    TrainingConfig, include_extras=True
)


def _check_given(name: str, section: Any, known: list[str]) -> None:
    """Refuse an option that is unknown or out of its range; what does not go together may do so with searched ones."""
    if not isinstance(section, Mapping):
        raise ValueError(f"[{name}] must be a table of keys and values, got {section!r}")
    refuse_unknown(section, known, where=f"in [{name}]")
    for key, value in section.items():
        if key == "checkpoint_steps":
            check_checkpoint_steps(value)
        else:
            check_value(key, value, _HINTS[key])


def _check_name(name: str, given: Mapping[str, Any]) -> None:
    if name in {field.name for field in fields(DataConfig)}:
        raise ValueError(f"[search] {name} says how data is read, which is the same for all trials; set it in [data]")
    refuse_unknown([name], [key for key in _HINTS if key not in ALIKE or key == name], where="in [search]")
    if name in ALIKE:
        raise ValueError(
            f"[search] {name} is the same for all trials; set it in [model] or [training], or leave it out"
        )
    if name in given:
        raise ValueError(f"[search] {name} is set to {brief(given[name])} for all trials; leave one of them out")


def _check_space(name: str, space: Any) -> None:
    """Refuse what is neither a list of legal values nor a range of legal numbers."""
    number = number_in(_HINTS[name])
    try:
        if isinstance(space, list) and space:
            for value in space:
                check_value(name, value, _HINTS[name])
            if any(space.count(value) > 1 for value in space):
                raise ValueError(f"{option(name)} has a value twice in {listed(space)}; name each once")
            return
        if (
            not isinstance(space, Mapping)
            or not {"low", "high"} <= space.keys() <= {"low", "high", "log"}
            or not number
        ):
            ways = "a list of values" + (" or a range, as in { low = 1, high = 100, log = true }" if number else "")
            raise ValueError(f"{option(name)} is {brief(space)}; it must be {ways}")
        low, high, log = space["low"], space["high"], space.get("log", False)
        for end in (low, high):
            check_value(name, end, _HINTS[name])
        if low >= high or not isinstance(log, bool) or (log and low <= 0):
            more = " above 0" if log is True else ""
            raise ValueError(f"{option(name)} is {brief(space)}; low must be a number{more} below high, and log a bool")
    except ValueError as error:
        raise ValueError(f"[search] {error}") from None
