"""Training steps in two processes of one thread beside one process of two threads, interleaved.

    python bench/parallel.py            about two minutes on two idle cores
    python bench/parallel.py --quick    seconds; the numbers mean nothing

Both train the same model on the same batches; in two processes every gradient is summed over a local connection.  Each
side is a run of the package's own training loop that waits for its turn, so that only one of them computes.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from harness import Report, interleave, parser

from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.corpus.corpus import Corpus
from unrolled.lm.callbacks import Callback
from unrolled.lm.memory import parameters
from unrolled.lm.model import SequenceModel
from unrolled.lm.training import train

V = 96
#: Least speed of two processes, times that of one process with as many threads.
GOAL = 0.9
#: Before each turn, s: the others of two processes go on to their next step, and wait there.
PAUSE = 0.1
SIDES = {"one process, two threads": (1, 2), "two processes, one thread": (2, 1)}


class Turns(Callback):
    """Takes as many steps as a line of standard input says, and answers with the seconds that they took.

    One more comes first and is not counted: for it, caches are cold, and another process has done its part before.
    """

    def __init__(self) -> None:
        self.left = 0
        self.began: float | None = None

    def on_train_begin(self, run: Any) -> None:
        self.wait()

    def on_log(self, run: Any, line: dict[str, Any]) -> None:
        if self.began is None:
            self.began = time.perf_counter()
            return
        self.left -= 1
        if not self.left:
            print(time.perf_counter() - self.began, flush=True)
            self.wait()

    def wait(self) -> None:
        self.left, self.began = int(sys.stdin.readline() or 0), None
        if not self.left:
            os._exit(0)


def work(cell: str, H: int, B: int, T: int) -> None:
    """Be one of the processes of a side: the first obeys standard input, another follows it."""
    rng = np.random.default_rng(0)
    corpus = Corpus.from_text("".join(map(chr, 32 + rng.integers(0, V - 2, B * T * 40 + 1))), validation=0, test=0)
    torch.manual_seed(0)
    model = SequenceModel(ModelConfig(cell=cell, hidden_size=H, embedding_size=H), corpus.vocabulary, framed=False)
    endless = {"max_steps": 2**31 - 1, "max_epochs": 0, "validate_every": 2**31 - 1, "checkpoint_every": 2**31 - 1}
    train(model, corpus, TrainingConfig(batch_size=B, bptt=T, log_every=1, **endless), callbacks=[Turns()])


@dataclass
class Side:
    """The processes of one side; its seconds are those of the first."""

    size: int
    threads: int
    command: list[str]
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        common = {"WORLD_SIZE": self.size, "LOCAL_WORLD_SIZE": self.size, "MASTER_ADDR": "127.0.0.1"}
        common |= {"MASTER_PORT": port, "OMP_NUM_THREADS": self.threads, "UNROLLED_NUM_THREADS": self.threads}
        for rank in range(self.size):
            own = {name: str(value) for name, value in (common | {"RANK": rank, "LOCAL_RANK": rank}).items()}
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE if rank == 0 else None}
            self.processes.append(subprocess.Popen(self.command, text=True, env=os.environ | own, **pipes))

    def __call__(self) -> object:
        return self.seconds(1)

    def seconds(self, calls: int) -> float:
        """Take this many steps; return the seconds that they take."""
        first = self.processes[0]
        assert first.stdin is not None
        assert first.stdout is not None
        print(calls, file=first.stdin, flush=True)
        return float(first.stdout.readline())

    def close(self) -> None:
        """End the processes."""
        for process in self.processes:
            process.kill()
            process.wait()


def measure(cell: str, H: int, B: int, T: int, seconds: float) -> dict[str, Any]:
    """Measure both sides on one model."""
    command = [sys.executable, __file__, "--work", cell, str(H), str(B), str(T)]
    sides = {name: Side(*of, command) for name, of in SIDES.items()}
    try:
        times = interleave(sides, seconds, PAUSE)
    finally:
        for side in sides.values():
            side.close()
    one, two = SIDES
    config = ModelConfig(cell=cell, hidden_size=H, embedding_size=H)
    return {
        "name": f"{cell} H={H}",
        "tokens": {name: 1e3 * B * T / times.ms(name) for name in sides},
        "ratio": times.ratio(one, two),
        "quartiles": times.quartiles(one, two),
        "gradient_bytes": 4 * parameters(config, V),
        "goal": GOAL,
        "rounds": times.rounds,
    }


def line(row: dict[str, Any]) -> str:
    one, two = row["tokens"].values()
    return (
        f"{row['name']:12} {one:12,.0f} {two:12,.0f} tokens/s {row['ratio']:6.2f}x   goal {row['goal']:g}x"
        f"{'' if row['ratio'] >= row['goal'] else '   MISSED'}"
        f"   {row['gradient_bytes'] / 1e6:.2f} MB of gradient a step"
    )


def main() -> int:
    """Run all rows; returns the exit code."""
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], *map(int, sys.argv[3:]))
        return 0
    arguments = parser(__doc__, seconds=8).parse_args()
    report = Report("parallel", arguments)
    sizes, B, T = ((8,), 4, 4) if arguments.quick else ((128, 256, 512), 64, 64)
    seconds = 0.1 if arguments.quick else arguments.seconds
    print(f"{'':12} {'1 process':>12} {'2 processes':>12}")
    for cell in ("lstm", "gru"):
        for H in sizes:
            report.add(lambda cell=cell, H=H: measure(cell, H, B, T, seconds), line)  # type: ignore[misc]
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
