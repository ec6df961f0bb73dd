"""`unrolled evaluate`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from unrolled.commands import WrongUse
from unrolled.commands import inputs as inputs
from unrolled.config.data import DataConfig
from unrolled.corpus.baselines import Baseline, table
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.splitting import as_stream
from unrolled.saved.model import load_model

if TYPE_CHECKING:
    from unrolled.lm.evaluation import Evaluation
    from unrolled.lm.model import SequenceModel


def evaluate(folder: Path, data: Sequence[str] | None, split: str | None, baselines: bool) -> None:
    """Load a model, read the data, measure, print."""
    if data and split:
        raise WrongUse("--split chooses a part of the data a model was trained on; other data is measured whole")
    saved, vocabulary, _ = load_model(folder)
    if data:
        own = DataConfig(**(saved.get("data") or {}))
        whole = replace(own, format="auto", lines=saved["framed"], split_by="auto", validation=0.0, test=0.0)
        corpus = inputs.read(data, whole, vocabulary)
        known = inputs.read_again(folder, saved, vocabulary).train if baselines else as_stream(corpus.train.ids[:0])
        corpus, split, what = replace(corpus, train=known, test=corpus.train), "test", ", ".join(data)
    else:
        corpus = inputs.read_again(folder, saved, vocabulary)
        split, what = split or held_out(corpus), ""

    from unrolled.lm.model import SequenceModel  # here, so that a mistake in the files is told before torch is loaded

    console = Console()
    if not data:
        console.print(f"{corpus!r}", highlight=False, markup=False, soft_wrap=True)
    report(console, SequenceModel.from_pretrained(folder), corpus, split, baselines, what)


def held_out(corpus: Corpus) -> str:
    """Return the split that says most of a model: test if there is one, else validation, else train."""
    return next(name for name in ("test", "validation", "train") if len(corpus.splits[name]))


def report(
    console: Console, model: SequenceModel, corpus: Corpus, split: str, baselines: bool = True, what: str = ""
) -> None:
    """Print what a model reaches on one split, and beside it what simple predictors reach on the same symbols.

    Args:
        console: where to.
        model: is measured.
        corpus: holds the split, and the training data that n-grams count and compressors read first.
        split: name of the split.
        baselines: whether to measure those.
        what: what the symbols are, for the title; default is the name of the split.
    """
    from unrolled.lm.evaluation import evaluate as measure  # here, because it imports torch

    measured = measure(model, corpus, split)
    title = f"{measured.symbols:,} symbols of {what or f'the {split} split'}"
    console.print(title, style="italic", highlight=False, markup=False, soft_wrap=True)
    grid = Table()
    for name in ("predictor", "bits/symbol", "nats", "perplexity", "accuracy"):
        grid.add_column(name, justify="left" if name == "predictor" else "right")
    grid.add_row(*_row(repr(model).removeprefix("SequenceModel").strip("()"), measured), style="bold")
    beside = table(corpus, split) if baselines else []
    for baseline in beside:
        grid.add_row(*_baseline_row(baseline))
    console.print(grid)
    for note in dict.fromkeys(baseline.note for baseline in beside[1:]):
        names = ", ".join(baseline.name for baseline in beside if baseline.note == note)
        console.print(f"{names}: {note}", highlight=False, style="dim", soft_wrap=True)
    if measured.exact_strings is not None:
        console.print(f"exact strings (every symbol the likeliest): {measured.exact_strings:.1%}", highlight=False)
    if measured.unk_rate:
        console.print(f"symbols read as UNK: {measured.unk_rate:.2%}", highlight=False)
    if split == "train":
        console.print("nothing was held out: the model was trained on these symbols", highlight=False)


def _row(name: str, measured: Evaluation) -> tuple[str, ...]:
    numbers = (f"{measured.bits:.3f}", f"{measured.nats:.4f}", f"{measured.perplexity:.2f}", f"{measured.accuracy:.1%}")
    return name, *numbers


def _baseline_row(baseline: Baseline) -> tuple[str, ...]:
    bits = baseline.bits_per_symbol
    return baseline.name, f"{bits:.3f}", f"{bits * math.log(2):.4f}", f"{2**bits:.2f}"
