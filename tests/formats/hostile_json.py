"""Damaged JSON files: good ones in which bytes, numbers and parts were changed.

python -m tests.formats.hostile_json --cases 20000     a campaign; a sample is in the tests of each format
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tests.formats.stepping import inputs, outputs
from tests.saved.networks import layer
from unrolled.export import to_nam, to_rtneural
from unrolled.formats.network_of import FormatError
from unrolled.imports import from_nam, from_rtneural
from unrolled.saved.network import Head, Network

#: What takes the place of a part of a file.
ODD = (None, True, -1, 0, 1, 2**31, 2**63, 10**400, 1e300, 3.5, "", "lstm", [], [[]], [1.0], {}, [None, None, 3])
#: Bytes that take the place of a piece of a file.
BYTES = (
    b"",
    b"[" * 10**6,
    b"NaN",
    b"Infinity",
    b"1e999",
    b"-" + b"9" * 5000,
    b"\xff",
    b"\0",
    b'"',
    b"null",
    b"{}",
    b",",
)
READERS: dict[str, Callable[[Path], Network]] = {"rtneural": from_rtneural, "nam": from_nam}


def good(folder: Path) -> dict[str, list[bytes]]:
    """Return good files of each format."""
    rng = np.random.default_rng(2)
    W, b = rng.normal(size=(1, 3)).astype(np.float32), rng.normal(size=1).astype(np.float32)
    lstm = Network((layer("LSTM", 1, 3), layer("LSTM", 3, 3, seed=1, initial=True)), head=Head(W, b))
    mixed = Network((layer("GRU", 2, 4), layer("LSTM", 4, 3)), head=Head(W, b, softmax=True))
    to_nam(lstm, folder / "a")
    to_rtneural(mixed, folder / "b")
    return {"nam": [(folder / "a").read_bytes()], "rtneural": [(folder / "b").read_bytes()]}


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a file with some damage."""
    for _ in range(rng.integers(1, 4)):
        way, at = rng.integers(5), int(rng.integers(len(data) + 1))
        if way == 0:
            data = data[:at]
        elif way == 1:
            data = data[:at] + bytes([rng.integers(256)]) + data[at + 1 :]
        elif way == 2:
            data = data[:at] + BYTES[rng.integers(len(BYTES))] + data[at + int(rng.integers(20)) :]
        else:
            data = with_odd_part(data, rng)
    return data


def with_odd_part(data: bytes, rng: np.random.Generator) -> bytes:
    """Return JSON with a part replaced, removed or doubled; data that are no JSON any more as they are."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return data
    part = value
    while isinstance(part, (dict, list)) and part:
        keys = list(part) if isinstance(part, dict) else list(range(len(part)))
        key = keys[rng.integers(len(keys))]
        if rng.random() < 0.4 or not isinstance(part[key], (dict, list)):
            way = rng.random()
            if way < 0.7:
                part[key] = ODD[rng.integers(len(ODD))]
            elif way < 0.85 or isinstance(part, dict):
                del part[key]
            else:
                part.insert(key, part[key])
            break
        part = part[key]
    return json.dumps(value).encode()


def cases(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield formats and damaged files."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        files = [(name, data) for name, each in good(Path(folder)).items() for data in each]
    for number in range(count):
        name, data = files[number % len(files)]
        yield name, damaged(data, rng)


def judge(name: str, data: bytes, path: Path) -> str:
    """Return what became of a file: "refused", or "read", if its network runs; anything else is an exception."""
    path.write_bytes(data)
    try:
        network = READERS[name](path)
    except FormatError as error:
        said = str(error)
        assert said.startswith(f"{path}: "), said
        assert len(said) < 2000, said
        assert "\n" not in said, said
        return "refused"
    assert np.isfinite(outputs(network, inputs(network, 2))).all()
    return "read"


def main() -> int:
    """Run a campaign; return the exit code."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--cases", type=int, default=20_000)
    options.add_argument("--seed", type=int, default=0)
    asked = options.parse_args()
    found, slowest = {"refused": 0, "read": 0}, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name, data in cases(asked.cases, asked.seed):
            started = time.perf_counter()
            found[judge(name, data, Path(folder, "file"))] += 1
            slowest = max(slowest, time.perf_counter() - started)
    print(f"{asked.cases:,} cases, seed {asked.seed}: {found}, the slowest took {slowest:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
