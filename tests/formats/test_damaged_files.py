"""A few of the files of tests/formats/damaged_files.py, for every format that is read."""

import random

import pytest

from tests.formats.damaged_files import READ, campaign, spoiled
from tests.saved.networks import text_networks
from unrolled import export, imports
from unrolled.formats.network_of import FormatError
from unrolled.formats.registry import FORMATS


@pytest.mark.parametrize("name", READ)
def test_damaged_files_are_read_or_refused_by_their_name(name):
    if FORMATS[name].extra:
        pytest.importorskip(
            {"keras": "h5py"}.get(name, name), reason=f"the extra [{FORMATS[name].extra}] is not installed"
        )
    found = campaign([name], range(300))
    assert found[f"{name} refused"] > 60, found
    assert found[f"{name} read"] > 10, found


def test_missing_check_is_found(monkeypatch):
    onnx_reading = pytest.importorskip("unrolled.formats.onnx_reading", reason="the extra [onnx] is not installed")
    monkeypatch.setattr(onnx_reading, "_FAULTS", ())
    with pytest.raises((ValueError, KeyError, IndexError, TypeError)):
        campaign(["onnx"], range(400))


@pytest.mark.parametrize(
    ("start", "said"),
    [("AAAAAA==", r"start is \(1,\), expected \(V\) with V = 7"), ("AAA=", "start is not a float32 array in base64")],
)
def test_start_that_is_not_of_the_vocabulary_is_named(start, said, tmp_path):
    onnx = pytest.importorskip("onnx", reason="the extra [onnx] is not installed")
    export.to_onnx(next(text_networks())[1], tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    next(each for each in model.metadata_props if each.key == "unrolled.start").value = start
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(FormatError, match=said):
        imports.from_onnx(tmp_path / "model.onnx")


def test_spoiled_files_differ():
    made = [spoiled(random.Random(k), b'{"a": [1, 2, {"b": 3}], "c": "' + b"x" * 50 + b'"}') for k in range(40)]
    assert len({*made}) > 20
