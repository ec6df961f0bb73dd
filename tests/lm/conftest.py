"""What the tests of unrolled.lm share."""

import pytest
from command_line import SMALL, unrolled

from unrolled.lm.reading import Source


@pytest.fixture
def source(tmp_path):
    def write(data: bytes, name: str = "data.txt") -> Source:
        path = tmp_path / name
        path.write_bytes(data)
        return Source(path)

    return write


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A model trained on the shipped text for a moment."""
    out = tmp_path_factory.mktemp("runs") / "sonnets"
    done = unrolled("train", "sonnets", "--out", out, *SMALL)
    assert done.returncode == 0, done.stderr.decode()
    return out, done.stdout.decode()
