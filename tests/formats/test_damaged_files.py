"""A few of the files of tests/formats/damaged_files.py, for every format that is read."""

import random

import pytest

from tests.formats.damaged_files import READ, campaign, spoiled
from unrolled.formats.registry import FORMATS


@pytest.mark.parametrize("name", READ)
def test_damaged_files_are_read_or_refused_by_their_name(name):
    if FORMATS[name].extra:
        pytest.importorskip(
            {"keras": "h5py"}.get(name, name), reason=f"the extra [{FORMATS[name].extra}] is not installed"
        )
    found = campaign([name], range(150))
    assert found[f"{name} refused"] > 30, found


def test_spoiled_files_differ():
    made = [spoiled(random.Random(k), b'{"a": [1, 2, {"b": 3}], "c": "' + b"x" * 50 + b'"}') for k in range(40)]
    assert len({*made}) > 20
