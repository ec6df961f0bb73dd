"""The training loop: truncated backpropagation through time.

What a step does depends only on the configuration and on what a checkpoint holds, so a run that was interrupted and
resumed ends with the same bytes as an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from unrolled.config.training import TrainingConfig
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.sharing import Alone
from unrolled.lm import gradients, run_state
from unrolled.lm.callbacks import Callback, TensorBoard
from unrolled.lm.model import SequenceModel
from unrolled.lm.parallel.joining import join
from unrolled.lm.run import Result, Run
from unrolled.lm.signals import stop_requested
from unrolled.saved.lock import only_writer


def train(
    model: SequenceModel,
    corpus: Corpus,
    config: TrainingConfig | None = None,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    origin: dict[str, Any] | None = None,
    ranks: Alone | None = None,
) -> Result:
    """Train a model until a limit of the configuration is reached or a signal asks to stop.

    Afterwards the model holds the weights with the lowest validation loss, or the last ones without validation data.
    Under torchrun all processes train one model together (docs/scale.md).

    Args:
        model: changed in place; its parameters become views of one buffer.
        corpus: encoded with the model's vocabulary.
        config: everything that decides how the weights are found; default is ``TrainingConfig()``.
        out: folder for metrics, checkpoints and the trained model, saved every checkpoint_every steps and at each best
            validation; None writes nothing.
        resume: resume the run in `out` from its last checkpoint.
        callbacks: called at the start, at each line of metrics, after validations and at the end, in this order; in the
            first process only.
        origin: keys for config.json, such as where the data came from.
        ranks: the processes that share the run, all of which call this; by default those that torchrun has started.

    Returns: the outcome of the run.
    Raises: TrainingDiverged naming step, batch and what is not finite: the loss, the gradient's norm, the validation
        loss or a weight; the last good checkpoint stays.  ResumeError if the run began with other data or options.
        ValueError if the corpus is not encoded with the model's vocabulary, or is a stream and the model made for
        sequences, or the reverse, or if precision is bfloat16 and the weights are not float32.  CheckpointError if
        another process writes to `out`.  RankLost if a process that shares the run is missing or dies; RanksDiffer if
        it has other data or options.

    >>> from unrolled.lm import Corpus, ModelConfig, SequenceModel
    >>> corpus = Corpus.from_text("abcabcabc" * 20)
    >>> model = SequenceModel(ModelConfig(hidden_size=5), corpus.vocabulary)
    >>> train(model, corpus, TrainingConfig(max_steps=3)).ended
    'max_steps'
    """
    config, ranks = config or TrainingConfig(), ranks or join()
    callbacks = callbacks if ranks.first else ()
    if ranks.first and config.tensorboard and out is not None:
        callbacks = [*callbacks, TensorBoard()]
    with torch.inference_mode(False), torch.enable_grad(), ExitStack() as stack:  # whatever the caller's modes are
        stack.enter_context(ranks.reporting())
        for callback in callbacks:
            stack.callback(callback.close)
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stop = stack.enter_context(stop_requested())
        torch.manual_seed(config.seed)
        run = Run(model, corpus, config, out, origin, ranks)
        stack.callback(run.optimiser.flat.release)
        ranks.compare(lambda: _given(run, resume))
        if run.writes:
            assert run.folder is not None
            stack.enter_context(only_writer(run.folder, create=not resume))
        (run_state.resume if resume else run_state.begin)(run)
        for callback in callbacks:
            callback.on_train_begin(run)
        run.start()
        model.train()
        exchange = ranks.exchange(run.optimiser.flat, gradients.walked_back(model))
        function = gradients.gradient_function(model, config.precision, run.sampled, ready=exchange.ready)
        add_gradients = exchange.around(function)
        stopped = ranks.agree(stop.is_set(), run)
        while (ended := run.ended(stopped)) is None:
            place = run.place()
            batches, N, nats = 0, 0, 0.0
            while run.takes_another(batches, stop.is_set()):
                batch, exchange.last = run.loader.next(), batches + 1 == config.accumulate
                sum_of_nats, after = add_gradients(model, batch, None if batch.reset else run.carried)
                run.carried = after if corpus.stream else None
                batches, nats, N = batches + 1, nats + sum_of_nats, N + batch.N
            run.step_over()
            if batches < config.accumulate:
                stopped = ranks.agree(stop.is_set(), run)
                if run.clock.step or stopped:
                    run.go_back(place)  # who resumes takes the step
                    continue
                run.note_short_step(batches)
            nats, stopped = exchange.finish(nats, stop.is_set(), run)
            mean_over = run.mean_over(N, batches)
            norm = run.optimiser.gradient_norm(mean_over)
            if not math.isfinite(nats) or not math.isfinite(norm):
                found = f"loss {nats / N:g} nats per symbol, gradient norm {norm:g}"
                raise run.divergence(run.clock.step + 1, found)
            rate = run.schedule.rate(run.clock.step, run.clock.seconds)
            run.optimiser.step(mean_over, norm, rate)
            run.count(nats, N, norm)
            step, improved = run.clock.step, False
            if step % config.log_every == 0:
                line = run.log(rate)
                for callback in callbacks:
                    callback.on_log(run, line)
            if step % config.validate_every == 0:
                validation = run.validate()
                improved = validation is not None and run.progress.waited == 0
                for callback in callbacks:
                    callback.on_validation_end(run, validation)
                stopped = ranks.agree(stop.is_set(), run)
            if (improved or step % config.checkpoint_every == 0) and run.ended(stopped) is None:
                run_state.save(run)
                stopped = ranks.agree(stop.is_set(), run)
        if ended != "signal" and run.clock.validated != run.clock.step:
            run.validate()
        run_state.save(run)
        run.load_best()
        model.eval()
        result = run.result(ended)
        for callback in callbacks:
            callback.on_train_end(run, result)
        return result


def train_within(*arguments: Any, **options: Any) -> Result:
    """Train as part of a larger task: call :func:`train` with these arguments, and raise if it was interrupted.

    Raises: KeyboardInterrupt if a signal ended the run, whose result would be taken for a complete one; otherwise as
        :func:`train`.
    """
    result = train(*arguments, **options)
    if result.ended == "signal":
        raise KeyboardInterrupt
    return result


def _given(run: Run, resume: bool) -> dict[str, dict[str, Any]]:
    """Return what all processes of a run must have alike."""
    return {
        "options": asdict(run.model.config) | asdict(run.config) | {"resume": resume},
        "data": {"data with the fingerprint": run.corpus.fingerprint[:12]},
        "model": {name: list(p.shape) for name, p in run.model.named_parameters()},
    }
