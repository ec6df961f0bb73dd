"""`unrolled evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from unrolled.commands import data as inputs
from unrolled.lm import checkpoint
from unrolled.lm.baselines import table
from unrolled.lm.config import DataConfig
from unrolled.lm.corpus import Corpus

if TYPE_CHECKING:
    from unrolled.lm.evaluation import Evaluation
    from unrolled.lm.model import SequenceModel


def evaluate(folder: Path, data: Sequence[str] | None, split: str, baselines: bool) -> None:
    """Load a model, read the data, measure, print."""
    saved, vocabulary, _ = checkpoint.load_model(folder)
    if data is None:
        corpus = inputs.read_again(saved, vocabulary)
    else:
        whole = replace(DataConfig(**(saved.get("data") or {})), validation=0.0, test=0.0)
        corpus = inputs.read(data, whole, vocabulary)
        known = inputs.read_again(saved, vocabulary).train if baselines else corpus.test
        corpus, split = replace(corpus, train=known, test=corpus.train), "test"

    from unrolled.lm.model import SequenceModel  # here, so that a mistake in the files is told before torch is loaded

    report(Console(), SequenceModel.from_pretrained(folder), corpus, split, baselines)


def report(console: Console, model: SequenceModel, corpus: Corpus, split: str, baselines: bool) -> None:
    """Print what a model reaches on one split, and beside it what simple predictors reach on the same split."""
    measured = model.evaluate(corpus, split)
    grid = Table(title=f"{measured.symbols:,} symbols of {split}", title_justify="left")
    for name in ("predictor", "bits/symbol", "nats", "perplexity", "accuracy"):
        grid.add_column(name, justify="left" if name == "predictor" else "right")
    grid.add_row(*_row(repr(model).removeprefix("SequenceModel").strip("()"), measured), style="bold")
    if baselines:
        for baseline in table(corpus, split):
            grid.add_row(baseline.name, f"{baseline.bits_per_symbol:.3f}")
    console.print(grid)
    if measured.exact_strings is not None:
        console.print(f"exact strings (every symbol the likeliest): {measured.exact_strings:.1%}", highlight=False)
    if measured.unk_rate:
        console.print(f"symbols read as UNK: {measured.unk_rate:.2%}", highlight=False)


def _row(name: str, measured: Evaluation) -> tuple[str, ...]:
    numbers = (f"{measured.bits:.3f}", f"{measured.nats:.4f}", f"{measured.perplexity:.2f}", f"{measured.accuracy:.1%}")
    return name, *numbers
