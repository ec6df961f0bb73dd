"""A short sample of hostile files; `python -m tests.formats.hostile_files` makes as many as one likes."""

import pytest

from tests.formats import hostile_files
from unrolled.formats import onnx_reading


@pytest.mark.parametrize("format", hostile_files.READERS)
def test_hostile_files_are_read_or_refused(format):
    found = hostile_files.campaign(format, range(400))
    assert found["works"] > 50
    assert found["refused"] > 150


def test_hostile_files_find_a_missing_check(monkeypatch):
    monkeypatch.setattr(onnx_reading, "_FAULTS", ())
    with pytest.raises((ValueError, KeyError, IndexError)):
        hostile_files.campaign("onnx", range(400))
