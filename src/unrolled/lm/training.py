"""The training loop, from top to bottom: truncated back-propagation through time with everything needed to go on.

What a step does depends only on the run's configuration and on what a checkpoint holds, so a run that was interrupted
and resumed ends with the same bytes as one that was not.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from unrolled.config.training import TrainingConfig
from unrolled.lm import gradients
from unrolled.lm.callbacks import Observer
from unrolled.lm.run import Result, Run, TrainingDiverged
from unrolled.lm.signals import stop_requested

if TYPE_CHECKING:
    from unrolled.corpus.corpus import Corpus
    from unrolled.lm.model import SequenceModel, State


def train(
    model: SequenceModel,
    corpus: Corpus,
    config: TrainingConfig,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    observer: Observer | None = None,
    origin: dict[str, Any] | None = None,
) -> Result:
    """Train a model until a limit of the configuration is reached or a signal asks to stop.

    Afterwards the model holds the weights that were best on the validation data, or the last ones if there is none.

    Args:
        model: is changed in place; its parameters become views of one buffer.
        corpus: encoded with the model's vocabulary.
        config: everything that decides how the weights are found.
        out: folder for metrics, checkpoints and the trained model; None writes nothing.
        resume: go on from the checkpoint in `out`.
        observer: is told of the start, of each line of metrics, of validations and of the end.
        origin: keys for config.json, such as where the data came from.

    Returns: what the run came to.
    Raises: TrainingDiverged naming step, batch and gradient norm when the loss or gradient is not finite; the last
        good checkpoint stays.  ValueError if corpus and model do not belong together.
    """
    observer = observer or Observer()
    with torch.random.fork_rng(devices=[]), stop_requested() as stop:
        torch.manual_seed(config.seed)
        run = Run(model, corpus, config, out, resume=resume, origin=origin)
        observer.started(run)
        state: State | None = run.carried
        started, before = time.monotonic(), run.clock.seconds
        model.train()
        add_gradients = gradients.gradient_function(model)
        while (ended := run.ended(stop.is_set())) is None:
            N, nats = 0, 0.0
            for _ in range(config.accumulate):
                batch = run.feed.next()
                sum_of_nats, after = add_gradients(model, batch, None if batch.fresh else state)
                state = after if corpus.stream else None
                nats, N = nats + sum_of_nats, N + batch.N
            norm = run.optimiser.gradient_norm(N)
            if not math.isfinite(nats) or not math.isfinite(norm):
                raise TrainingDiverged(run.divergence(nats / N, norm))
            rate = run.schedule.rate(run.clock.step)
            run.optimiser.step(N, norm, rate)
            run.count(nats, N, norm)
            run.clock.seconds = before + time.monotonic() - started
            step = run.clock.step
            if step % config.log_every == 0:
                observer.stepped(run, run.log(rate))
            if step % config.validate_every == 0:
                observer.validated(run, run.validate())
            if step % config.checkpoint_every == 0:
                run.carried = state
                run.save()
        run.carried = state
        result = run.finish(ended)
        observer.ended(run, result)
        return result
