"""One layer in every library that has one on the CPU: unrolled, torch, JAX, Keras, ONNX Runtime.

    python bench/peers.py            about five minutes
    python bench/peers.py --quick

Same weights, same input, every result compared with ours before anything is timed; each library in a process of its
own (adapters.py), all in turn.  Install the others with pip install -e '.[bench]'; the table names a missing library.
"""

from __future__ import annotations

import sys
from importlib import metadata
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from adapters import MAKERS, Elsewhere, Task
from grid import COMMON, Point
from harness import TOLERANCE, Report, interleave, parser, same
from layers import CELLS, PHASES, Bodies

import unrolled.nn

#: Pause before each timing, s: libgomp's idle threads spin for some milliseconds.
PAUSE = 0.01


def measure(cell: str, point: Point, peers: dict[str, Elsewhere], report: Report, seconds: float) -> dict[str, Any]:
    """Measure one shape in every library that can run it."""
    B, T, I, H = point
    own = getattr(unrolled.nn, cell)(I, H)
    x, dy = torch.randn(T, B, I), torch.randn(T, B, H)
    ours = Bodies(own, x, dy)
    want = {name: ours.results()[name] for name in ("inference", "y", "dx")}
    weights = {name.removesuffix("_l0"): w.detach().numpy() for name, w in own.named_parameters()}
    task = Task(cell, weights, x.numpy(), dy.numpy())
    able: dict[str, dict[str, np.ndarray]] = {}
    for name, peer in list(peers.items()):
        try:
            able[name] = peer.make(task)
        except (ImportError, RuntimeError) as problem:
            report.lacks(name, str(problem).splitlines()[0])
            peers.pop(name).close()
            continue
        got = {key: torch.from_numpy(np.array(array)) for key, array in able[name].items()}
        same(f"{name} {cell} B{B} T{T} H{H}", got, {key: want[key] for key in got}, TOLERANCE[torch.float32])

    row: dict[str, Any] = {"cell": cell, "B": B, "T": T, "I": I, "H": H}
    for phase in PHASES:
        bodies: dict[str, Any] = {"unrolled": getattr(ours, phase)}
        bodies |= {name: peers[name].body(phase) for name in able if phase == "inference" or "dx" in able[name]}
        times = interleave(bodies, seconds, PAUSE)
        row[phase] = {"ms": {name: times.ms(name) for name in bodies}, "rounds": times.rounds}
        row[phase]["ratio"] = {name: times.ratio(name, "unrolled") for name in bodies if name != "unrolled"}
    return row


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    text = f"{row['cell']:5}{row['B']:>4}{row['T']:>5}{row['H']:>6} "
    for found in (row[phase] for phase in PHASES):
        ratios = (f"{found['ratio'][name]:>6.2f}x" if name in found["ratio"] else f"{'--':>7}" for name in MAKERS)
        text += f"  {found['ms']['unrolled']:>9.3f} {''.join(ratios)}"
    return text


def main() -> int:
    """Run the shapes; returns the exit code."""
    options = parser(__doc__, seconds=1.5).parse_args()
    report = Report("peers", options)
    peers = {name: Elsewhere(name, options.threads) for name in MAKERS}
    print(f"times of unrolled in ms; how many times longer: {', '.join(MAKERS)}; inference, then training")
    for cell in CELLS:
        for point in [Point(3, 7, 9, 16)] if options.quick else COMMON:
            seconds = 0.05 if options.quick else options.seconds
            report.add(lambda c=cell, p=point, s=seconds: measure(c, p, peers, report, s), line)  # type: ignore[misc]
    for peer in peers.values():
        peer.close()
    return report.finish(versions=versions())


def versions() -> dict[str, str]:
    """Return the versions of the installed libraries."""
    packages = {"torch": "torch", "JAX": "jax", "Keras": "keras", "ONNX Runtime": "onnxruntime"}
    return {name: metadata.version(package) for name, package in packages.items() if find_spec(package)}


if __name__ == "__main__":
    sys.exit(main())
