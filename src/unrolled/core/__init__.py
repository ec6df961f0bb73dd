"""The compiled core for numpy code: named fields, single steps and the choice of symbols."""

from __future__ import annotations


class CoreMissing(ImportError):
    """The compiled core cannot be imported, or does not match this code."""


try:
    from unrolled import _core as _core
except ImportError as error:
    raise CoreMissing(
        f"the compiled core of unrolled cannot be imported ({error}); build it with `pip install .` in a checkout, "
        "which needs a C++20 compiler, or with `make`"
    ) from error

active_instruction_set = _core.active_instruction_set
default_threads = _core.default_threads
instruction_sets = _core.instruction_sets
