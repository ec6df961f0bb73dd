"""Ragged batches: does a call cost what its symbols cost, or what its padding costs?

    python bench/ragged.py            about five minutes
    python bench/ragged.py --quick

Two layers, lengths linspace(1, T, B): the batch of pytorch#149194.  `fair` is the time of the ragged call divided by
that of the padded one and by the share of true symbols, sum(lengths) / (B T): 1 is the ideal, the aim is 1.1.  torch's
packed call goes step by step; where it would take more than `PATIENCE` seconds it is not run, and the row says so.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import torch
from harness import TOLERANCE, Report, Times, interleave, parser, same
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import unrolled.nn

B, I, H, L = 32, 64, 128, 2
STEPS = (10, 20, 50, 100, 200, 500, 1000, 2000, 4000)
#: Longest call of torch that is run, s.
PATIENCE = 12.0
PHASES = ("inference", "training")
#: Most steps at which results are compared; torch's time, which grows with the square of T, is estimated from it.
REHEARSAL = 200
#: Probability of a reset, as of the end of an episode.
RESETS = 0.01


def measure(cell: str, T: int, seconds: float) -> dict[str, Any]:
    """Compare, then time one length: padded, `lengths=`, packed and `reset=`, beside torch's padded and packed."""
    stock = getattr(torch.nn, cell)(I, H, L)
    own = getattr(unrolled.nn, cell)(I, H, L)
    own.load_state_dict(stock.state_dict())
    spent = rehearse(cell, own, stock, min(T, REHEARSAL)) * max(1.0, T / REHEARSAL) ** 2

    lengths, x = ragged(T)
    packed = pack_padded_sequence(x, lengths)
    calls: dict[str, tuple[Any, Any, dict[str, Any]]] = {
        "own padded": (own, x, {}),
        "own lengths": (own, x, {"lengths": lengths}),
        "own packed": (own, packed, {}),
        "own reset": (own, x, {"reset": torch.rand(T, B) < RESETS}),
        "torch padded": (stock, x, {}),
    }
    if spent <= PATIENCE:
        calls["torch packed"] = (stock, packed, {})
    share = float(lengths.sum()) / (B * T)
    row: dict[str, Any] = {"cell": cell, "B": B, "T": T, "I": I, "H": H, "L": L, "share": share}
    row["torch_packed"] = "measured" if spent <= PATIENCE else f"not run: a call would take about {spent:.0f} s"
    for phase in PHASES:
        row[phase] = _summary(interleave({name: body(phase, *call) for name, call in calls.items()}, seconds), share)
    return row


def ragged(T: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return lengths (B,), longest first as torch packs them, and rows (T, B, I)."""
    return torch.linspace(1, T, B).long().flip(0), torch.randn(T, B, I)


def rehearse(cell: str, own: Any, stock: Any, T: int) -> float:
    """Compare outputs and gradients of ragged calls with torch's; return the seconds of torch's packed training."""
    lengths, x = ragged(T)
    packed = pack_padded_sequence(x, lengths)

    def results(module: Any, *rows: Any, **more: Any) -> dict[str, torch.Tensor]:
        module.zero_grad(set_to_none=True)
        y = module(*rows, **more)[0]
        y = y if isinstance(y, torch.Tensor) else pad_packed_sequence(y, total_length=T)[0]
        y.square().sum().backward()
        return {"y": y.detach(), **{f"d{name}": p.grad for name, p in module.named_parameters()}}

    want = results(stock, packed)
    for how, got in (("packed", results(own, packed)), ("lengths=", results(own, x, lengths=lengths))):
        same(f"{cell} T{T} {how}", got, want, TOLERANCE[torch.float32])
    call = body("training", stock, packed, {})
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def body(phase: str, module: torch.nn.Module, rows: Any, more: dict[str, Any]) -> Any:
    """Return a call of the layer; training ends with backward from every output."""

    def inference() -> object:
        with torch.no_grad():
            return module(rows, **more)

    def training() -> object:
        module.zero_grad(set_to_none=True)
        y = module(rows, **more)[0]
        y = y if isinstance(y, torch.Tensor) else y.data
        y.backward(torch.ones_like(y))
        return y

    return inference if phase == "inference" else training


def _summary(times: Times, share: float) -> dict[str, Any]:
    summary: dict[str, Any] = {"ms": {name: times.ms(name) for name in times.seconds}, "rounds": times.rounds}
    summary["fair"] = {how: times.ratio(f"own {how}", "own padded") / share for how in ("lengths", "packed")}
    summary["reset_cost"] = times.ratio("own reset", "own padded") - 1
    summary["padded_ratio"] = times.ratio("torch padded", "own padded")
    if "torch packed" in times.seconds:
        summary["packed_ratio"] = times.ratio("torch packed", "own packed")
        summary["torch_fair"] = times.ratio("torch packed", "torch padded") / share
    return summary


def line(row: dict[str, Any]) -> str:
    """One row of the table, both phases."""
    text = f"{row['cell']:5}{row['T']:>5}"
    for found in (row[phase] for phase in PHASES):
        beside = f"{found['packed_ratio']:>7.1f}x" if "packed_ratio" in found else f"{'--':>8}"
        text += (
            f"   {found['ms']['own padded']:>9.2f} {found['fair']['lengths']:>5.2f} {found['fair']['packed']:>5.2f} "
        )
        text += f"{found['reset_cost']:>6.1%} {beside}"
    return f"{text}   {row['torch_packed']}"


def main() -> int:
    """Run the lengths; returns the exit code."""
    options = parser(__doc__, seconds=1.0).parse_args()
    report = Report("ragged", options)
    head = f"   {'padded ms':>9} {'lens':>5} {'pack':>5} {'reset':>6} {'x torch':>8}"
    print(f"{'cell':5}{'T':>5}{head}{head}")
    points = [("LSTM", T) for T in STEPS] + [(cell, T) for cell in ("GRU", "RNN") for T in (100, 1000)]
    for cell, T in [("LSTM", 10), ("GRU", 20)] if options.quick else points:
        seconds = 0.1 if options.quick else options.seconds
        report.add(lambda c=cell, t=T, s=seconds: measure(c, t, s), line)  # type: ignore[misc]
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
