"""`unrolled train`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from unrolled.commands import data as inputs
from unrolled.lm import checkpoint
from unrolled.lm.config import DataConfig, ModelConfig, TrainingConfig
from unrolled.lm.corpus import Corpus


def train(
    data: Sequence[str] | None,
    out: Path,
    resume: bool,
    model_config: ModelConfig,
    data_config: DataConfig,
    training: TrainingConfig,
) -> None:
    """Train a model, show it while it learns, and say what came of it."""
    sources = data or (checkpoint.load_model(out)[0].get("sources") if resume else None)
    if not sources:
        raise ValueError("no data to learn from; name files, or the word sonnets for the text that comes along")
    if not resume:
        checkpoint.new_folder(out)  # before anything is spent on the run
    corpus = inputs.read(sources, data_config)
    origin = {"data": asdict(data_config), "sources": list(sources)}
    _train(corpus, out, resume, model_config, training, origin)


def _train(
    corpus: Corpus,
    out: Path,
    resume: bool,
    model_config: ModelConfig,
    training: TrainingConfig,
    origin: dict[str, Any],
) -> None:
    import torch  # here, so that a mistake in the data is told before two seconds of import

    from unrolled.commands.evaluate import report
    from unrolled.lm.display import Display
    from unrolled.lm.model import SequenceModel
    from unrolled.lm.observer import Observer, Observers, TensorBoard

    console = Console()
    torch.manual_seed(training.seed)
    model = SequenceModel(model_config, corpus.vocabulary, framed=not corpus.stream)
    display = Display(console)
    observers: list[Observer] = [display]
    if training.tensorboard:
        observers.append(TensorBoard(str(out)))
    try:
        result = model.fit(corpus, training, out, resume=resume, observer=Observers(observers), origin=origin)
    finally:
        display.close()
    if result.ended == "signal":
        console.print(f"go on with: unrolled train --resume --out {out}", highlight=False, soft_wrap=True)
        return
    split = next(name for name in ("test", "validation", "train") if len(corpus.splits[name]))
    report(console, model, corpus, split, baselines=True)
    console.print(f"wrote {out}; try: unrolled generate {out}", highlight=False, soft_wrap=True)
