"""What every test runs under: one seed, and one thread unless it asks for more, for the workers share the machine."""

import pytest
import torch
from hypothesis import settings

from tests import skipped
from unrolled import _core

settings.register_profile("unrolled", deadline=None)  # a busy machine is no fault of a test
settings.load_profile("unrolled")


@pytest.fixture(autouse=True)
def _one_seed():
    """Draw the same models in a test whatever ran before it, so that what it finds can be found again."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=_core.compiled_instruction_sets())
def instruction_set(request):
    """Run a test on every instruction set of the build; one that this processor lacks is reported by name."""
    if request.param not in _core.instruction_sets():
        pytest.skip(f"this processor has no {request.param}")
    before = _core.active_instruction_set()
    _core.force_instruction_set(request.param)
    yield request.param
    _core.force_instruction_set(before)


@pytest.fixture(scope="session")
def window(tmp_path_factory):
    """A real browser without a window; nothing of it is imported before a test asks for it."""
    from tests.views.browser.driver import browser

    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def pytest_unconfigure(config):
    """End with what was skipped for want of what."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:  # a worker has none
        reports = reporter.stats.get("skipped", [])
        if said := skipped.line(report.longrepr[2] for report in reports if isinstance(report.longrepr, tuple)):
            reporter.write_line(said)
