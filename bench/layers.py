"""Layers beside torch.nn: time and share of the machine, point by point, interleaved in one process.

    python bench/layers.py                      the grid of seven shapes, three cells; prints the table, writes JSON
    python bench/layers.py --grid full          the wide grid (an hour)
    python bench/layers.py --cells GRU --dtype float64

Every point first compares outputs and every gradient with torch; a point that differs is refused, and the exit code
is 1.  Times are medians of interleaved runs; ratios are torch / unrolled, so more than 1 means unrolled is faster.  The
rate of a large matrix product is measured beside every point, because the machine's own speed drifts.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import unrolled.nn as unn
from unrolled import _core

#: (B, T, H), I = H: the shapes of the first stage.
SMALL = [(1, 100, 64), (1, 100, 256), (8, 64, 64), (32, 64, 128), (32, 100, 256), (64, 100, 512), (64, 32, 1024)]
CELLS = {
    "RNN": (torch.nn.RNN, unn.RNN, 1),
    "LSTM": (torch.nn.LSTM, unn.LSTM, 4),
    "GRU": (torch.nn.GRU, unn.GRU, 3),
}
#: Largest difference allowed, relative to the largest value compared.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-11}


def full_grid() -> list[tuple[int, int, int]]:
    """Every B, T, H whose forward pass takes at most a few seconds on two cores."""
    points = itertools.product((1, 8, 32, 64, 256), (20, 100, 500), (16, 64, 100, 128, 256, 512, 1024))
    return [(B, T, H) for B, T, H in points if B * T * H * H <= 2**31]


def median_times(bodies: dict[str, Callable[[], object]], seconds: float) -> dict[str, list[float]]:
    """Run the bodies in turn until `seconds` are spent, at least three rounds and at most sixty; times in s."""
    times: dict[str, list[float]] = {name: [] for name in bodies}
    for body in bodies.values():
        body()
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < 3 or (time.perf_counter() < end and rounds < 60):
        # What comes after a long body starts with cold caches; turning the order round shares that out.
        for name, body in list(bodies.items())[:: 1 if rounds % 2 else -1]:
            start = time.perf_counter()
            body()
            times[name].append(time.perf_counter() - start)
        rounds += 1
    return times


def sgemm_rate(dtype: torch.dtype) -> float:
    """GFLOP/s of a 1024 x 1024 matrix product, the best of ten."""
    a, b = torch.randn(2, 1024, 1024, dtype=dtype)
    best = math.inf
    for _ in range(10):
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * 1024**3 / best / 1e9


def measure(cell: str, B: int, T: int, I: int, H: int, dtype: torch.dtype, seconds: float) -> dict[str, Any]:
    """Measure one point, parity first."""
    stock_class, own_class, G = CELLS[cell]
    stock = stock_class(I, H, dtype=dtype)
    own = own_class(I, H, dtype=dtype)
    own.load_state_dict(stock.state_dict())
    x = torch.randn(T, B, I, dtype=dtype)
    dy = torch.randn(T, B, H, dtype=dtype)
    leaves = {module: x.clone().requires_grad_() for module in (stock, own)}

    def inference(module: torch.nn.Module) -> torch.Tensor:
        with torch.no_grad():
            return module(x)[0]

    def training(module: torch.nn.Module) -> torch.Tensor:
        module.zero_grad(set_to_none=True)
        leaves[module].grad = None
        y = module(leaves[module])[0]
        y.backward(dy)
        return y

    def results(module: torch.nn.Module) -> dict[str, torch.Tensor]:
        y = training(module)
        gradients = {f"d{name}": p.grad for name, p in module.named_parameters()}
        return {"y": y.detach(), "inference": inference(module), "dx": leaves[module].grad, **gradients}

    want, got = results(stock), results(own)
    worst = max(float((got[n] - want[n]).abs().max() / want[n].abs().max().clamp_min(1e-30)) for n in want)
    if not worst <= TOLERANCE[dtype]:
        raise AssertionError(
            f"{cell} B{B} T{T} I{I} H{H}: differs from torch by {worst:.1e} (allowed {TOLERANCE[dtype]:.0e})"
        )
    times = median_times(
        {
            "own inference": lambda: inference(own),
            "stock inference": lambda: inference(stock),
            "own training": lambda: training(own),
            "stock training": lambda: training(stock),
        },
        seconds,
    )
    gemm = sgemm_rate(dtype)
    forward_flops = 2 * T * B * G * H * (I + H)
    row: dict[str, Any] = {"cell": cell, "B": B, "T": T, "I": I, "H": H, "dtype": str(dtype).removeprefix("torch.")}
    for phase, flops in (("inference", forward_flops), ("training", 3 * forward_flops)):
        own_s, stock_s = (statistics.median(times[f"{who} {phase}"]) for who in ("own", "stock"))
        pairs = [s / o for o, s in zip(times[f"own {phase}"], times[f"stock {phase}"], strict=True)]
        row[phase] = {
            "own_ms": own_s * 1e3,
            "torch_ms": stock_s * 1e3,
            "ratio": statistics.median(pairs),
            "gflops": flops / own_s / 1e9,
            "share_of_gemm": flops / own_s / 1e9 / gemm,
            "rounds": len(pairs),
        }
    return {**row, "gemm_gflops": gemm, "worst_difference": worst, "load": _load()}


def _load() -> float:
    import os

    return round(os.getloadavg()[0], 2)


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    return {
        "commit": commit,
        "cpu": model,
        "instruction_set": _core.active_instruction_set(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


COLUMNS = f"{'x torch':>8} {'of gemm':>8}   "
POINT = f"{'cell':5}{'B':>4}{'T':>5}{'I':>5}{'H':>6}   "
HEADER = f"{POINT}{'inference ms':>12} {COLUMNS}{'training ms':>12} {COLUMNS}{'load':>5}"


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    inference, training = row["inference"], row["training"]
    return (
        f"{row['cell']:5}{row['B']:>4}{row['T']:>5}{row['I']:>5}{row['H']:>6}   "
        f"{inference['own_ms']:>12.3f} {inference['ratio']:>7.2f}x {inference['share_of_gemm']:>8.0%}   "
        f"{training['own_ms']:>12.3f} {training['ratio']:>7.2f}x {training['share_of_gemm']:>8.0%}   {row['load']:>5}"
    )


def main() -> int:
    """Run the grid; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grid", choices=("small", "full"), default="small")
    parser.add_argument("--cells", default="LSTM,GRU,RNN")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0, help="a point; medians of at least three rounds")
    parser.add_argument("--json", type=Path, default=Path("bench/results/layers.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    dtype = getattr(torch, arguments.dtype)
    points = SMALL if arguments.grid == "small" else full_grid()
    about = machine()
    print(" ".join(f"{key}={value}" for key, value in about.items()))
    print(HEADER)
    rows, refused = [], 0
    for cell in arguments.cells.split(","):
        for B, T, H in points:
            inputs = (H,) if arguments.grid == "small" else sorted({32, H})
            for I in inputs:
                try:
                    rows.append(measure(cell, B, T, I, H, dtype, arguments.seconds))
                except AssertionError as difference:
                    refused += 1
                    print(f"refused: {difference}")
                    continue
                print(line(rows[-1]), flush=True)
    for cell in arguments.cells.split(","):
        for phase in ("inference", "training"):
            ratios = [row[phase]["ratio"] for row in rows if row["cell"] == cell]
            if ratios:
                mean = math.exp(statistics.fmean(map(math.log, ratios)))
                summary = f"geometric mean {mean:.2f}x  slowest {min(ratios):.2f}x  of {len(ratios)} points"
                print(f"{cell:5} {phase:9}  {summary}")
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps({"machine": about, "rows": rows}, indent=1) + "\n")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
