"""What moves the bits: one option changed at a time, the symbols read kept the same.

    python bench/study.py [--studies plays-5,names] [--jobs 2] [--seeds 0,1]

Each row trains a model on one thread until it has read a given number of symbols, with the options of the first row but
for those that it names, and measures the best weights by validation on the test split.  --jobs rows run at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple

import torch
from fetch_corpus import CORPORA, fetch
from harness import Report, parser

from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.sonnets import sonnets
from unrolled.lm.calibration import likely_precision
from unrolled.lm.evaluation import evaluate
from unrolled.lm.model import SequenceModel
from unrolled.lm.recipe import Facts
from unrolled.lm.training import train

Options = dict[str, Any]


class Study(NamedTuple):
    """Runs on one corpus: the million symbols that each reads, the options of all, and the changes of each."""

    corpus: str
    symbols: float
    base: Options
    changes: list[Options]


STUDIES = {
    "plays": Study(
        "plays",
        6,
        {"hidden_size": 256, "embedding_size": 64, "dropout": 0.2, "batch_size": 8, "learning_rate": 6e-3,
         "weight_decay": 0.07},
        [
            {"batch_size": 16, "learning_rate": 8e-3},
            {"batch_size": 32, "learning_rate": 1.2e-2},
            {"bptt": 128},
            {"learning_rate": 3e-3}, {"learning_rate": 1.2e-2},
            {"cell": "gru", "learning_rate": 3e-3},
            {"num_layers": 2},
            {"hidden_size": 384, "learning_rate": 4.9e-3},
            {"embedding_size": 0},
            {"dropout": 0.0}, {"weight_dropout": 0.2}, {"weight_decay": 0.0}, {"schedule": "constant"},
        ],
    ),
    "sonnets": Study(
        "sonnets",
        3.9,
        {"hidden_size": 192, "embedding_size": 64, "dropout": 0.4, "weight_dropout": 0.35, "batch_size": 8,
         "learning_rate": 6e-3, "weight_decay": 0.13},
        [
            {"weight_dropout": 0.0}, {"weight_dropout": 0.2}, {"weight_dropout": 0.5},
            {"dropout": 0.2}, {"dropout": 0.6}, {"weight_decay": 0.0}, {"weight_decay": 0.5},
            {"hidden_size": 256}, {"hidden_size": 128}, {"embedding_size": 16}, {"cell": "gru", "learning_rate": 3e-3},
            {"batch_size": 16, "learning_rate": 1.2e-2}, {"num_layers": 2},
        ],
    ),
    "names": Study(
        "names",
        1.5,
        {"hidden_size": 128, "embedding_size": 32, "dropout": 0.4, "weight_dropout": 0.4, "batch_size": 32,
         "learning_rate": 1.2e-2, "weight_decay": 0.07},
        [
            {"weight_dropout": 0.0}, {"weight_dropout": 0.5}, {"learning_rate": 6e-3}, {"learning_rate": 1.6e-2},
            {"hidden_size": 256}, {"dropout": 0.2}, {"batch_size": 16, "learning_rate": 8e-3}, {"embedding_size": 16},
            {"cell": "gru", "learning_rate": 6e-3},
        ],
    ),
    "plays-1": Study(
        "plays",
        8.8,
        {"hidden_size": 256, "embedding_size": 64, "batch_size": 8, "learning_rate": 0.02, "weight_decay": 0.08},
        [
            {"learning_rate": 9e-3}, {"learning_rate": 1.4e-2}, {"learning_rate": 2.8e-2},
            {"weight_decay": 0.011}, {"weight_decay": 0.04}, {"weight_decay": 0.16},
            {"dropout": 0.1}, {"dropout": 0.3}, {"weight_dropout": 0.1},
            {"learning_rate": 9e-3, "weight_decay": 0.011, "dropout": 0.3},
            {"cell": "gru", "learning_rate": 8e-3}, {"cell": "gru", "learning_rate": 1.6e-2}, {"num_layers": 2},
        ],
    ),
    "plays-5": Study(
        "plays",
        14.2,
        {"hidden_size": 512, "embedding_size": 64, "dropout": 0.05, "weight_dropout": 0.1, "batch_size": 8,
         "learning_rate": 1.33e-2, "weight_decay": 0.08},
        [
            {"learning_rate": 6.4e-3, "weight_decay": 0.022, "dropout": 0.3, "weight_dropout": 0.0},
            {"learning_rate": 4.5e-3, "weight_decay": 0.04, "dropout": 0.3, "weight_dropout": 0.2},
            {"learning_rate": 6.4e-3}, {"learning_rate": 9e-3}, {"learning_rate": 2e-2},
            {"weight_decay": 0.02}, {"weight_decay": 0.04}, {"weight_decay": 0.16},
            {"dropout": 0.3}, {"weight_dropout": 0.0}, {"weight_dropout": 0.3},
            {"batch_size": 16, "learning_rate": 1.9e-2, "weight_decay": 0.16},
        ],
    ),
    "plays-15": Study(
        "plays",
        42.6,
        {"hidden_size": 512, "embedding_size": 64, "dropout": 0.15, "weight_dropout": 0.2, "batch_size": 8,
         "learning_rate": 7.7e-3, "weight_decay": 0.08},
        [{"learning_rate": 1.1e-2}, {"weight_decay": 0.04}, {"dropout": 0.3}, {"weight_dropout": 0.0}],
    ),
}  # fmt: skip


def corpus_of(name: str) -> Corpus:
    """A corpus by its name."""
    return Corpus.from_text(sonnets()) if name == "sonnets" else Corpus.read(fetch(name), **CORPORA[name].options)


def row(name: str, change: Options, seed: int) -> dict[str, Any]:
    """Train one model on one thread; return what it reached."""
    torch.set_num_threads(1)
    study = STUDIES[name]
    corpus = corpus_of(study.corpus)
    options = {"schedule": "cosine", "warmup_steps": 100, "precision": likely_precision()} | study.base | change
    model = ModelConfig(**{key: value for key, value in options.items() if hasattr(ModelConfig, key)})
    chosen = {key: value for key, value in options.items() if hasattr(TrainingConfig, key)}
    facts, training = Facts.of(corpus), TrainingConfig(**chosen)
    batch = training.batch_size * (training.bptt if corpus.stream else facts.length)
    steps = round(1e6 * study.symbols / batch)
    limits = {"max_steps": steps, "max_epochs": 0, "validate_every": max(1, steps // 8), "seed": seed}
    torch.manual_seed(seed)
    network = SequenceModel(model, corpus.vocabulary, framed=not corpus.stream)
    result = train(network, corpus, TrainingConfig(**chosen | limits))
    held = [evaluate(network, corpus, split) for split in ("validation", "test")]
    nats = sum(part.nats * part.symbols for part in held) / sum(part.symbols for part in held)
    return {
        "study": name, "change": change, "seed": seed, "validation_bits": held[0].bits, "test_bits": held[1].bits,
        "held_out_nats": nats, "training_nats": result.nats, "seconds": result.seconds,
    }  # fmt: skip


def line(row: dict[str, Any]) -> str:
    """A row as it is printed."""
    change = ", ".join(f"{name} {value}" for name, value in row["change"].items()) or "(base)"
    bits = f"validation {row['validation_bits']:.3f}  test {row['test_bits']:.3f} bits"
    held = f"held out {row['held_out_nats']:.3f} nats"
    return f"{row['study']:8} {change:44} seed {row['seed']}  {bits}  {held}  {row['seconds']:.0f} s"


def rows(names: list[str], seeds: list[int]) -> Iterator[tuple[str, Options, int]]:
    """Every run."""
    for name in names:
        for change in [{}, *STUDIES[name].changes]:
            yield from ((name, change, seed) for seed in seeds)


def main() -> int:
    """Run the studies; returns the exit code."""
    options = parser(__doc__, seconds=0)
    options.add_argument("--studies", default=",".join(STUDIES), help="names with commas between")
    options.add_argument("--jobs", type=int, default=2, help="runs at once, each on one thread")
    options.add_argument("--seeds", default="0", help="with commas between")
    arguments = options.parse_args()
    names, seeds = arguments.studies.split(","), [int(seed) for seed in arguments.seeds.split(",")]
    for name in names:
        corpus_of(STUDIES[name].corpus)  # fetched once
    report = Report("study", arguments)
    with ProcessPoolExecutor(arguments.jobs, get_context("spawn")) as pool:
        for found in [pool.submit(row, *run) for run in rows(names, seeds)]:
            report.add(found.result, line)
    return report.finish(studies={name: STUDIES[name]._replace(changes=[])._asdict() for name in names})


if __name__ == "__main__":
    raise SystemExit(main())
