"""This checkout beside another one, call by call: did a change of the structure cost time?

    python bench/against.py ../before                     two minutes
    python bench/against.py ../before --threads 1 --only GRU

The other checkout has its core in src/unrolled (copy `_core.abi3.so` there).  Two processes take turns, so both see
the same machine, and only names that every version exports are used.  A ratio is the median over rounds of this
checkout's time over the other's; below 1 this one is faster.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve()
SHAPES = ((1, 100, 64), (8, 64, 64), (32, 64, 128), (32, 100, 256), (64, 32, 512))  # B, T, I = H
SHORTEST = 0.03  # seconds of one timing


def bodies() -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    import torch

    from unrolled import nn
    from unrolled.lm import ModelConfig, SequenceModel, Vocabulary

    found: dict[str, Callable[[], object]] = {}

    def infer(layer, x):
        with torch.no_grad():
            layer(x)

    def train(layer, x):
        layer(x)[0].sum().backward()
        layer.zero_grad()

    def step(call, *arguments):
        with torch.no_grad():
            call(*arguments)

    for name in ("LSTM", "GRU", "RNN"):
        for B, T, H in SHAPES:
            layer, x = getattr(nn, name)(H, H), torch.randn(T, B, H)
            found[f"{name} B {B} T {T} H {H} inference"] = lambda a=(layer, x): infer(*a)
            found[f"{name} B {B} T {T} H {H} training"] = lambda a=(layer, x): train(*a)
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

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    named = bodies()
    gc.disable()
    print(json.dumps([*named]), flush=True)
    for line in sys.stdin:
        name, _, count = line.rstrip("\n").rpartition("\t")
        n, seconds = int(count) or 1, 0.0
        for _ in range(n // 4 + 1):  # wake the threads, which slept while the other process had its turn
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


def main() -> None:
    """Print a line for each body, then the geometric mean and the worst ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("other", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    workers = []
    for root in (asked.other.resolve(), HERE.parents[1]):
        code = f"import sys; sys.path[:0] = [{str(root / 'src')!r}, {str(HERE.parent)!r}]; "
        code += f"import against; against.serve({asked.threads})"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        workers.append(subprocess.Popen([sys.executable, "-c", code], **pipes))
    names, _ = (json.loads(worker.stdout.readline()) for worker in workers)

    def ask(worker, name, count):
        worker.stdin.write(f"{name}\t{count}\n")
        worker.stdin.flush()
        return float(worker.stdout.readline())

    print("| call | other, us | this, us | this / other | quartiles |\n|---|--:|--:|--:|---|")
    ratios = []
    for name in names:
        if asked.only not in name:
            continue
        count = int(ask(workers[0], name, 0))
        pairs = []
        for k in range(asked.rounds):
            times = {w: ask(workers[w], name, count) for w in ((0, 1) if k % 2 else (1, 0))}
            pairs.append((times[0], times[1]))
        of_round = sorted(this / other for other, this in pairs)
        other, this = (1e6 * statistics.median(column) for column in zip(*pairs, strict=True))
        low, middle, high = (of_round[len(of_round) * k // 4] for k in (1, 2, 3))
        print(f"| {name} | {other:,.1f} | {this:,.1f} | {middle:.2f} | {low:.2f} to {high:.2f} |", flush=True)
        ratios.append(middle)
    mean = math.exp(statistics.fmean(map(math.log, ratios)))
    print(f"| **geometric mean** of {len(ratios)} | | | {mean:.3f} | worst {max(ratios):.2f} |")


if __name__ == "__main__":
    main()
