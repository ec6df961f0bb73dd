"""`unrolled train`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from unrolled.commands import WrongUse
from unrolled.commands import inputs as inputs
from unrolled.config.data import DataConfig
from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.corpus.corpus import Corpus
from unrolled.saved.files import new_folder
from unrolled.saved.model import load_model


def train(
    data: Sequence[str] | None,
    out: Path,
    resume: bool,
    model_config: ModelConfig,
    data_config: DataConfig,
    training: TrainingConfig,
) -> None:
    """Train a model, show it while it learns, and say what came of it."""
    sources = data or (load_model(out)[0].get("sources") if resume else None)
    if not sources:
        raise WrongUse("no data to learn from; name files, or the word sonnets for the text that comes along")
    made = not out.exists()
    if not resume:
        new_folder(out)  # before anything is spent on the run
    try:
        corpus = inputs.read(sources, data_config)
        origin = inputs.origin(sources, data_config, corpus)
        _train(corpus, out, resume, model_config, training, origin)
    except BaseException:
        if made and out.is_dir() and not any(out.iterdir()):
            out.rmdir()
        raise


def _train(
    corpus: Corpus,
    out: Path,
    resume: bool,
    model_config: ModelConfig,
    training: TrainingConfig,
    origin: dict[str, Any],
) -> None:
    import torch  # here, so that a mistake in the data is told before two seconds of import

    from unrolled import lm
    from unrolled.commands.evaluate import held_out, report
    from unrolled.lm.callbacks import TensorBoard
    from unrolled.lm.display import Display

    console = Console()
    torch.manual_seed(training.seed)
    model = lm.SequenceModel(model_config, corpus.vocabulary, framed=not corpus.stream)
    callbacks = [Display(console), *([TensorBoard()] if training.tensorboard else [])]
    result = lm.train(model, corpus, training, out, resume=resume, callbacks=callbacks, origin=origin)
    if result.ended == "signal":
        console.print(f"go on with: unrolled train --resume --out {out}", highlight=False, soft_wrap=True)
        return
    report(console, model, corpus, held_out(corpus))
    console.print(f"wrote {out}; try: unrolled generate {out}", highlight=False, soft_wrap=True)
