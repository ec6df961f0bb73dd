"""A whole run, as a TOML file or a run's config.json holds it: model, data and training together."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import msgspec

from unrolled.config.data import DataConfig
from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig


@dataclass(frozen=True)
class RunConfig:
    """The three parts together, as a TOML file or a run's config.json holds them.

    >>> RunConfig.from_dict({"model": {"hiden_size": 3}})
    Traceback (most recent call last):
        ...
    ValueError: unknown key 'hiden_size' in [model]; did you mean hidden_size?
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    @classmethod
    def from_dict(cls, sections: Mapping[str, Any]) -> RunConfig:
        """Build the configuration from nested plain values; missing keys take their defaults.

        Raises: ValueError naming the key, its value and what is legal; an unknown key is an error, not a comment.
        """
        _refuse_unknown(sections, [part.name for part in fields(cls)], where="at the top level")
        for part in fields(cls):
            section = sections.get(part.name, {})
            if not isinstance(section, Mapping):
                raise ValueError(f"[{part.name}] must be a table of keys and values, got {section!r}")
            known = [key.name for key in fields(part.default_factory)]  # type: ignore[arg-type]
            _refuse_unknown(section, known, where=f"in [{part.name}]")
        try:
            return msgspec.convert(sections, cls)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return the nested plain values that :meth:`from_dict` reads."""
        return asdict(self)


def _refuse_unknown(given: Mapping[str, Any], known: list[str], *, where: str) -> None:
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"legal keys: {', '.join(known)}"
            raise ValueError(f"unknown key {key!r} {where}; {hint}")
