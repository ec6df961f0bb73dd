"""Under torch.compile and torch.func: how long a compilation takes, and what four models under vmap cost.

    python bench/composing.py            about three minutes
    python bench/composing.py --quick

Compilation: a stack of six layers, H 256, T 64, fullgraph=True, in a fresh process with an empty cache; the time is
that of the first call beyond a call without compilation.  What torch.compile costs before it compiles a layer (imports,
tests of the C++ compiler) is measured on `x + 1` and given beside it.  torch's own layer is measured too.
vmap: four models, each on its own inputs, beside one call on a batch four times as large, and beside torch's layers in
a Python loop, because vmap refuses those.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import textwrap
from typing import Any

import torch
from harness import TOLERANCE, DiffersError, Report, interleave, parser, same
from layers import CELLS, PHASES
from torch.func import functional_call, stack_module_state, vmap

import unrolled.nn

S = 4
#: (B, T, I, H) of the vmap rows: the shape of pytorch#105982, and a larger one.
SHAPES = ((32, 16, 8, 64), (32, 100, 128, 128))

COMPILE = """
    import sys, time
    import torch
    import {package}
    torch.set_num_threads({threads})
    layer = {package}.LSTM({H}, {H}, num_layers={L})
    x = torch.randn({T}, 8, {H})
    def run(f):
        start = time.perf_counter()
        if "{phase}" == "training":
            f(x)[0].sum().backward()
        else:
            with torch.no_grad():
                f(x)
        return time.perf_counter() - start
    start = time.perf_counter()
    torch.compile(lambda x: (x + 1,))(x)
    begun = time.perf_counter()
    run(layer)
    plain = run(layer)
    print(begun - start, run(torch.compile(layer, fullgraph=True)) - plain)
"""


def compile_time(package: str, phase: str, sizes: tuple[int, int, int], threads: int) -> dict[str, Any]:
    """Compile in a fresh process; return the seconds, or why the compiler refuses."""
    T, H, L = sizes
    code = textwrap.dedent(COMPILE).format(package=package, phase=phase, threads=threads, T=T, H=H, L=L)
    row: dict[str, Any] = {"what": "compile", "who": package.split(".")[0], "phase": phase, "T": T, "H": H, "L": L}
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": cache}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
        )
    if done.returncode:
        said = re.search(r"^(?:torch\._dynamo|\w+Error).*|^.*Unsupported.*", done.stderr, re.MULTILINE)
        row |= {"seconds": None, "said": said[0] if said else done.stderr.strip().splitlines()[-1]}
        if package == "unrolled.nn":
            raise DiffersError(f"compile, {phase}: {row['said']}")
        return row
    begun, seconds = map(float, done.stdout.split())
    return {**row, "seconds": seconds, "begun_seconds": begun}


def mapped(cell: str, shape: tuple[int, int, int, int], seconds: float) -> dict[str, Any]:
    """Compare, then time S models under vmap, one call on S times the batch, and torch's layers in a loop."""
    B, T, I, H = shape
    models = [getattr(unrolled.nn, cell)(I, H) for _ in range(S)]
    stocks = [model.to_torch() for model in models]
    parameters, buffers = stack_module_state(models)
    x = torch.randn(S, T, B, I)
    wide = x.transpose(0, 1).reshape(T, S * B, I).contiguous()

    def one(weights: Any, rows: torch.Tensor) -> torch.Tensor:
        return functional_call(models[0], (weights, buffers), (rows,))[0]

    together = vmap(one)
    want = torch.stack([stock(rows)[0] for stock, rows in zip(stocks, x, strict=True)]).detach()
    same(f"vmap {cell} B{B} T{T} H{H}", {"y": together(parameters, x).detach()}, {"y": want}, TOLERANCE[torch.float32])

    forward = {
        "vmap": lambda: together(parameters, x),
        "one call": lambda: models[0](wide)[0],
        "torch loop": lambda: [stock(rows)[0] for stock, rows in zip(stocks, x, strict=True)],
    }
    row: dict[str, Any] = {"what": "vmap", "cell": cell, "S": S, "B": B, "T": T, "I": I, "H": H}
    for phase in PHASES:
        wrap = training if phase == "training" else torch.no_grad()
        times = interleave({name: wrap(body) for name, body in forward.items()}, seconds)
        row[phase] = {
            "ms": {name: times.ms(name) for name in forward},
            "over_one_call": times.ratio("vmap", "one call"),
        }
        row[phase] |= {"ratio": times.ratio("torch loop", "vmap"), "rounds": times.rounds}
    return row


def training(body: Any) -> Any:
    """Return a call of the forward pass and of backward from all outputs."""

    def both() -> None:
        y = body()
        torch.autograd.backward([part.sum() for part in (y if isinstance(y, list) else [y])])

    return both


def line(row: dict[str, Any]) -> str:
    """One row of either table."""
    if row["what"] == "compile":
        if row["seconds"] is None:
            took = f"refused: {row['said']}"
        else:
            took = f"{row['seconds']:.1f} s, after {row['begun_seconds']:.1f} s for x + 1"
        return f"compile {row['who']}, L {row['L']} H {row['H']} T {row['T']}, {row['phase']}: {took}"
    found = (
        f"{phase} {row[phase]['over_one_call']:.2f} x one call, {row[phase]['ratio']:.2f}x torch" for phase in PHASES
    )
    return f"vmap {S} x {row['cell']} B{row['B']} T{row['T']} I{row['I']} H{row['H']}: {'; '.join(found)}"


def main() -> int:
    """Run both; returns the exit code."""
    options = parser(__doc__, seconds=1.0).parse_args()
    report = Report("composing", options)
    sizes = (8, 16, 2) if options.quick else (64, 256, 6)
    for package in ("unrolled.nn", "torch.nn"):
        for phase in PHASES:
            report.add(lambda p=package, f=phase: compile_time(p, f, sizes, options.threads), line)  # type: ignore[misc]
    for cell in CELLS:
        for shape in ((3, 5, 7, 9),) if options.quick else SHAPES:
            seconds = 0.05 if options.quick else options.seconds
            report.add(lambda c=cell, s=shape, t=seconds: mapped(c, s, t), line)  # type: ignore[misc]
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
