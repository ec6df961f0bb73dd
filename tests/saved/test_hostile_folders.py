"""A short sample of the hostile folders; `python -m tests.saved.hostile_folders` makes as many as you like."""

import shutil

import pytest

from tests.saved import hostile_folders
from unrolled.lm.model import SequenceModel
from unrolled.saved import model
from unrolled.saved.atomic_files import CheckpointError

CASES = range(600)


def test_hostile_folders_load_and_work_or_are_refused():
    found = hostile_folders.campaign(CASES)
    assert found["works"] > 100
    assert found["refused"] > 300


def test_hostile_folders_find_a_missing_check(monkeypatch):
    monkeypatch.setattr(model, "check_model", lambda *_: None)
    with pytest.raises((KeyError, ValueError, IndexError, AssertionError)):
        hostile_folders.campaign(CASES)


def test_torch_and_the_runtime_accept_the_same_folders(tmp_path):
    for number in range(60):
        folder = tmp_path / str(number)
        folder.mkdir()
        hostile_folders.make(number, folder)
        outcomes = []
        for load in (model.SavedModel.load, SequenceModel.from_pretrained):
            try:
                load(folder)
                outcomes.append("works")
            except CheckpointError as error:
                outcomes.append(str(error))
        assert outcomes[0] == outcomes[1]
        shutil.rmtree(folder)
