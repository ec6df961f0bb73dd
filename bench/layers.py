"""Layers beside torch.nn: time, ratio and share of the machine, shape by shape.

    python bench/layers.py                       every set, about 15 minutes
    python bench/layers.py --sets float64 --cells GRU
    python bench/layers.py --quick

The sets: `common`, a few that people know; `cover`, every pair of values of B, T, I, H for each cell (grid.py);
`float64` and `stacked` (two layers, both directions), every value once.  Ratios are torch / unrolled: more than 1 means
unrolled is faster.  Each row also has the rate of torch.mm in the same minute, for the product of one step
(B, H) (H, G H) and at its best, and the gain over one thread.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from grid import COMMON, Point, covering
from harness import TOLERANCE, Report, Times, geometric_mean, interleave, limits, parser, product_rate, same

import unrolled.nn
from unrolled.notation import gate_count

CELLS = ("LSTM", "GRU", "RNN")
PHASES = ("inference", "training")


class Set(NamedTuple):
    """Shapes that are measured in one way."""

    points: Callable[[], list[Point]]
    dtype: torch.dtype = torch.float32
    L: int = 1
    D: int = 1


SETS = {
    "common": Set(lambda: COMMON),
    "cover": Set(lambda: covering(2)),
    "float64": Set(lambda: covering(1), dtype=torch.float64),
    "stacked": Set(lambda: covering(1), L=2, D=2),
}
QUICK = [Point(3, 5, 32, 16), Point(1, 20, 64, 64)]


class Bodies:
    """The calls of one layer: `inference()` and `training()`, forward and backward, of whole sequences."""

    def __init__(self, module: torch.nn.RNNBase, x: torch.Tensor, dy: torch.Tensor):
        self.module, self.x, self.dy = module, x, dy
        self.leaf = x.clone().requires_grad_()

    def inference(self) -> torch.Tensor:
        with torch.no_grad():
            return self.module(self.x)[0]

    def training(self) -> torch.Tensor:
        self.module.zero_grad(set_to_none=True)
        self.leaf.grad = None
        y = self.module(self.leaf)[0]
        y.backward(self.dy)
        return y.detach()

    def results(self) -> dict[str, torch.Tensor]:
        """Return all results of a layer, by name."""
        y, inference = self.training(), self.inference()
        gradients = {f"d{name}": p.grad for name, p in self.module.named_parameters()}
        return {"y": y, "inference": inference, "dx": self.leaf.grad, **gradients}


def operations(cell: str, point: Point, L: int, D: int) -> float:
    """Return the multiplications and additions in the matrix products of one forward pass."""
    widths = [point.I] + [D * point.H] * (L - 1)
    return 2.0 * point.T * point.B * D * gate_count(_kind(cell)) * point.H * sum(I + point.H for I in widths)


def measure(name: str, cell: str, point: Point, seconds: float, threads: int) -> dict[str, Any]:
    """Compare the results at one point, then time it."""
    kinds, (B, T, I, H) = SETS[name], point
    stock = getattr(torch.nn, cell)(I, H, kinds.L, bidirectional=kinds.D == 2, dtype=kinds.dtype)
    own = unrolled.nn.swap(type(stock)(I, H, kinds.L, bidirectional=kinds.D == 2, dtype=kinds.dtype))
    own.load_state_dict(stock.state_dict())
    x, dy = torch.randn(T, B, I, dtype=kinds.dtype), torch.randn(T, B, kinds.D * H, dtype=kinds.dtype)
    ours, theirs = Bodies(own, x, dy), Bodies(stock, x, dy)
    where = f"{cell} {name} B{B} T{T} I{I} H{H}"
    worst = same(where, ours.results(), theirs.results(), TOLERANCE[kinds.dtype])

    bodies = {f"{who} {phase}": getattr(c, phase) for who, c in (("own", ours), ("torch", theirs)) for phase in PHASES}
    times = interleave(bodies, seconds)
    alone = interleave({f"{k} {phase}": _on(k, getattr(ours, phase)) for k in {1, threads} for phase in PHASES}, 0.2)
    torch.set_num_threads(threads)

    flops, G = operations(cell, point, kinds.L, kinds.D), gate_count(_kind(cell))
    step = product_rate(B, H, G * H, kinds.dtype)
    best = max(step, product_rate(1024, 1024, 1024, kinds.dtype), product_rate(T * B, I + H, G * H, kinds.dtype))
    row: dict[str, Any] = {"set": name, "cell": cell, "B": B, "T": T, "I": I, "H": H, "L": kinds.L, "D": kinds.D}
    row |= {"dtype": str(kinds.dtype).removeprefix("torch."), "worst_difference": worst, "rounds": times.rounds}
    row |= {"mm_step_gflops": step, "mm_best_gflops": best}
    for phase, work in zip(PHASES, (flops, 3 * flops), strict=True):
        row[phase] = _summary(times, phase, work, best)
        row[phase]["threads_gain"] = alone.ratio(f"1 {phase}", f"{threads} {phase}")
    if B == 1 and kinds.L == 1:
        row["weights_gb_s"] = G * H * H * x.element_size() * T / times.ms("own inference") * 1e-6
    return row


def _summary(times: Times, phase: str, work: float, best: float) -> dict[str, Any]:
    own, stock = f"own {phase}", f"torch {phase}"
    rate = work / times.ms(own) * 1e-6
    return {
        "own_ms": times.ms(own),
        "torch_ms": times.ms(stock),
        "ratio": times.ratio(stock, own),
        "quartiles": times.quartiles(stock, own),
        "gflops": rate,
        "share_of_mm": rate / best,
    }


def _on(threads: int, body: Callable[[], object]) -> Callable[[], object]:
    """Return the body on this number of threads; setting it costs less than a microsecond."""

    def on() -> object:
        torch.set_num_threads(threads)
        return body()

    return on


def _kind(cell: str) -> str:
    return "RNN_TANH" if cell == "RNN" else cell


POINT = f"{'set':8}{'cell':5}{'B':>4}{'T':>5}{'I':>6}{'H':>6} "
HEADER = POINT + "".join(f"  {phase + ' ms':>12} {'x torch':>8} {'of mm':>6} {'x 1 thr':>7}" for phase in PHASES)


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    text = f"{row['set']:8}{row['cell']:5}{row['B']:>4}{row['T']:>5}{row['I']:>6}{row['H']:>6} "
    for found in (row[phase] for phase in PHASES):
        text += f"  {found['own_ms']:>12.3f} {found['ratio']:>7.2f}x {found['share_of_mm']:>6.0%} "
        text += f"{found['threads_gain']:>6.2f}x"
    return f"{text}  {row['rounds']:>3} rounds, load {row['load']}"


def summaries(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return for each set and cell the mean ratio, the slowest point, and how many points are slower than torch."""
    found = []
    for name, cell in dict.fromkeys((row["set"], row["cell"]) for row in rows):
        mine = [row for row in rows if (row["set"], row["cell"]) == (name, cell)]
        summary: dict[str, Any] = {"set": name, "cell": cell, "points": len(mine)}
        for phase in PHASES:
            ratios = [row[phase]["ratio"] for row in mine]
            slower = sum(ratio < 1 for ratio in ratios)
            summary[phase] = {"mean": geometric_mean(ratios), "slowest": min(ratios), "slower": slower}
        found.append(summary)
    return found


def main() -> int:
    """Run the sets; returns the exit code."""
    options = parser(__doc__, seconds=1.5)
    options.add_argument("--sets", default=",".join(SETS), help=f"of {', '.join(SETS)}; all by default")
    options.add_argument("--cells", default=",".join(CELLS), help=f"of {', '.join(CELLS)}; all by default")
    asked = options.parse_args()
    report = Report("layers", asked)
    before = limits(asked.threads)
    print(HEADER)
    for name in asked.sets.split(","):
        for cell in asked.cells.split(","):
            for point in QUICK if asked.quick else SETS[name].points():
                seconds = 0.05 if asked.quick else asked.seconds
                report.add(lambda c=cell, p=point, n=name, s=seconds: measure(n, c, p, s, asked.threads), line)  # type: ignore[misc]
    for found in summaries(report.rows):
        print(
            f"{found['set']:8}{found['cell']:5} {found['points']:>3} points"
            + "".join(
                f"   {phase}: mean {found[phase]['mean']:.2f}x, slowest {found[phase]['slowest']:.2f}x, "
                f"{found[phase]['slower']} slower than torch"
                for phase in PHASES
            )
        )
    return report.finish(limits=before)


if __name__ == "__main__":
    sys.exit(main())
