"""Train S models together; each takes the steps that it would take alone, bit for bit.

The models are divided into parts that fit into a thread's share of the caches.  A thread takes a part through many
steps before it starts the next, so that its data stay in the cache.  All operations are elementwise, or sums over the
numbers of one model in a fixed order, so no model affects another.

Numbers are float32, laid out (S, ...): S models, P parameters, K answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from operator import methodcaller
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.config.lab import LabConfig
from unrolled.lab.examples import ExampleBatch, Examples, Targets
from unrolled.lab.losses import LOSSES
from unrolled.lab.optimisers import clip, optimiser
from unrolled.lab.stacked import RecurrentModel, StackedModels

Array = NDArray[Any]

#: Learning-rate warm-up as a share of the steps, and the share of the rate left at the end of the cosine.
WARM_UP, END = 0.1, 0.01
#: Share of the steps after which the weights of the gates begin to grow.
GAIN_FROM = 0.5
#: Steps between two lines of the learning curve.
LOG_EVERY = 50
#: Memory of a part: a share of the caches, but enough arithmetic for each call of NumPy.
PART_BYTES = 4 << 20
#: Below this batch size, threads wait longer for Python than they compute.
ROWS_FOR_THREADS = 4

#: Called every `LOG_EVERY` steps with the steps done and the mean losses (S,) since the last call.
Callback = Callable[[int, Array], None]


class Curve(NamedTuple):
    """Learning curve, the mean loss of each model between two lines: steps (lines,), nats per target (lines, S)."""

    steps: Array
    losses: Array


def train(
    models: Sequence[RecurrentModel],
    examples: Examples,
    config: LabConfig,
    *,
    callback: Callback | None = None,
) -> Curve:
    """Train the models in place, each on its own examples.

    Args:
        models: of one shape; the seed of model s is `config.first_seed` + s.
        examples: their inputs and targets.
        config: of the training; cell, lengths and samples are those of the models and examples.
        callback: called every 50 steps with the steps done and the mean losses (S,) since the last call; the models
            then hold the weights of that step.

    Returns: the learning curve.
    Raises: ValueError if there is no such optimiser.
    """
    threads = torch.get_num_threads() if config.rows >= ROWS_FOR_THREADS else 1
    size = part_size(models[0], examples, config, -(-len(models) // threads))
    slices = [slice(s, s + size) for s in range(0, len(models), size)]
    own = torch.get_num_threads() if len(slices) == 1 else 1  # threads of a part
    parts = [Part(models[at], examples.of(at), config, config.first_seed + at.start, own) for at in slices]
    steps, losses = [], []
    pool = ThreadPoolExecutor(threads)
    try:
        for begin in range(0, config.steps, LOG_EVERY):
            span = range(begin, min(begin + LOG_EVERY, config.steps))
            run = methodcaller("run", span)
            sums = [*pool.map(run, parts)] if len(parts) > 1 else [run(parts[0])]
            losses.append(np.concatenate(sums) / len(span))
            steps.append(span.stop)
            if callback:
                callback(span.stop, losses[-1])
    finally:
        pool.shutdown(cancel_futures=True)
    return Curve(np.array(steps), np.array(losses))


def part_size(model: RecurrentModel, examples: Examples, config: LabConfig, most: int) -> int:
    """Return how many models a part has: as many as fit into the cache, at least 1 and at most `most`."""
    layer = model.rnn
    each = StackedModels.memory(layer.kind, 1, config.rows, examples.T, layer.hidden_size, model.head.out_features)
    return max(1, min(most, PART_BYTES // each))


class Part:
    """Some of the models, with the state of their training.

    Args:
        models, examples, config: as for :func:`train`, of these models.
        seed: of the first model.
        threads: for their recurrence.
    """

    def __init__(
        self, models: Sequence[RecurrentModel], examples: Examples, config: LabConfig, seed: int, threads: int
    ) -> None:
        seeds = range(seed, seed + len(models))
        self.stacked = StackedModels(
            models, config.rows, examples.T, threads, cell_noise=config.cell_noise, seeds=seeds
        )
        self.examples, self.config = examples, config
        self._optimiser = optimiser(config.optimiser)(self.stacked.weights)
        self._rngs = [np.random.default_rng([seed, 2]) for seed in seeds]  # of the noise on the weights
        self._loss = LOSSES["softmax" if examples.targets.distribution else config.loss]
        self._growth = np.float32(config.gain ** (1 / max(1, config.steps - math.ceil(GAIN_FROM * config.steps))))
        self._averaged_from = config.steps - math.ceil(config.average * config.steps)
        self._sum = np.zeros(self.stacked.weights.shape if config.average else 0)  # of weights

    def run(self, span: range) -> Array:
        """Take these steps, then copy the weights to the models; return the summed losses (S,)."""
        stacked, config = self.stacked, self.config
        sums = np.zeros(stacked.S)
        for step in span:
            done = step / config.steps
            batch = self.examples.batch(config.rows, done / config.curriculum if done < config.curriculum else 1)
            with self._weight_noise():
                sums += gradients(stacked, batch, self.examples.targets, self._loss)
            if config.clip_norm:
                clip(stacked.gradients, config.clip_norm)
            rate = config.learning_rate * rate_factor(done, config.schedule)
            stacked.weights -= self._optimiser(stacked.gradients, np.float32(rate))
            if config.weight_decay:
                stacked.weights *= np.float32(1 - rate * config.weight_decay)
            if done >= GAIN_FROM and config.gain != 1:
                stacked.weights[:, stacked.recurrent] *= self._growth
            if step >= self._averaged_from:
                self._sum += stacked.weights
        if span.stop == config.steps and config.average:
            stacked.weights[...] = self._sum / (config.steps - self._averaged_from)
        stacked.write_back()
        return sums

    @contextmanager
    def _weight_noise(self) -> Iterator[None]:
        """Add noise to every weight inside the block, from each model's own random stream."""
        weights, sigma = self.stacked.weights, np.float32(self.config.weight_noise)
        if not sigma:
            yield
            return
        clean = weights.copy()
        weights += sigma * np.stack([rng.standard_normal(weights.shape[1], np.float32) for rng in self._rngs])
        yield
        weights[...] = clean


def rate_factor(done: float, schedule: str) -> float:
    """Return the factor on the learning rate after this share of the steps.

    >>> [round(rate_factor(done, "cosine"), 3) for done in (0.05, 0.1, 0.55, 1.0)]
    [0.5, 1.0, 0.505, 0.01]
    """
    if schedule == "constant":
        return 1.0
    if done < WARM_UP:
        return done / WARM_UP
    return END + (1 - END) * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))) / 2


def at_points(evaluate: Callable[[int], None], steps: int, then: Callback | None) -> Callback:
    """Return a callback for :func:`train` that calls `evaluate` with the step at each :func:`is_point`, then `then`."""

    def callback(step: int, losses: Array) -> None:
        if is_point(step, steps):
            evaluate(step)
        if then:
            then(step, losses)

    return callback


def is_point(step: int, steps: int, points: int = 20) -> bool:
    """Return whether models are evaluated after this step: about `points` times, at lines of the learning curve.

    >>> [step for step in range(0, 1001, 50) if is_point(step, 1000, points=5)]
    [200, 400, 600, 800, 1000]
    """
    every = max(1, steps // (points * LOG_EVERY)) * LOG_EVERY
    return step == steps or (step > 0 and step % every == 0)


def gradients(stacked: StackedModels, batch: ExampleBatch, targets: Targets, loss_function: Any) -> Array:
    """Write the gradients of the mean loss of each model to `stacked.gradients`; return the losses (S,)."""
    T, B = batch.ids.shape[1:]
    stacked.ids[:, :T] = batch.ids
    logits = stacked.forward(batch.steps)
    padded = np.full((stacked.S, logits.shape[-1] // B, B), targets.ignored, batch.codes.dtype)
    padded[:, :T] = batch.codes
    codes = padded.reshape(stacked.S, -1)
    mask = codes != targets.ignored
    loss, dlogits = loss_function(logits, np.take(targets.table, codes, axis=1))
    share = mask / np.maximum(mask.sum(1), 1).astype(np.float32)[:, None]
    stacked.backward(dlogits * share)
    losses: Array = np.add.reduce(loss * share, axis=1)
    return losses
