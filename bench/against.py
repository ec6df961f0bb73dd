"""One version of the package beside another, call by call: did a change cost time?

    python bench/against.py HEAD~20                      this checkout beside a commit: five minutes and two to build it
    python bench/against.py v0.1 HEAD~20                 one commit beside another
    python bench/against.py ../before --threads 1 --only GRU

A version is a commit of this repository, which is built in build/against, or the folder of a checkout whose core lies
in src/unrolled.  Only names that every version exports are used.

One process may be slower than its twin for as long as it lives, by where its memory came to lie.  So there are three
processes, the other version twice, which are started anew several times; within a start they take turns, so that all
see the same machine.  "this / other" is the median over the starts of the medians over the rounds; below 1 this version
is faster.  "other / itself" is the same number for the twins: what the machine alone does.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import math
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
#: B, T, I, H; the first is all fixed cost, the last all kernel.
SHAPES = (
    (3, 5, 32, 16),
    (1, 100, 64, 64),
    (8, 64, 64, 64),
    (32, 64, 128, 128),
    (32, 100, 256, 256),
    (64, 32, 512, 512),
)
#: Seconds of one timing, at least.
SHORTEST = 0.03


def bodies() -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    import torch

    from unrolled import nn
    from unrolled.lm import ModelConfig, SequenceModel, Vocabulary

    found: dict[str, Callable[[], object]] = {}

    def infer(layer, x):
        with torch.no_grad():
            layer(x)

    def train(layer, x, dy):
        layer(x)[0].backward(dy)
        layer.zero_grad()
        x.grad = None

    def step(call, *arguments):
        with torch.no_grad():
            call(*arguments)

    for name in ("LSTM", "GRU", "RNN"):
        for B, T, I, H in SHAPES:
            layer, x, dy = getattr(nn, name)(I, H), torch.randn(T, B, I), torch.randn(T, B, H)
            leaf = x.clone().requires_grad_()
            of = f"{name} B {B} T {T} I {I} H {H}"
            found[f"{of} inference"] = lambda a=(layer, x): infer(*a)
            found[f"{of} training"] = lambda a=(layer, leaf, dy): train(*a)
        for H in (8, 64, 256):
            layer, cell, x = getattr(nn, name)(H, H), getattr(nn, f"{name}Cell")(H, H), torch.randn(1, H)
            with torch.no_grad():
                state, hx, stepper = layer.step(x)[1], cell(x), nn.Stepper(layer)
            found[f"{name} layer.step H {H}"] = lambda a=(layer.step, x, state): step(*a)
            found[f"{name}Cell H {H}"] = lambda a=(cell, x, hx): step(*a)
            found[f"{name} Stepper H {H}"] = lambda a=(stepper, x): a[0](a[1])
    model = SequenceModel(ModelConfig(hidden_size=64), Vocabulary("abcdefgh"))
    ids = torch.randint(8, (65, 32))
    found["language model H 64, loss and gradients"] = lambda: model.loss(ids[:-1], ids[1:])[0].backward()
    runtime = model.runtime()
    found["runtime H 64, 200 symbols"] = lambda: runtime.generate(["a"], max_length=200, seed=1)
    return found


def serve(threads: int) -> None:
    """Time bodies for the parent: a line in is a name and a count, 0 to find one; a line out is a number."""
    import torch

    import unrolled

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    named = bodies()
    gc.disable()
    print(json.dumps({"from": unrolled.__file__, "names": [*named]}), flush=True)
    for line in sys.stdin:
        name, _, count = line.rstrip("\n").rpartition("\t")
        n, seconds = int(count) or 1, 0.0
        for _ in range(n // 4 + 1):  # wake the threads, which slept while the other processes had their turns
            named[name]()
        while True:
            begun = time.perf_counter()
            for _ in range(n):
                named[name]()
            seconds = time.perf_counter() - begun
            if int(count) or seconds > SHORTEST:
                break
            n *= 2
        print(seconds / n if int(count) else n, flush=True)


class Worker:
    """A process that has one version imported, and times its calls."""

    def __init__(self, sources: Path, threads: int) -> None:
        """Start it.

        Raises: RuntimeError if it imports the package from somewhere else.
        """
        # -S leaves out the finder of an editable installation, which would give this checkout to every process.
        finder = [] if sources == ROOT / "src" and not has_core(sources) else ["-S"]
        paths = [str(sources), str(HERE), *filter(None, sys.path)]
        code = f"import sys; sys.path[:] = {paths!r}; import against; against.serve({threads})"
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, *finder, "-c", code], **pipes)
        try:
            said = json.loads(self._line())
            if sources.resolve() not in Path(said["from"]).resolve().parents:
                raise RuntimeError(f"the package came from {said['from']}; expected it from {sources}")
        except BaseException:
            self.stop()
            raise
        self.names: list[str] = said["names"]

    def _line(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of one version ended with {self.process.wait()}")
        return line

    def seconds(self, name: str, count: int) -> float:
        """Return the seconds of one call, the mean of a number of them."""
        return self._ask(name, count)

    def count(self, name: str) -> int:
        """Return how many calls are one timing."""
        return int(self._ask(name, 0))

    def _ask(self, name: str, count: int) -> float:
        assert self.process.stdin
        self.process.stdin.write(f"{name}\t{count}\n")
        self.process.stdin.flush()
        return float(self._line())

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()


def has_core(sources: Path) -> bool:
    """Return whether the compiled core lies in the package."""
    return any((sources / "unrolled").glob("_core*.so"))


def sources_of(version: str) -> Path:
    """Return the folder that holds a version's package, which is built if it is a commit.

    Raises: SystemExit if it is neither the folder of a checkout with its core nor a commit.
    """
    sources = Path(version).resolve() / "src"
    if (sources / "unrolled").is_dir():
        if sources != ROOT / "src" and not has_core(sources):
            raise SystemExit(f"{version}: its core is not in src/unrolled; copy it there, or give a commit")
        return sources
    asked = ["git", "-C", str(ROOT), "rev-parse", "--verify", "--quiet", f"{version}^{{commit}}"]
    commit = subprocess.run(asked, capture_output=True, text=True).stdout.strip()[:12]
    if not commit:
        raise SystemExit(f"{version}: neither the folder of a checkout nor a commit of this repository")
    place = ROOT / "build" / "against" / commit
    if not (place / "unrolled").is_dir():
        print(f"building {commit} ...", file=sys.stderr)
        tree = place.with_name(f"{commit}-tree")
        tree.mkdir(parents=True, exist_ok=True)
        archive = subprocess.run(["git", "-C", str(ROOT), "archive", commit], stdout=subprocess.PIPE, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(tree, filter="data")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(place), str(tree)]
        subprocess.run(pip, check=True)
    return place


def median_ratio(over: list[float], under: list[float]) -> float:
    """Return the median over the rounds of one time divided by another's of the same round."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def main() -> None:
    """Print a line for each body, then the geometric means and the worst ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("other", help="a commit, or the folder of a checkout")
    parser.add_argument("this", nargs="?", default=str(ROOT), help="the same; this checkout if there is none")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="calls that have this in their name")
    asked = parser.parse_args()
    versions = [sources_of(version) for version in (asked.other, asked.other, asked.this)]
    counts: dict[str, int] = {}
    us: dict[str, list[list[float]]] = {}
    ratios: dict[str, list[tuple[float, float]]] = {}
    for start in range(asked.starts):
        print(f"start {start + 1} of {asked.starts} ...", file=sys.stderr)
        # Who is started first has first choice of the memory.
        order = (0, 1, 2) if start % 2 else (2, 1, 0)
        workers = {k: Worker(versions[k], asked.threads) for k in order}
        try:
            for name in filter(lambda name: asked.only in name, workers[0].names):
                count = counts.setdefault(name, workers[0].count(name))
                seconds: list[list[float]] = [[], [], []]
                for k in range(asked.rounds):
                    for which in (0, 1, 2) if k % 2 else (2, 1, 0):
                        seconds[which].append(workers[which].seconds(name, count))
                other, twin, this = seconds
                us.setdefault(name, []).append([statistics.median(times) * 1e6 for times in (other, this)])
                ratios.setdefault(name, []).append((median_ratio(twin, other), median_ratio(this, other)))
        finally:
            for worker in workers.values():
                worker.stop()
    print("| call | other, us | this, us | other / itself | this / other | starts |\n|---|--:|--:|--:|--:|---|")
    of_calls = []
    for name in ratios:
        other_us, this_us = (statistics.median(column) for column in zip(*us[name], strict=True))
        itself, ratio = (statistics.median(column) for column in zip(*ratios[name], strict=True))
        starts = [of_start for _, of_start in ratios[name]]
        seen = f"{min(starts):.2f} to {max(starts):.2f}"
        print(f"| {name} | {other_us:,.1f} | {this_us:,.1f} | {itself:.2f} | {ratio:.2f} | {seen} |")
        of_calls.append((itself, ratio))
    itself, ratio = (math.exp(statistics.fmean(map(math.log, column))) for column in zip(*of_calls, strict=True))
    worst = max(ratio for _, ratio in of_calls)
    print(f"| **geometric mean** of {len(of_calls)} | | | {itself:.3f} | {ratio:.3f} | worst {worst:.2f} |")


if __name__ == "__main__":
    main()
