"""Memory: what training saves for each symbol, and whether memory stays flat over calls of many shapes.

    python bench/memory.py            about three minutes
    python bench/memory.py --quick

Kept: the floats that autograd saves for backward, without input, output and weights, for each (t, b) and in units of
H; torch's beside ours.  Flat: the resident memory of this process over 10,000 calls, forward and backward, of random
cells, B and T.
"""

from __future__ import annotations

import random
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from harness import Report, parser
from layers import CELLS

import unrolled.nn

#: Aims, floats per (t, b) in units of H.
AIMS = {"LSTM": 6, "GRU": 5, "RNN": 1}
#: Calls before the first reading, in which every cache grows to its size.
SETTLING = 500
PAGE = resource.getpagesize()


def kept(cell: str, package: Any, T: int, B: int, I: int, H: int) -> float:
    """Return the floats that one training pass saves per (t, b), in units of H."""
    layer = getattr(package, cell)(I, H)
    x = torch.randn(T, B, I, requires_grad=True)
    if package is unrolled.nn:  # its node names them; under hooks it saves a copy of y, which others could write to
        y, finals = layer(x)
        saved = [t for t in y.grad_fn.saved_tensors if t is not None]
    else:
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
            y, finals = layer(x)
    found = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() // 4 for t in saved}
    for known in (x, y, *layer.parameters(), *(finals if isinstance(finals, tuple) else (finals,))):
        found.pop(known.untyped_storage().data_ptr(), None)
    return sum(found.values()) / (T * B * H)


def resident() -> int:
    """Return the bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def flat(calls: int, most: int) -> dict[str, Any]:
    """Call layers with random B and T up to `most`; return the resident MB after settling and after every tenth."""
    rng = random.Random(0)
    I, H = 17, 33
    layers = [getattr(unrolled.nn, cell)(I, H) for cell in CELLS]

    def call(layer: Any, T: int, B: int) -> None:
        layer.zero_grad(set_to_none=True)
        layer(torch.randn(T, B, I))[0].sum().backward()

    for layer in layers:
        call(layer, most, most)  # the largest there will be
    readings = []
    started = time.perf_counter()
    for number in range(SETTLING + calls + 1):
        if number >= SETTLING and (number - SETTLING) % max(1, calls // 10) == 0:
            readings.append(resident() / 2**20)
        call(rng.choice(layers), rng.randint(1, most), rng.randint(1, most))
    return {
        "what": "flat", "calls": calls, "most": most, "resident_mb": readings, "growth_mb": readings[-1] - readings[0],
        "seconds": time.perf_counter() - started,
    }  # fmt: skip


def line(row: dict[str, Any]) -> str:
    """One row as it is printed."""
    if row["what"] == "kept":
        return f"{row['cell']:5} keeps {row['own']:.2f} H floats a (t, b), aim {row['aim']}; torch {row['torch']:.2f}"
    readings = ", ".join(f"{mb:.1f}" for mb in row["resident_mb"])
    return (
        f"{row['calls']} calls, T and B up to {row['most']}: resident {readings} MB, growth {row['growth_mb']:+.2f} MB"
    )


def main() -> int:
    """Count and watch; returns the exit code."""
    options = parser(__doc__, seconds=0).parse_args()
    report = Report("memory", options)
    T, B, I, H = (13, 5, 48, 48) if options.quick else (100, 32, 128, 128)
    for cell in CELLS:
        counts = {who: kept(cell, package, T, B, I, H) for who, package in (("own", unrolled.nn), ("torch", torch.nn))}
        sizes = {"what": "kept", "cell": cell, "T": T, "B": B, "I": I, "H": H, "aim": AIMS[cell]}
        report.add(lambda row=sizes | counts: row, line)  # type: ignore[misc]
    report.add(lambda: flat(200, 20) if options.quick else flat(10_000, 60), line)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
