"""What smaller weights cost: bits per character of the test split, computed as the runtime computes them.

    python bench/small_weights.py            about two minutes; prints the table, writes JSON
    python bench/small_weights.py --quick    seconds; the numbers mean nothing

Each model learns the Sonnets as `unrolled train sonnets` does for a number of steps; then the same weights are kept in
float32, in bfloat16 and in int8.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import torch
from harness import Report, parser

from unrolled.commands.comparison import bits_of_symbols
from unrolled.config.checks import StoredWeights
from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.sonnets import sonnets
from unrolled.lm.model import SequenceModel
from unrolled.lm.training import train
from unrolled.nn.network import network_of
from unrolled.runtime import TextModel
from unrolled.saved.narrow import narrowed

TYPES: tuple[StoredWeights, ...] = ("float32", "bfloat16", "int8")


def bits(corpus: Corpus, cell: Any, H: int, steps: int) -> dict[str, Any]:
    """Train a model; return the bits per character with its weights of each type, and how much more they are."""
    torch.manual_seed(0)
    model = SequenceModel(ModelConfig(cell=cell, hidden_size=H), corpus.vocabulary, framed=False)
    train(model, corpus, TrainingConfig(max_steps=steps, max_epochs=0, seed=0, validate_every=steps))
    network = network_of(model)
    found = {}
    for stored in TYPES:
        of = TextModel(network if stored == "float32" else narrowed(network, stored))
        found[stored] = float(bits_of_symbols(of, corpus.test, corpus.stream).mean())
    more = {stored: found[stored] / found["float32"] - 1 for stored in TYPES[1:]}
    return {"data": "sonnets", "cell": cell, "H": H, "steps": steps, "bits": found, "more": more}


def line(row: dict[str, Any]) -> str:
    """A row as it is printed."""
    each = ", ".join(f"{stored} {found:.4f}" for stored, found in row["bits"].items())
    return f"{row['cell']:5} H={row['H']:<4} {each} bits/character; int8 {row['more']['int8']:+.3%}"


def main() -> int:
    """Run all rows; returns the exit code."""
    options = parser(__doc__, seconds=1)
    options.add_argument("--steps", type=int, default=400)
    asked = options.parse_args()
    report, corpus = Report("small_weights", asked), Corpus.from_text(sonnets())
    for cell in ("lstm", "gru"):
        for H in (16,) if asked.quick else (128, 256):
            report.add(partial(bits, corpus, cell, H, 3 if asked.quick else asked.steps), line)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
