"""Whole training steps and generation, beside a plain PyTorch script of the same sizes, interleaved in one process.

    python bench/train_throughput.py            about three minutes on two idle cores
    python bench/train_throughput.py --quick    seconds; the numbers mean nothing

A step is all of it: input, layer, head, loss, backward, clipping, AdamW, and for ours the metrics too.  Ours runs in
the package's own training loop; after each block of its steps the plain script does as many.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from harness import Report, parser
from torch.nn.functional import cross_entropy

from unrolled.config.generation import GenerationConfig
from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.corpus.corpus import Corpus
from unrolled.lm.callbacks import Callback
from unrolled.lm.model import SequenceModel
from unrolled.lm.training import train
from unrolled.runtime.generation import stream

CELLS = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}
V = 96
#: Aims for tokens/s, times the plain script.
GOALS = {"lstm": 2.0, "gru": 3.5, "rnn": 3.5, "textbook": 3.0, "generation lstm": 12.0, "generation gru": 9.0}


class PlainModel(torch.nn.Module):
    """The usual model: nn.Embedding, nn.LSTM (GRU, RNN), nn.Linear."""

    def __init__(self, cell: str, V: int, E: int, H: int):
        super().__init__()
        self.embedding = torch.nn.Embedding(V, E)
        self.rnn = CELLS[cell](E, H)
        self.head = torch.nn.Linear(H, V)

    def forward(self, ids: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        y, state = self.rnn(self.embedding(ids), state)
        return self.head(y), state


class PlainScript:
    """A plain model and its optimiser."""

    def __init__(self, cell: str, V: int, E: int, H: int):
        self.model = PlainModel(cell, V, E, H)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), fused=True)

    def step(self, ids: torch.Tensor, targets: torch.Tensor, state: Any = None) -> Any:
        """Take one training step; return the state after it, without its graph."""
        self.optimiser.zero_grad()
        logits, state = self.model(ids, state)
        loss = cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        loss.item()
        return tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()


def plain_stream_steps(cell: str, H: int, ids: torch.Tensor, T: int, B: int) -> Callable[[int], None]:
    """Return a function that does n training steps on a stream cut into B lanes, the state carried."""
    script = PlainScript(cell, V, H, H)
    lanes = ids[: len(ids) // B * B].view(B, -1).t().contiguous()
    position, state = 0, None

    def steps(n: int) -> None:
        nonlocal position, state
        for _ in range(n):
            if position + T + 1 > len(lanes):
                position, state = 0, None
            state = script.step(lanes[position : position + T], lanes[position + 1 : position + T + 1], state)
            position += T

    return steps


def plain_textbook_steps(cell: str, H: int, corpus: Corpus) -> Callable[[int], None]:
    """Return a function that does n steps on the five strings a^n b^n EOS, padded."""
    strings = [torch.from_numpy(ids.astype(np.int64)) for ids in corpus.train]
    inputs = torch.nn.utils.rnn.pad_sequence([s[:-1] for s in strings])
    targets = torch.nn.utils.rnn.pad_sequence([s[1:] for s in strings], padding_value=-100)
    script = PlainScript(cell, 4, 4, H)

    def steps(n: int) -> None:
        for _ in range(n):
            script.step(inputs, targets)

    return steps


class Interleaved(Callback):
    """Times blocks of our steps, and after each block as many of the plain script's."""

    def __init__(self, plain: Callable[[int], None], block: int):
        self.plain, self.block = plain, block
        self.ours: list[float] = []
        self.theirs: list[float] = []

    def on_train_begin(self, run: Any) -> None:
        self.since = time.perf_counter()

    def on_log(self, run: Any, line: dict[str, Any]) -> None:
        between = time.perf_counter()
        self.plain(self.block)
        after = time.perf_counter()
        self.ours.append((between - self.since) / self.block)
        self.theirs.append((after - between) / self.block)
        self.since = time.perf_counter()

    def medians(self) -> tuple[float, float]:
        """Return seconds a step of ours and of theirs; the first block, which warms up, is left out."""
        return statistics.median(self.ours[1:]), statistics.median(self.theirs[1:])


def measure_stream(name: str, cell: str, H: int, blocks: int, block: int, T: int, B: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    text = "".join(map(chr, 32 + rng.integers(0, V - 2, B * T * 40 + 1)))
    corpus = Corpus.from_text(text, validation=0, test=0)
    assert len(corpus.vocabulary) == V
    torch.manual_seed(0)
    ids = torch.from_numpy(corpus.train.ids.astype(np.int64))
    timer = Interleaved(plain_stream_steps(cell, H, ids, T, B), block)
    model = SequenceModel(ModelConfig(cell=cell, hidden_size=H, embedding_size=H), corpus.vocabulary, framed=False)
    steps = (blocks + 1) * block
    train(model, corpus, config(steps, block, B, T), callbacks=[timer])
    return row(name, *timer.medians(), unit="tokens/s", per_step=T * B, goal=GOALS[cell])


def measure_textbook(name: str, cell: str, H: int, blocks: int, block: int) -> dict[str, Any]:
    corpus = Corpus.from_sequences([["a"] * n + ["b"] * n for n in range(1, 6)], validation=0, test=0)
    torch.manual_seed(0)
    timer = Interleaved(plain_textbook_steps(cell, H, corpus), block)
    model = SequenceModel(ModelConfig(cell=cell, hidden_size=H), corpus.vocabulary)
    train(model, corpus, config((blocks + 1) * block, block, 5, 1), callbacks=[timer])
    return row(name, *timer.medians(), unit="steps/s", per_step=1, goal=GOALS["textbook"])


def config(steps: int, block: int, B: int, T: int) -> TrainingConfig:
    return TrainingConfig(
        max_steps=steps, max_epochs=0, batch_size=B, bptt=T, log_every=block, validate_every=steps + 1
    )


def measure_generation(name: str, cell: str, H: int, blocks: int, symbols: int) -> dict[str, Any]:
    """Time sampling at B = 1: ours, and a loop over the torch layer with T = 1."""
    corpus = Corpus.from_text("".join(map(chr, range(32, 32 + V - 2))) * 10, validation=0, test=0)
    torch.manual_seed(0)
    model = SequenceModel(
        ModelConfig(cell=cell, hidden_size=H, embedding_size=H), corpus.vocabulary, framed=False
    ).eval()
    light = model.runtime()
    plain = PlainModel(cell, V, H, H).eval()
    prompt = [np.array([0])]
    ours, theirs = [], []
    for k in range(blocks + 1):
        started = time.perf_counter()
        written = sum(1 for _ in stream(light, prompt, GenerationConfig(max_length=symbols, seed=k)))
        between = time.perf_counter()
        with torch.no_grad():
            symbol, state = torch.zeros(1, 1, dtype=torch.int64), None
            for _ in range(symbols):
                logits, state = plain(symbol, state)
                symbol = torch.multinomial(logits[0].softmax(-1), 1)
        ours.append((between - started) / written)
        theirs.append((time.perf_counter() - between) / symbols)
    pair = statistics.median(ours[1:]), statistics.median(theirs[1:])
    return row(name, *pair, unit="symbols/s", per_step=1, goal=GOALS[f"generation {cell}"])


def row(name: str, ours: float, theirs: float, *, unit: str, per_step: int, goal: float) -> dict[str, Any]:
    return {
        "name": name, "unit": unit, "unrolled": per_step / ours, "torch": per_step / theirs, "ratio": theirs / ours,
        "goal": goal,
    }  # fmt: skip


def line(row: dict[str, Any]) -> str:
    return (
        f"{row['name']:24} {row['unrolled']:12,.0f} {row['torch']:12,.0f} {row['unit']:10} {row['ratio']:6.2f}x"
        f"   goal {row['goal']:g}x{'' if row['ratio'] >= row['goal'] else '   MISSED'}"
    )


def main() -> int:
    """Run all rows; returns the exit code."""
    options = parser(__doc__, seconds=0)
    options.add_argument("--only", default="", help="measure only rows whose name holds this")
    arguments = options.parse_args()
    quick = arguments.quick
    blocks = 2 if quick else 20
    sizes = (8,) if quick else (128, 256, 512)
    T, B = (4, 4) if quick else (64, 64)
    few, block = (5, 2) if quick else (50, 2)
    plan = {f"textbook {cell} H={H}": (measure_textbook, cell, H, blocks, few) for cell in CELLS for H in (10, 50)}
    for cell in ("lstm", "gru"):
        for H in (8,) if quick else (64, 256):
            plan[f"generation {cell} H={H}"] = (measure_generation, cell, H, blocks, 20 if quick else 200)
    plan |= {f"{cell} H={H}": (measure_stream, cell, H, blocks, block, T, B) for cell in CELLS for H in sizes}
    report = Report("train_throughput", arguments)
    print(f"{'':24} {'unrolled':>12} {'torch':>12}")
    for name, (measure, *rest) in plan.items():
        if arguments.only in name:
            report.add(partial(measure, name, *rest), line)
    return report.finish() if not arguments.only else 0


if __name__ == "__main__":
    raise SystemExit(main())
