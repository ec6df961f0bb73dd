"""Names of a package that are loaded when first asked for, so that what needs no torch loads none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def attributes(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package whose public names live in these of its modules.

    >>> attributes("unrolled.lm", {"ModelConfig": "config"})("ModelConfig").__name__
    'ModelConfig'
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it has {', '.join(homes)}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return find
