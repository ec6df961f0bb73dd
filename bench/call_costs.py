"""What a call of one small layer costs besides its kernels: Python, the border of the core, and autograd.

    python bench/call_costs.py            ten seconds
    python bench/call_costs.py --quick

One thread, B = 1, T = 100, I = H = 64.  "kernels" is the C++ alone (bench_kernels); "empty Function" is an
autograd.Function of Python that takes and returns as many tensors and computes nothing: no layer whose backward pass is
written in Python can cost less.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from harness import DRIVER, ROOT, TOLERANCE, Report, interleave, parser, same
from layers import CELLS

import unrolled.nn

T, B, H = 100, 1, 64
#: Most that a call should cost besides its kernels, us.
AIMS = {"inference": None, "training": 30}


def kernel_us(cell: str) -> dict[str, float]:
    """Return the microseconds of the kernels of a call, by phase; nothing if the driver is not built."""
    if not DRIVER.exists():
        return {}
    words = [DRIVER, cell, *map(str, (B, T, H, H)), "1", "201"]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    forward, saving, backward = (float(ms) * 1e3 for ms in re.findall(r"([\d.]+) ms", said))
    return {"inference": forward, "training": saving + backward}


class Empty(torch.autograd.Function):
    """Takes x and weights, returns what a layer returns, and computes nothing."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, *weights: torch.Tensor) -> Any:
        ctx.save_for_backward(x, *weights)
        ctx.set_materialize_grads(False)
        return x.new_empty(x.shape), x.new_empty(1, B, H), x.new_empty(1, B, H)

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        return tuple(map(torch.empty_like, ctx.saved_tensors))


def measure(cell: str, phase: str, kernels: dict[str, float], seconds: float) -> dict[str, Any]:
    """Compare one call with torch's, then time both."""
    own, stock = getattr(unrolled.nn, cell)(H, H), getattr(torch.nn, cell)(H, H)
    stock.load_state_dict(own.state_dict())
    training = phase == "training"
    x, dy = torch.randn(T, B, H, requires_grad=training), torch.randn(T, B, H)

    def body(call: Callable[[], Any], parameters: Sequence[torch.Tensor]) -> torch.Tensor:
        with torch.set_grad_enabled(training):
            y = call()[0]
        if training:
            for leaf in (x, *parameters):
                leaf.grad = None
            y.backward(dy)
        return y.detach()

    weights = [*own.parameters()]
    bodies = {
        "unrolled": lambda: body(lambda: own(x), weights),
        "torch": lambda: body(lambda: stock(x), [*stock.parameters()]),
    }
    if training:
        bodies["empty Function"] = lambda: body(lambda: Empty.apply(x, *weights), weights)
    same(f"{cell} {phase}", {"y": bodies["unrolled"]()}, {"y": bodies["torch"]()}, TOLERANCE[torch.float32])
    times = interleave(bodies, seconds)
    us = {name: times.ms(name) * 1e3 for name in bodies}
    if phase in kernels:
        us["kernels"] = kernels[phase]
    return {"cell": cell, "phase": phase, "us": us, "aim_us": AIMS[phase], "rounds": times.rounds}


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    us = row["us"]
    told = ", ".join(f"{name} {of:.1f}" for name, of in us.items())
    beside = f"{us['unrolled'] - us['kernels']:.1f} beside the kernels" if "kernels" in us else "kernels unknown"
    return f"{row['cell']:5}{row['phase']:10} {beside}; {told}"


def main() -> int:
    """Run the rows; returns the exit code."""
    options = parser(__doc__, seconds=1.0)
    options.set_defaults(threads=1)
    asked = options.parse_args()
    report = Report("call_costs", asked)
    if not DRIVER.exists():
        report.lacks("kernels", f"{DRIVER.relative_to(ROOT)} is not built")
    for cell in CELLS:
        kernels = kernel_us(cell)
        for phase in AIMS:
            seconds = 0.05 if asked.quick else asked.seconds
            report.add(lambda c=cell, p=phase, k=kernels, s=seconds: measure(c, p, k, s), line)  # type: ignore[misc]
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
