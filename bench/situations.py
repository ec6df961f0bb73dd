"""Calls as people make them: after a pause, with more threads allowed than processors, beside a busy neighbour.

    python bench/situations.py            about ten minutes
    python bench/situations.py --quick

Every library runs in a process of its own (adapters.py), for some calls at a time.  Beside each number stands our own
time on one thread in the same situation.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from adapters import Elsewhere, Task
from grid import COMMON, Point
from harness import TOLERANCE, Report, parser, same

PHASES = ("inference", "training")
CELLS = ("LSTM", "GRU")
#: Calls of up to some tens of milliseconds: a longer one hides what a pause costs.
POINTS = COMMON[:5]
#: Pauses before a call, s.
PAUSES = (0.001, 0.01, 0.1)
#: Threads that are allowed where far fewer processors are.
MANY = 16
#: Each library is timed in turns of its own: first a rest, in which the threads of the others stop spinning, and two
#: calls; then this many, by the pause before each; those without a pause are timed together.  No turn begins after this
#: many ms of calls in all: torch on 16 threads takes seconds for one.
TURNS, REST = 5, 0.03
CALLS = {0.0: 8, 0.001: 8, 0.01: 6, 0.1: 3}
ENOUGH = 1500


class Libraries:
    """The processes of one shape, by name: ours on all threads and on one, torch, and ours and torch on many."""

    def __init__(self, threads: int):
        self.processes = {
            "ours": Elsewhere("unrolled", threads),
            "one thread": Elsewhere("unrolled", 1),
            "torch": Elsewhere("torch", threads),
            "ours, many": Elsewhere("unrolled", MANY),
            "torch, many": Elsewhere("torch", MANY),
            "a second of ours": Elsewhere("unrolled", threads),
        }

    def make(self, where: str, task: Task) -> None:
        """Make the layer everywhere; raise DiffersError if a result differs."""
        results = {name: process.make(task) for name, process in self.processes.items()}
        want = {key: torch.from_numpy(np.array(array)) for key, array in results["torch"].items()}
        for name, found in results.items():
            got = {key: torch.from_numpy(np.array(array)) for key, array in found.items()}
            same(f"{name} {where}", got, want, TOLERANCE[torch.float32])

    def medians(self, names: list[str], phase: str, pause: float) -> dict[str, float]:
        """Return the median ms of one call of each, after the pause."""
        times: dict[str, list[float]] = {name: [] for name in names}
        spent = dict.fromkeys(names, 0.0)
        for turn in range(TURNS):
            for name in names[:: -1 if turn % 2 else 1]:
                if spent[name] > ENOUGH:
                    continue
                body = self.processes[name].body(phase)
                time.sleep(REST)
                warm = 1e3 * body.seconds(2)
                if pause:
                    found = [1e3 * body.seconds(1, after=pause) for _ in range(CALLS[pause])]
                else:
                    found = [1e3 * body.seconds(CALLS[0.0]) / CALLS[0.0]]
                times[name] += found
                spent[name] += warm + CALLS[pause] * statistics.fmean(found)
        return {name: statistics.median(found) for name, found in times.items()}

    def throughput(self, phase: str, seconds: float) -> float:
        """Return the calls a second of two processes together, relative to one alone."""
        one, other = self.processes["ours"], self.processes["a second of ours"]
        calls = max(3, round(seconds / max(1e-6, one.body(phase).seconds(3) / 3)))
        ratios = []
        for _ in range(3):
            alone = one.body(phase).seconds(calls)
            one.begin(phase, calls)
            other.begin(phase, calls)
            ratios.append(alone / one.end() + alone / other.end())
        return statistics.median(ratios)

    def close(self) -> None:
        """End the processes."""
        for process in self.processes.values():
            process.close()


@contextlib.contextmanager
def neighbour() -> Iterator[None]:
    """Keep the last processor of this process busy from another process."""
    processor = max(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, [{processor}])\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", code])
    time.sleep(0.2)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def measure(cell: str, point: Point, libraries: Libraries, seconds: float) -> dict[str, Any]:
    """Measure one shape in every situation."""
    B, T, I, H = point
    layer = getattr(torch.nn, cell)(I, H)
    weights = {name.removesuffix("_l0"): w.detach().numpy() for name, w in layer.named_parameters()}
    libraries.make(
        f"{cell} B{B} T{T} H{H}", Task(cell, weights, torch.randn(T, B, I).numpy(), torch.randn(T, B, H).numpy())
    )
    row: dict[str, Any] = {"cell": cell, "B": B, "T": T, "I": I, "H": H}
    for phase in PHASES:
        found: dict[str, Any] = {}
        for pause in (0.0, *PAUSES):
            found[f"pause {pause * 1e3:g} ms"] = libraries.medians(["ours", "one thread", "torch"], phase, pause)
        found[f"{MANY} threads allowed"] = libraries.medians(["ours, many", "one thread", "torch, many"], phase, 0.0)
        with neighbour():
            found["busy neighbour"] = libraries.medians(["ours", "one thread", "torch"], phase, 0.0)
        found["two processes"] = libraries.throughput(phase, seconds / 10)
        row[phase] = found
    return row


def line(row: dict[str, Any]) -> str:
    """Some lines of the table: times in ms, ours / ours on one thread / torch's."""
    text = []
    for phase in PHASES:
        cells = [
            " / ".join(f"{ms:.3g}" for ms in found.values()) if isinstance(found, dict) else f"{found:.2f}"
            for found in row[phase].values()
        ]
        text.append(
            f"{row['cell']:5}{row['B']:>4}{row['T']:>5}{row['H']:>6} {phase:10}" + "".join(f"{c:>26}" for c in cells)
        )
    return "\n".join(text)


def main() -> int:
    """Run the shapes; returns the exit code."""
    options = parser(__doc__, seconds=1.0).parse_args()
    report = Report("situations", options)
    libraries = Libraries(options.threads)
    titles = ["steady", *(f"after {pause * 1e3:g} ms" for pause in PAUSES), f"{MANY} threads allowed", "busy neighbour"]
    print("ms of ours / ours on one thread / torch")
    print(" " * 31 + "".join(f"{title:>26}" for title in [*titles, "two processes"]))
    for cell in CELLS:
        for point in [Point(3, 7, 9, 16)] if options.quick else POINTS:
            report.add(lambda c=cell, p=point: measure(c, p, libraries, options.seconds), line)  # type: ignore[misc]
    libraries.close()
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
