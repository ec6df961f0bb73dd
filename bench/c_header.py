"""One step of time in C: the exported header, by each compiler that is found, beside another library's program.

    python bench/c_header.py                           about a minute
    python bench/c_header.py --quick
    python bench/c_header.py --peer RTNeural=PROGRAM   its times beside ours, as the program reports them

One layer, I = H, B = 1, -O3.  "native" is -march=native, "plain" the same without vector types, "any" runs on every
processor of this kind.  A program prints a line for each size it has timed: cell, H, ns a step, as "LSTM 16 65.5".
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from harness import ROOT, Report, parser

from unrolled.export import to_c
from unrolled.notation import Weights, weight_shapes
from unrolled.saved.network import Layer, Network

SIZES = (8, 16, 32, 64)
#: Aims for "native", ns.
AIMS = {"LSTM": {8: 60, 16: 70, 32: 250, 64: 900}}
FORMS = {"native": ["-march=native"], "plain": ["-march=native", "-DNET_PLAIN"], "any": []}


def network(cell: str, H: int) -> Network:
    """Return one layer with weights as they are before training."""
    rng = np.random.default_rng(0)
    bound = 1 / np.sqrt(H)
    shapes = weight_shapes(cell, H, H)
    weights = {name: rng.uniform(-bound, bound, shape).astype(np.float32) for name, shape in shapes.items()}
    return Network((Layer(cell, (Weights(**weights),)),))  # type: ignore[arg-type]


def measure(cell: str, H: int, weights: str, peers: dict[str, Any]) -> dict[str, Any]:
    """Build the header in each form with each compiler, and time it."""
    ns = {name: times[cell, H] for name, times in peers.items() if weights == "float32" and (cell, H) in times}
    with tempfile.TemporaryDirectory() as folder:
        to_c(network(cell, H), Path(folder, "net.h"), weights=weights)  # type: ignore[arg-type]
        for compiler in filter(shutil.which, ("gcc", "clang")):
            for form, flags in FORMS.items():
                program = Path(folder, "program")
                source = ROOT / "bench" / "c_header.c"
                command = [compiler, "-O3", *flags, "-D_POSIX_C_SOURCE=199309L", "-I", folder, source, "-o", program]
                subprocess.run(command, check=True)
                said = subprocess.run([program], capture_output=True, text=True, check=True).stdout
                ns[f"{compiler} {form}"] = float(said.split()[0])
    return {"cell": cell, "H": H, "weights": weights, "ns": ns, "aim": AIMS.get(cell, {}).get(H)}


def peer_times(program: str) -> dict[tuple[str, int], float]:
    """Return the ns a step that a program prints, by cell and H."""
    said = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return {(cell, int(H)): float(ns) for cell, H, ns in re.findall(r"^(\w+) (\d+) ([\d.]+)", said, re.MULTILINE)}


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    times = "  ".join(f"{name} {ns:.0f}" for name, ns in row["ns"].items())
    aim = f"  (aim {row['aim']})" if row["aim"] and row["weights"] == "float32" else ""
    return f"{row['cell']:5}{row['H']:>4} {row['weights']:8} {times}{aim}"


def main() -> int:
    """Run the sizes; returns the exit code."""
    options = parser(__doc__, seconds=0.5)
    options.add_argument("--peer", action="append", default=[], metavar="NAME=PROGRAM", help="a program to run beside")
    options.set_defaults(threads=1)
    asked = options.parse_args()
    report = Report("c_header", asked)
    peers = {name: peer_times(program) for name, _, program in (each.partition("=") for each in asked.peer)}
    if not peers:
        report.lacks("RTNeural", "no program of it was given (--peer)")
    print("ns a step")
    for weights in ("float32", "int8"):
        for cell in ("LSTM", "GRU"):
            for H in (8, 33) if asked.quick else SIZES:
                report.add(lambda c=cell, h=H, w=weights: measure(c, h, w, peers), line)  # type: ignore[misc]
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
