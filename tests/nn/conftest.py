"""Both routes through the layers: the equations, and the compiled core."""

import sys

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile(
    "nn", deadline=None, max_examples=40, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("nn")


@pytest.fixture(autouse=True)
def _nothing_compiled():
    """Forget what earlier tests compiled: torch gives up on a function that it has compiled eight times."""
    yield
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()


@pytest.fixture(params=["reference", "fused"])
def route(request, monkeypatch):
    """Run a test once on each route; `test_routes_are_the_ones_asked_for` makes sure that these are two."""
    monkeypatch.setenv("UNROLLED_BACKEND", request.param)
    return request.param


@pytest.fixture
def new_memory_is_nan():
    """Let torch fill memory that nobody has written to with NaN, so that what the core forgets to write is seen."""
    torch.use_deterministic_algorithms(True)  # with which comes torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)
