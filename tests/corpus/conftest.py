"""What the tests of unrolled.corpus share."""

import pytest

from unrolled.corpus.reading import Source


@pytest.fixture
def source(tmp_path):
    def write(data: bytes, name: str = "data.txt") -> Source:
        path = tmp_path / name
        path.write_bytes(data)
        return Source(path)

    return write
