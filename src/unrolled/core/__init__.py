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

Barrier = _core.Barrier
active_instruction_set = _core.active_instruction_set
default_threads = _core.default_threads
instruction_sets = _core.instruction_sets


def has_bfloat16_units() -> bool:
    """Return whether the kernels in use multiply bfloat16 in units of the processor, not widened to float32."""
    return active_instruction_set().endswith("_bf16")
