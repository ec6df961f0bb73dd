"""bfloat16 beside our float32 and torch's bfloat16: time, memory that waits for backward, and errors.

    python bench/bfloat16.py              about four minutes
    python bench/bfloat16.py --quick

Errors are root mean squares relative to the same results in float64, the worst of all outputs and gradients.
"""

from __future__ import annotations

import copy
import sys
from typing import Any

import torch
from grid import COMMON, Point
from harness import DiffersError, Report, interleave, parser
from layers import CELLS, PHASES, QUICK, Bodies

import unrolled.nn

#: The common shapes, and one row with the weights of H 512, which leave the second cache.
POINTS = [*COMMON, Point(1, 100, 512, 512)]
#: A row is refused if its error is more than this many times torch's own.
MOST = 1.25


def error(bodies: Bodies, exact: dict[str, torch.Tensor]) -> float:
    """Return the worst error of a layer's results, relative to those in float64."""
    results = bodies.results()
    return max(float((results[name].double() - t).norm() / t.norm()) for name, t in exact.items())


def kept_bytes(bodies: Bodies) -> int:
    """Return the bytes that wait for backward, the layer's weights left out."""
    kept: dict[int, int] = {}

    def note(t: torch.Tensor) -> torch.Tensor:
        kept[t.data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        bodies.module(bodies.leaf)
    for weight in bodies.module.parameters():
        kept.pop(weight.data_ptr(), None)
    return sum(kept.values())


def measure(cell: str, point: Point, seconds: float) -> dict[str, Any]:
    """Compare the errors at one point, then time it."""
    B, T, I, H = point
    stock = getattr(torch.nn, cell)(I, H).bfloat16()
    own = getattr(unrolled.nn, cell)(I, H).bfloat16()
    own.load_state_dict(stock.state_dict())
    wide, exact = copy.deepcopy(own).float(), copy.deepcopy(stock).double()
    x, dy = torch.randn(T, B, I).bfloat16(), torch.randn(T, B, H).bfloat16()
    layers = {"own": own, "float32": wide, "torch": stock, "exact": exact}
    bodies = {who: Bodies(m, *(t.to(next(m.parameters()).dtype) for t in (x, dy))) for who, m in layers.items()}
    truth = bodies.pop("exact").results()
    errors = {who: error(bodies[who], truth) for who in ("own", "torch")}
    if not errors["own"] <= MOST * errors["torch"]:
        raise DiffersError(f"{cell} B{B} T{T} H{H}: an error of {errors['own']:.1e}, torch's is {errors['torch']:.1e}")
    row: dict[str, Any] = {"cell": cell, "B": B, "T": T, "I": I, "H": H, "errors": errors}
    row["kept_mb"] = {who: kept_bytes(bodies[who]) * 1e-6 for who in ("own", "float32")}
    times = interleave({f"{who} {phase}": getattr(b, phase) for who, b in bodies.items() for phase in PHASES}, seconds)
    for phase in PHASES:
        row[phase] = {"own_ms": times.ms(f"own {phase}")}
        row[phase] |= {f"x_{who}": times.ratio(f"{who} {phase}", f"own {phase}") for who in ("float32", "torch")}
    return row


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    text = f"{row['cell']:5}{row['B']:>4}{row['T']:>5}{row['H']:>6} "
    for phase in PHASES:
        found = row[phase]
        text += f"  {phase} {found['own_ms']:8.3f} ms, {found['x_float32']:.2f}x float32, {found['x_torch']:.2f}x torch"
    kept, errors = row["kept_mb"], row["errors"]
    return f"{text}  kept {kept['own'] / kept['float32']:.2f}  error {errors['own']:.1e}, torch {errors['torch']:.1e}"


def main() -> int:
    """Run the shapes; returns the exit code."""
    options = parser(__doc__, seconds=1.5).parse_args()
    report = Report("bfloat16", options)
    for cell in CELLS:
        for point in QUICK if options.quick else POINTS:
            seconds = 0.05 if options.quick else options.seconds
            report.add(lambda c=cell, p=point, s=seconds: measure(c, p, s), line)  # type: ignore[misc]
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
