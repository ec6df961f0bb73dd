"""What every bench shares: interleaved timing, comparison with the peer, and the report with its provenance.

A bench is one command, `python bench/NAME.py`; `--quick` takes small sizes and writes nothing without `--json`.
Results are compared with the peer's before anything is timed.  If one differs, the bench names it, writes no file and
exits with 1: a wrong result has no speed.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from unrolled import _core

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
DRIVER = ROOT / "build" / "bench" / "bench_kernels"
#: Largest difference allowed, relative to the largest value compared.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-11}
#: Least duration of one timing, s; shorter bodies run several times in it.
SHORTEST = 5e-3
#: Rounds of a median: wanted, at most, at least; the row says how many there were.
WANTED, MOST, LEAST = 20, 40, 3

Body = Callable[[], object]


@runtime_checkable
class Timed(Protocol):
    """A body that times itself, because it runs in another process."""

    def __call__(self) -> object: ...

    def seconds(self, calls: int) -> float:
        """Run a number of times; return the seconds in total."""
        ...


class DiffersError(Exception):
    """A result differs from the peer's."""


def same(where: str, got: Mapping[str, torch.Tensor], want: Mapping[str, torch.Tensor], allowed: float) -> float:
    """Compare results by name; return the worst difference, relative to the largest value of each.

    Raises: DiffersError if it is more than allowed, or not a number.
    """
    worst = 0.0
    for name in want:
        difference = float((got[name] - want[name]).abs().max() / want[name].abs().max().clamp_min(1e-30))
        if not difference <= allowed:
            raise DiffersError(f"{where}: {name} differs from the peer's by {difference:.1e} (allowed {allowed:.0e})")
        worst = max(worst, difference)
    return worst


@dataclass(frozen=True)
class Times:
    """Seconds a call of each body, round by round."""

    seconds: dict[str, list[float]]

    def ms(self, name: str) -> float:
        """Median, in milliseconds."""
        return statistics.median(self.seconds[name]) * 1e3

    def ratio(self, over: str, under: str) -> float:
        """Median over the rounds of one body's time divided by another's in the same round."""
        return statistics.median(self._ratios(over, under))

    def quartiles(self, over: str, under: str) -> list[float]:
        """The first and third quartile of those ratios: how much they vary with the machine's load."""
        ratios = self._ratios(over, under)
        first, _, third = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
        return [first, third]

    def _ratios(self, over: str, under: str) -> list[float]:
        return [a / b for a, b in zip(self.seconds[over], self.seconds[under], strict=True)]

    @property
    def rounds(self) -> int:
        """The number of timings that each median is taken over."""
        return len(next(iter(self.seconds.values())))


def interleave(bodies: Mapping[str, Body | Timed], seconds: float, pause: float = 0.0) -> Times:
    """Run the bodies in turn, and time them.

    Each first runs once untimed.  Short ones then run several times per timing.  The order is reversed every round,
    because a body that follows a long one starts with cold caches.

    Args:
        bodies: by name.
        seconds: about how long, s: at most `MOST` rounds, up to three times as long to reach `WANTED` rounds, and never
            fewer than `LEAST`.
        pause: before each timing, s, in which idle threads of another library stop spinning.
    """
    times: dict[str, list[float]] = {name: [] for name in bodies}
    calls = {name: _calls(body) for name, body in bodies.items()}
    collecting = gc.isenabled()
    gc.disable()
    try:
        started = time.perf_counter()
        for number in range(MOST):
            spent = time.perf_counter() - started
            if number >= LEAST and (spent > 3 * seconds or (number >= WANTED and spent > seconds)):
                break
            for name, body in list(bodies.items())[:: -1 if number % 2 else 1]:
                time.sleep(pause)
                times[name].append(duration(body, calls[name]) / calls[name])
    finally:
        if collecting:
            gc.enable()
    return Times(times)


def duration(body: Body | Timed, calls: int = 1) -> float:
    """Return the seconds that a number of calls take."""
    if isinstance(body, Timed):
        return body.seconds(calls)
    start = time.perf_counter()
    for _ in range(calls):
        body()
    return time.perf_counter() - start


def _calls(body: Body | Timed) -> int:
    """Return how many calls last `SHORTEST`; the first call, which sets things up, counts only if it is long."""
    spent = duration(body)
    if spent < 20 * SHORTEST:
        spent = duration(body)
    return max(1, math.ceil(SHORTEST / max(spent, 1e-7)))


def geometric_mean(ratios: Iterable[float]) -> float:
    """Return the geometric mean, the right one for ratios."""
    return math.exp(statistics.fmean(map(math.log, ratios)))


def load() -> float:
    """Return the number of processes that wanted a core over the last minute, this one included."""
    return round(os.getloadavg()[0], 2)


def machine() -> dict[str, Any]:
    """Return what the numbers depend on."""
    commit, changed = (_git(*words) for words in (("rev-parse", "--short", "HEAD"), ("status", "-s", "src", "csrc")))
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.processor())
    return {
        "commit": commit + (" and changes" if changed else ""),
        "cpu": model,
        "cores": os.cpu_count(),
        "instruction_set": _core.active_instruction_set(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _git(*words: str) -> str:
    """Return the output of a git command; empty outside a repository."""
    git = ["git", "-C", str(ROOT), *words]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()


def limits(threads: int) -> dict[str, Any] | None:
    """Measure the limits of the machine (bench/limits.cpp); print a note and return None if the driver is not built."""
    if not DRIVER.exists():
        print(f"missing: the machine's limits, because {DRIVER.relative_to(ROOT)} is not built (make bench_kernels)")
        return None
    found = subprocess.run([DRIVER, "limits", str(threads)], capture_output=True, text=True, check=True)
    return json.loads(found.stdout)  # type: ignore[no-any-return]


def product_rate(M: int, K: int, N: int, dtype: torch.dtype, seconds: float = 0.05) -> float:
    """Return the GFLOP/s of torch.mm of (M, K) and (K, N), from the best timing within the seconds."""
    a, b, out = (torch.randn(shape, dtype=dtype) for shape in ((M, K), (K, N), (M, N)))

    def product() -> object:
        return torch.mm(a, b, out=out)

    calls = _calls(product)
    best, end = math.inf, time.perf_counter() + seconds
    while best == math.inf or time.perf_counter() < end:
        best = min(best, duration(product, calls) / calls)
    return 2 * M * K * N / best / 1e9


@dataclass
class Report:
    """The rows of one bench, and whether they may be shown."""

    bench: str
    options: argparse.Namespace
    rows: list[dict[str, Any]] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        torch.set_num_threads(self.options.threads)
        torch.manual_seed(0)
        self.machine, self.load, self.started = machine(), load(), time.perf_counter()
        print(" ".join(f"{key}={value}" for key, value in self.machine.items()) + f" load={self.load}")

    def add(self, row: Callable[[], dict[str, Any]], line: Callable[[dict[str, Any]], str]) -> None:
        """Measure one row and print it, or note why it is refused."""
        try:
            self.rows.append({**row(), "load": load()})
        except DiffersError as difference:
            self.refused.append(str(difference))
            print(f"refused: {difference}", flush=True)
            return
        print(line(self.rows[-1]), flush=True)

    def lacks(self, peer: str, why: str) -> None:
        """Note a peer that could not run; the tables name it as missing."""
        if peer not in self.missing:
            print(f"missing: {peer}: {why}", flush=True)
        self.missing[peer] = why

    def finish(self, **more: Any) -> int:
        """Write the JSON, unless something was refused; return the exit code."""
        spent = time.perf_counter() - self.started
        if self.refused:
            print(f"{self.bench}: {len(self.refused)} results differ from the peer's; nothing is reported")
            return 1
        print(f"{self.bench}: {len(self.rows)} rows in {spent:.0f} s, load {self.load} before and {load()} after")
        target = self.options.json or (None if self.options.quick else RESULTS / f"{self.bench}.json")
        if target:
            about = {"command": " ".join(["python", f"bench/{self.bench}.py", *_words()]), "seconds": round(spent)}
            about |= {"load": [self.load, load()], "missing": self.missing}
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(
                json.dumps({"machine": self.machine, **about, **more, "rows": _short(self.rows)}, indent=1) + "\n"
            )
        return 0


def _words() -> list[str]:
    """Return the command line without --json, and without the folders of this machine."""
    given = zip(sys.argv, sys.argv[1:], strict=False)
    words = [word for before, word in given if before != "--json" and not word.startswith("--json")]
    return [re.sub("=.*/", "=", word) for word in words]


def _short(value: Any) -> Any:
    """Round every float to five digits; the others are noise."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    return [*map(_short, value)] if isinstance(value, (list, tuple)) else value


def parser(doc: str, seconds: float) -> argparse.ArgumentParser:
    """Return a parser with the options that every bench has."""
    options = argparse.ArgumentParser(description=doc.splitlines()[0])
    options.add_argument("--quick", action="store_true", help="small sizes, under a minute; writes only with --json")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--seconds", type=float, default=seconds, help="about how long a row is measured")
    options.add_argument("--json", type=Path, help="where the results go; bench/results/NAME.json by default")
    return options
