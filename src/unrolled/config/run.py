"""A whole run, as a TOML file or a run's config.json holds it: model, data and training together."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, get_type_hints

from unrolled.config.data import DataConfig
from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig


@dataclass(frozen=True)
class RunConfig:
    """The configuration of a run.

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
        parts = get_type_hints(cls)
        refuse_unknown(sections, [*parts], where="at the top level")
        for name, section in sections.items():
            if not isinstance(section, Mapping):
                raise ValueError(f"[{name}] must be a table of keys and values, got {section!r}")
            refuse_unknown(section, [key.name for key in fields(parts[name])], where=f"in [{name}]")
        return cls(**{name: parts[name](**section) for name, section in sections.items()})


def refuse_unknown(given: Iterable[str], known: list[str], *, where: str) -> None:
    """Refuse keys that are not known.

    Raises: ValueError naming the first, and the nearest that is known.
    """
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"legal keys: {', '.join(known)}"
            raise ValueError(f"unknown key {key!r} {where}; {hint}")
