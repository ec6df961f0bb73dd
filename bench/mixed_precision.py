"""Training in float32 and in bfloat16: bits per character after the same steps, and steps a second.

    python bench/mixed_precision.py            about three minutes; prints the table, writes JSON
    python bench/mixed_precision.py --quick    seconds, without the works; the numbers mean nothing

Each model learns the Sonnets, or 42 works of Shakespeare (5 MB, bench/fetch_corpus.py), as
`unrolled train DATA --hidden-size 256` does: in both types from the same weights on the same batches.  It is measured
with its float32 weights on the test split.  Then the types take turns, step by step: input, layer, head, loss,
backward, clipping, AdamW.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from fetch_corpus import CORPORA, fetch
from harness import Report, interleave, parser

from unrolled.config.checks import Precision
from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.sonnets import sonnets
from unrolled.lm.evaluation import evaluate
from unrolled.lm.gradients import gradient_function
from unrolled.lm.model import SequenceModel
from unrolled.lm.run import Run
from unrolled.lm.training import train

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
#: What is learnt, by name.
DATA: dict[str, Callable[[], Corpus]] = {
    "sonnets": lambda: Corpus.from_text(sonnets()),
    "works": lambda: Corpus.read(fetch("works"), **CORPORA["works"].options),
}


def fresh(corpus: Corpus, cell: Any, H: int, seed: int) -> SequenceModel:
    """Return an untrained model."""
    torch.manual_seed(seed)
    return SequenceModel(ModelConfig(cell=cell, hidden_size=H), corpus.vocabulary, framed=False)


def bits(corpus: Corpus, cell: str, H: int, precision: Precision, steps: int, seed: int) -> float:
    """Return the bits per character of a model after this number of steps."""
    model = fresh(corpus, cell, H, seed)
    config = TrainingConfig(precision=precision, max_steps=steps, max_epochs=0, seed=seed, validate_every=steps)
    train(model, corpus, config)
    return evaluate(model, corpus, "test").bits


def stepping(corpus: Corpus, cell: str, H: int, precision: Precision) -> Callable[[], None]:
    """Return a function that takes one step of training."""
    run = Run(fresh(corpus, cell, H, 0), corpus, TrainingConfig(precision=precision))
    add_gradients = gradient_function(run.model, precision)

    def step() -> None:
        batch = run.loader.next()
        _, run.carried = add_gradients(run.model, batch, None if batch.reset else run.carried)
        run.optimiser.step(batch.N, run.optimiser.gradient_norm(batch.N), run.config.learning_rate)

    return step


def compared(data: str, corpus: Corpus, cell: str, H: int, steps: int, seeds: int, seconds: float) -> dict[str, Any]:
    """Return a row of the table: bits of each seed and how far their mean is from that in float32, ms of a step."""
    row: dict[str, Any] = {"data": data, "cell": cell, "H": H, "steps": steps}
    for precision in PRECISIONS:
        row[f"{precision}_bits"] = [bits(corpus, cell, H, precision, steps, seed) for seed in range(seeds)]
    wide, narrow = (statistics.fmean(row[f"{precision}_bits"]) for precision in PRECISIONS)
    row["difference"] = narrow / wide - 1
    times = interleave({precision: stepping(corpus, cell, H, precision) for precision in PRECISIONS}, seconds)
    row |= {f"{precision}_ms": times.ms(precision) for precision in PRECISIONS}
    return row | {"x": times.ratio(*PRECISIONS), "quartiles": times.quartiles(*PRECISIONS), "rounds": times.rounds}


def line(row: dict[str, Any]) -> str:
    """A row as it is printed."""
    wide, narrow = (statistics.fmean(row[f"{precision}_bits"]) for precision in PRECISIONS)
    each = [f"{1e3 / row[f'{precision}_ms']:.1f}" for precision in PRECISIONS]
    return (
        f"{row['data']:8} {row['cell']:5} H={row['H']:<4} "
        f"{wide:.3f} {narrow:.3f} bits/character ({row['difference']:+.2%})   "
        f"{' '.join(each)} steps/s ({row['x']:.2f}x, quartiles {' to '.join(f'{q:.2f}' for q in row['quartiles'])})"
    )


def main() -> int:
    """Run all rows; returns the exit code."""
    options = parser(__doc__, seconds=5)
    options.add_argument("--steps", type=int, default=400)
    options.add_argument("--seeds", type=int, default=2)
    arguments = options.parse_args()
    sizes = (16, 3, 1, 0.1) if arguments.quick else (256, arguments.steps, arguments.seeds, arguments.seconds)
    report = Report("mixed_precision", arguments)
    for data in ("sonnets",) if arguments.quick else DATA:
        corpus = DATA[data]()
        for cell in ("gru", "lstm"):
            report.add(partial(compared, data, corpus, cell, *sizes), line)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
