"""A sample of the campaign: every reader reads or refuses what it is given, and its result is the sum."""

import json

import pytest

from tests import campaign, lies
from tests.saved import hostile_networks
from unrolled.saved import atomic_files
from unrolled.saved.atomic_files import CheckpointError
from unrolled.words import one_line


@pytest.mark.parametrize("reader", ["networks", "states", "prepared corpora"])
def test_reader_reads_or_refuses(reader):
    found = campaign.READERS[reader][0](range(200))
    assert found["refused"] > 100, found
    assert found["works"] > 5, found


def test_missing_check_is_found(monkeypatch):
    monkeypatch.setattr(atomic_files, "one_line", str)
    with pytest.raises(AssertionError):
        hostile_networks.campaign(range(420, 440))


def test_names_in_a_file_do_not_make_a_message_long():
    said = str(CheckpointError(f"model.safetensors: {'a' * 9999!r} is not expected; restore the folder"))
    assert len(said) < 1000
    assert said.startswith("model.safetensors: 'aaa")
    assert said.endswith("restore the folder")
    assert one_line(said) == said


def test_results_add_up(tmp_path):
    file = tmp_path / "campaign.json"
    for _ in range(2):
        campaign.record("states", campaign.states(range(20)), 0.5, file)
    row = json.loads(file.read_text())["rows"]["states"]
    assert (row["cases"], row["works"] + row["refused"], row["seconds"]) == (40, 40, 1.0)


def test_every_container_has_a_way_to_lie():
    assert {b"PK", b"{"} < {*lies.SIGNS}
