"""Every reader of outside data, on input that is damaged or malicious.

    python -m tests.campaign                                  every reader, 200 cases each
    python -m tests.campaign --readers onnx,keras --cases 5000 --record

Each case is read and works, or is refused by an error that names the file; all else ends the campaign with the number
of the case.  Cases are numbered: with --record a reader goes on after the last one that bench/results/campaign.json
holds, and the file has the sum.  With the core of `make asan` in their place, the readers in C++ are watched too.
"""

import argparse
import json
import os
import random
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from tests.core import fuzz
from tests.formats import damaged_files
from tests.lies import lying_json, lying_tensors
from tests.runtime.c_library import CLibrary
from tests.saved import hostile_folders, hostile_networks
from unrolled.corpus import prepared
from unrolled.corpus.preparing import prepare
from unrolled.corpus.reading import CorpusError
from unrolled.runtime.state import _MAGIC, State
from unrolled.saved.atomic_files import sha256

RESULT = Path(__file__).parents[1] / "bench" / "results" / "campaign.json"
#: Whether the core that runs is one of `make asan`.
SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")
#: Bytes of memory that the readers in Python may take in all, so that a size that a file only claims is found out.
MOST_MEMORY = 6 << 30


def check(said, folder):
    """Refuse a message that does not name the folder, or is not one line of a bounded length."""
    said = str(said)
    assert str(folder) in said, said
    assert "\n" not in said, said
    assert len(said) < 1000 + len(str(folder)), said


def c_interface(numbers):
    """`unrolled_load` of folders, and steps of what it loads."""
    library = CLibrary()

    def verdict(folder):
        error = library.run(folder)
        if error is None:
            return "works"
        check(error, folder)
        return "refused"

    return hostile_networks.campaign(numbers, verdict)


def states(numbers):
    """`State.from_bytes`, its sum right."""
    state, found = State([(np.ones((2, 3), np.float32),) * 2, (np.zeros((2, 4), np.float32),)]), Counter()
    good = state.to_bytes()[len(_MAGIC) + 32 :]
    for number in numbers:
        draw = random.Random(number)
        data = (lying_tensors if draw.random() < 0.5 else damaged_files.changed)(draw, good)
        try:
            read = State.from_bytes(_MAGIC + bytes.fromhex(sha256(data)) + data)
        except ValueError:
            found["refused"] += 1
        else:
            assert read.B >= 0
            found["works"] += 1
    return found


def corpora(numbers):
    """Prepared corpora: their index, their vocabulary, and their files of numbers."""
    found = Counter()
    with tempfile.TemporaryDirectory() as place:
        (text := Path(place) / "a.txt").write_text("so long lives this\n" * 40)
        folder = Path(place) / "prepared"
        prepare([text], folder, lines=True)
        good = {file: file.read_bytes() for file in folder.iterdir()}
        for number in numbers:
            draw = random.Random(number)
            file = draw.choice([*good])
            lie = file.suffix == ".json" and draw.random() < 0.7
            file.write_bytes((lying_json if lie else damaged_files.changed)(draw, good[file]))
            try:
                index, vocabulary = prepared.read_index(folder)
                for name in index.parts:
                    part = prepared.map_part(folder, name, index, len(vocabulary))
                    assert len(part) >= 0
                found["works"] += 1
            except CorpusError as error:
                check(error, folder)
                found["refused"] += 1
            except BaseException:
                print(f"case {number}: {file.name}")
                raise
            file.write_bytes(good[file])
    return found


def calls(numbers):
    """Calls of every entry of the core."""
    refused = sum(fuzz.run(len(numbers), numbers.start).values())
    return Counter(refused=refused, works=len(numbers) - refused)


def files(name):
    """Return the campaign of the files of one format."""

    def campaign(numbers):
        found = damaged_files.campaign([name], numbers)
        return Counter({verdict.replace(f"{name} ", "").replace("read", "works"): n for verdict, n in found.items()})

    return campaign


#: Reader -> its campaign over some numbers, and whether it is our own C++.
READERS = {
    "text models": (hostile_folders.campaign, True),
    "networks": (hostile_networks.campaign, True),
    "C interface": (c_interface, True),
    "calls of the core": (calls, True),
    "states": (states, False),
    "prepared corpora": (corpora, False),
    **{name: (files(name), False) for name in damaged_files.READ},
}


def recorded(result=RESULT):
    """Return what the file of results holds: for each reader how many cases, what became of them, and in how long."""
    return json.loads(result.read_text())["rows"] if result.exists() else {}


def record(reader, found, seconds, result=RESULT):
    """Add what was found to the file of results."""
    rows = recorded(result)
    row = rows.setdefault(reader, {"cases": 0, "works": 0, "refused": 0, "seconds": 0, "sanitized": 0})
    row["cases"] += found.total()
    row["sanitized"] += found.total() if SANITIZED else 0
    row["works"] += found["works"] + found["diverged"]
    row["refused"] += found["refused"]
    row["seconds"] = round(row["seconds"] + seconds, 1)
    result.write_text(json.dumps({"command": "python -m tests.campaign --record", "rows": rows}, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", default=",".join(READERS))
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--first", type=int, help="number of the first case; 0, or the next one with --record")
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args()
    for reader in given.readers.split(","):
        run, in_core = READERS[reader]
        if not in_core and not SANITIZED:
            resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, resource.RLIM_INFINITY))
        first = given.first
        if first is None:
            first = recorded().get(reader, {}).get("cases", 0) if given.record else 0
        began = time.monotonic()
        found = run(range(first, first + given.cases))
        seconds = time.monotonic() - began
        if given.record:
            record(reader, found, seconds)
        print(f"{reader}: {given.cases:,} cases in {seconds:.0f} s: {dict(found)}", flush=True)


if __name__ == "__main__":
    main()
