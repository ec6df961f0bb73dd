"""Files of every format that somebody damaged, or made to do harm: each is read, or refused with its name.

    python -m tests.formats.damaged_files --cases 20000
    python -m tests.formats.damaged_files --formats keras --first 4711 --cases 1

tests/formats/test_damaged_files.py runs a few.  A file of a good network says what is not so (tests/lies.py), or
has bytes changed, cut out or put in; the parts of a zip are changed by themselves, for its own sums would find it
otherwise.
"""

import argparse
import collections
import io
import random
import resource
import shutil
import tempfile
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np

from tests.formats import equations
from tests.lies import lying, lying_json
from tests.saved.networks import networks
from unrolled import export, imports
from unrolled.formats.network_of import FormatError
from unrolled.formats.registry import FORMATS
from unrolled.saved.atomic_files import CheckpointError
from unrolled.saved.network import Network

#: Bytes of memory that a campaign may take in all, so that a size that a file only claims is found out.
MOST_MEMORY = 6 << 30
#: Bytes at which programs go wrong.
EXTREMES = [
    b"\0",
    b"\xff",
    b"\x7f" * 4,
    b"\xff" * 8,
    b"\0" * 8,
    b"\x80\0\0\0",
    b"[" * 3000,
    b'{"a":' * 3000,
    b"9" * 400,
    b"-" + b"9" * 5000,
    b"NaN",
    b"1e999",
]
#: Formats that only write have no reader to harm; a folder has tests of its own (tests/saved/hostile_folders.py).
READ = [name for name, each in FORMATS.items() if each.reads and name != "hub"]


def originals(name, folder):
    """Return the bytes and the end of the name of good files of a format."""
    if name == "char_rnn":
        from tests.formats.test_char_rnn import arrays
        from unrolled.formats.arrays import write_arrays

        for suffix in FORMATS[name].suffixes:
            write_arrays(folder / f"x{suffix}", arrays())
            yield (folder / f"x{suffix}").read_bytes(), suffix
        return
    if name == "torch":
        yield from pickled(folder)
    write = getattr(export, f"to_{name}")
    for suffix in FORMATS[name].suffixes:
        for _, network in networks():
            try:
                write(network, folder / f"x{suffix}")
            except FormatError:
                continue
            yield (folder / f"x{suffix}").read_bytes(), suffix


def pickled(folder):
    """Return the bytes and the end of the name of files of `torch.save`."""
    import torch

    for _, network in networks():
        if all(layer.kind != "LSTM_PEEPHOLE" for layer in network.layers):
            torch.save(export.to_torch(network).state_dict(), folder / "x.pt")
            yield (folder / "x.pt").read_bytes(), ".pt"


def changed(draw, data):
    """Return bytes with one to four of them, or of their runs, changed."""
    data = bytearray(data)
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        at, way = draw.randrange((len(data) if draw.random() < 0.6 else min(len(data), 600)) + 1), draw.randrange(6)
        if way == 0 and at < len(data):
            data[at] ^= 1 << draw.randrange(8)
        elif way == 1:
            value = draw.choice(EXTREMES)
            data[at : at + len(value)] = value
        elif way == 2:
            data[at:at] = draw.choice(EXTREMES)
        elif way == 3:
            del data[at : len(data) if draw.random() < 0.5 else at + draw.randrange(1, 40)]
        elif way == 4 and at < len(data):
            data[at] = draw.randrange(256)
        else:
            start, length = draw.randrange(len(data) + 1), draw.randrange(1, 200)
            data[at : at + length] = data[start : start + length]
    return bytes(data)


def spoiled(draw, data):
    """Return the bytes of a bad file."""
    if data[:1] == b"{" and draw.random() < 0.7:
        return lying_json(draw, data)
    if data[:2] != b"PK" or draw.random() < 0.2:
        return changed(draw, data)
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(buffer, "w") as made:
        names = archive.namelist()
        chosen = draw.choice(names)
        for name in names:
            part = archive.read(name)
            made.writestr(name, spoiled(draw, part) if name == chosen else part)
    return buffer.getvalue()


def verdict(name, path):
    """Read a file; return "read" or "refused".  Any other outcome is an error, and is not caught."""
    with warnings.catch_warnings(action="ignore"):
        try:
            network = getattr(imports, f"from_{name}")(path)
        except (FormatError, CheckpointError) as error:
            said = str(error)
            assert said.startswith(f"{path}: "), said
            assert "\n" not in said, said
            assert len(said) < 1000 + len(str(path)), said
            return "refused"
    assert isinstance(network, Network)
    assert all(np.isfinite(w).all() for w in network.tensors().values())
    with np.errstate(all="ignore"):
        equations.outputs(network, equations.inputs(network, T=2, B=1))
    return "read"


def campaign(names, numbers, mark=lambda number: None):
    """Return how often each verdict was reached for each format; call `mark` with the number of each case first."""
    found, place = collections.Counter(), Path(tempfile.mkdtemp())
    try:
        good = {name: [*originals(name, place)] for name in names}
        for number in numbers:
            draw = random.Random(number)
            name = names[number % len(names)]
            data, suffix = draw.choice(good[name])
            path = place / f"bad{suffix}"
            path.write_bytes((lying if draw.random() < 0.5 else spoiled)(draw, data))
            mark(number)
            try:
                found[f"{name} {verdict(name, path)}"] += 1
            except BaseException:
                print(f"case {number} of {names}: {name}{suffix}")
                raise
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--formats", default=",".join(READ))
    parser.add_argument(
        "--mark", type=Path, help="file that holds the number of the present case, for one that crashes"
    )
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    began = time.monotonic()
    mark = (lambda number: given.mark.write_text(str(number))) if given.mark else (lambda number: None)
    found = campaign(given.formats.split(","), range(given.first, given.first + given.cases), mark)
    counted = ", ".join(f"{n:,} {name}" for name, n in sorted(found.items()))
    print(f"{given.cases:,} files in {time.monotonic() - began:.0f} s: {counted}")


if __name__ == "__main__":
    main()
