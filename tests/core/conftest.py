"""The instruction sets, forced in turn."""

import pytest

from unrolled import _core


@pytest.fixture(params=_core.compiled_instruction_sets())
def instruction_set(request):
    """Run a test on every instruction set of the build; one that this processor lacks is reported by name."""
    if request.param not in _core.instruction_sets():
        pytest.skip(f"this processor has no {request.param}")
    before = _core.active_instruction_set()
    _core.force_instruction_set(request.param)
    yield request.param
    _core.force_instruction_set(before)
