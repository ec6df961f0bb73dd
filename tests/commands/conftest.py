"""What the tests of the commands share."""

import pytest

from tests.commands.command_line import SMALL, unrolled


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A model trained on the shipped text for a moment."""
    out = tmp_path_factory.mktemp("runs") / "sonnets"
    done = unrolled("train", "sonnets", "--out", out, *SMALL)
    assert done.returncode == 0, done.stderr.decode()
    return out, done.stdout.decode()
