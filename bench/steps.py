"""One step of time at B = 1, from C++ and from Python, beside torch's cells and ONNX Runtime.

    python bench/steps.py            about a minute
    python bench/steps.py --quick

One thread, no gradients, I = H.  "kernel" is the C++ kernel alone (bench_kernels step), with weights packed once;
"stepper" is `unrolled.core.stepper.CoreStepper` on NumPy arrays, as the runtime uses it; the others are one call from
Python that takes a state and returns the next.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from adapters import onnx_session
from harness import DRIVER, ROOT, TOLERANCE, Report, interleave, parser, same
from layers import CELLS

import unrolled.nn
from unrolled.core.stepper import CoreStepper
from unrolled.notation import has_cell_state

SIZES = (8, 16, 32, 64, 128, 256, 512)
#: Aims for the kernel, ns.
AIMS = {"LSTM": {8: 70, 16: 80, 32: 200, 64: 750}, "GRU": {8: 55, 16: 60, 32: 170, 64: 600}}
WAYS = ("kernel", "stepper", "layer.step", "cell", "torch cell", "torch layer", "ONNX Runtime")


def kernel_times() -> dict[tuple[str, int], float]:
    """Return the nanoseconds per step of the kernels alone, by cell and H; empty if the driver is not built."""
    if not DRIVER.exists():
        return {}
    said = subprocess.run([DRIVER, "step"], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"(\w+)\s+H(\d+)\s+one step\s+(\d+) ns", said)
    return {(cell, int(H)): float(ns) for cell, H, ns in found}


@torch.inference_mode()  # entered once, as a loop of steps enters it: that takes a microsecond
def measure(cell: str, H: int, kernel: float | None, report: Report, seconds: float) -> dict[str, Any]:
    """Compare the results at one size, then time it."""
    own, stock = getattr(unrolled.nn, cell)(H, H), getattr(torch.nn, cell)(H, H)
    own_cell, stock_cell = getattr(unrolled.nn, f"{cell}Cell")(H, H), getattr(torch.nn, f"{cell}Cell")(H, H)
    weights = {name.removesuffix("_l0"): w.detach() for name, w in own.named_parameters()}
    stock.load_state_dict(own.state_dict())
    for module in (own_cell, stock_cell):
        module.load_state_dict(weights)
    x = torch.randn(1, H)
    states = (torch.randn(1, H), torch.randn(1, H)) if has_cell_state(own.kind) else torch.randn(1, H)
    of_layer = tuple(s[None] for s in states) if isinstance(states, tuple) else states[None]

    bodies: dict[str, Callable[[], Any]] = {
        "layer.step": lambda: own.step(x, of_layer)[0],
        "cell": lambda: own_cell(x, states),
        "torch cell": lambda: stock_cell(x, states),
        "torch layer": lambda: stock(x[None], of_layer)[0][0],
    }
    arrays = {name: w.numpy() for name, w in weights.items()}
    bodies["stepper"], written = stepper(own.kind, arrays, x, states)
    try:
        bodies["ONNX Runtime"] = onnx_step(cell, arrays, x, states)
    except ImportError as problem:
        report.lacks("ONNX Runtime", str(problem))

    want = first(bodies["torch cell"]())
    for name, body in bodies.items():
        written()
        same(f"{cell} H{H} {name}", {"h": first(body())}, {"h": want}, TOLERANCE[torch.float32])
    times = interleave(bodies, seconds)
    us = {name: times.ms(name) * 1e3 for name in bodies} | ({} if kernel is None else {"kernel": kernel * 1e-3})
    return {"cell": cell, "H": H, "us": us, "aim_us": AIMS.get(cell, {}).get(H, 0) * 1e-3, "rounds": times.rounds}


def stepper(kind: str, w: dict[str, np.ndarray], x: torch.Tensor, states: Any) -> tuple[Any, Callable[[], None]]:
    """Return a step of the core on its own arrays, and a function that writes the state into them."""
    layer = (w["weight_ih"], w["weight_hh"], w["bias_ih"], w["bias_hh"], None)
    core, given = CoreStepper(kind, [layer], 1, symbols=False), x.numpy()

    def step() -> np.ndarray:
        return core.step(given)

    def written() -> None:
        for to, state in zip(core.states[0], states if isinstance(states, tuple) else (states,), strict=True):
            to[:] = state.numpy()

    return step, written


def onnx_step(cell: str, weights: dict[str, np.ndarray], x: torch.Tensor, states: Any) -> Callable[[], Any]:
    """Return a step of ONNX Runtime, states in and out."""
    session = onnx_session(cell, weights, 1, states=True)
    given = {"x": x[None].numpy()}
    for name, state in zip(("h_0", "c_0"), states if isinstance(states, tuple) else (states,), strict=False):
        given[name] = state[None].numpy()
    return lambda: session.run(None, given)[1][0]


def first(found: Any) -> torch.Tensor:
    """Return h (1, H) of what a step returned."""
    h = found[0] if isinstance(found, tuple) else found
    return torch.as_tensor(h).clone().view(1, -1)


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    times = (f"{row['us'][way]:>13.2f}" if way in row["us"] else f"{'--':>13}" for way in WAYS)
    return f"{row['cell']:5}{row['H']:>5} {''.join(times)}"


def main() -> int:
    """Run the sizes; returns the exit code."""
    options = parser(__doc__, seconds=0.5)
    options.set_defaults(threads=1)
    asked = options.parse_args()
    report = Report("steps", asked)
    kernels = kernel_times()
    if not kernels:
        report.lacks("kernel", f"{DRIVER.relative_to(ROOT)} is not built")
    print(f"us a step\n{'cell':5}{'H':>5} {''.join(f'{way:>13}' for way in WAYS)}")
    for cell in CELLS:
        for H in (8, 33) if asked.quick else SIZES:
            seconds = 0.05 if asked.quick else asked.seconds
            report.add(lambda c=cell, h=H, s=seconds: measure(c, h, kernels.get((c, h)), report, s), line)  # type: ignore[misc]
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
