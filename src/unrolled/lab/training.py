"""Training S nets side by side: each takes its own steps, bit for bit those it would take alone.

The nets are divided into parts, as many together as a thread's share of the caches holds.  A thread takes a part
through many steps before it goes on to the next, so what the nets read and write stays there.  Everything below is
element by element, or a sum over one net's own numbers in a fixed order; so no net feels another.

Numbers are float32, laid out (S, ...): S nets, P parameters, K answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import methodcaller
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.config.lab import LabConfig
from unrolled.lab.examples import Answers, Batch, Examples
from unrolled.lab.nets import HeadedNet, Nets
from unrolled.lab.objectives import OBJECTIVES
from unrolled.lab.optimisers import RULES, clip

Array = NDArray[Any]

#: Share of the steps over which the learning rate rises, and what the cosine leaves of it at the end.
WARM_UP, END = 0.1, 0.01
#: Share of the steps after which the gates' weights begin to grow.
GAIN_FROM = 0.5
#: Steps between two lines of the learning curve.
LOG_EVERY = 50
#: What the nets of a part may take together: a share of the caches, and enough arithmetic for each call of NumPy.
PART_BYTES = 4 << 20
#: With fewer rows a net, threads wait longer for Python than they walk.
ROWS_FOR_THREADS = 4

#: Called now and then with the steps done and the losses (S,) since the last call.
Watch = Callable[[int, Array], None]


class Curve(NamedTuple):
    """Mean loss of each net over the steps up to each line: steps (lines,), nats per answer (lines, S)."""

    steps: Array
    losses: Array


def train(
    models: Sequence[HeadedNet],
    examples: Examples,
    config: LabConfig,
    *,
    watch: Watch | None = None,
) -> Curve:
    """Train the models in place, net s on the strings of stream s.

    Args:
        models: of one shape; net s is seeded by `config.first_seed` + s.
        examples: what they read and should answer.
        config: how; its cell, lengths and samples have been used already.
        watch: called now and then with the steps done and the losses (S,) since the last call; the models then hold
            the weights of that step.

    Returns: the learning curve.
    """
    threads = torch.get_num_threads() if config.rows >= ROWS_FOR_THREADS else 1
    together = nets_together(models[0], examples, config, -(-len(models) // threads))
    slices = [slice(s, s + together) for s in range(0, len(models), together)]
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
            if watch:
                watch(span.stop, losses[-1])
    finally:
        pool.shutdown(cancel_futures=True)
    return Curve(np.array(steps), np.array(losses))


def nets_together(model: HeadedNet, examples: Examples, config: LabConfig, most: int) -> int:
    """Return how many nets a part has: what fits the cache, at least one and at most `most`."""
    layer = model.rnn
    each = Nets.bytes(layer.kind, 1, config.rows, examples.T, layer.hidden_size, model.head.out_features)
    return max(1, min(most, PART_BYTES // each))


class Part:
    """Some of the nets, and all that their training goes on from.

    Args:
        models, examples, config: as for :func:`train`, of these nets.
        seed: of the first of them.
        threads: that may walk them.
    """

    def __init__(
        self, models: Sequence[HeadedNet], examples: Examples, config: LabConfig, seed: int, threads: int
    ) -> None:
        seeds = range(seed, seed + len(models))
        self.nets = Nets(models, config.rows, examples.T, threads, cell_noise=config.cell_noise, seeds=seeds)
        self.examples, self.config = examples, config
        self._rule = RULES[config.optimiser](self.nets.weights)
        self._noise = _Noise(self.nets, config, seeds)
        self._objective = OBJECTIVES["softmax" if examples.answers.distribution else config.loss]
        self._growth = np.float32(config.gain ** (1 / max(1, config.steps - math.ceil(GAIN_FROM * config.steps))))
        self._averaged_from = config.steps - math.ceil(config.average * config.steps)
        self._sum = np.zeros(self.nets.weights.shape if config.average else 0)  # of weights

    def run(self, span: range) -> Array:
        """Take these steps, then give the models their weights; return the summed losses (S,)."""
        nets, config = self.nets, self.config
        sums = np.zeros(nets.S)
        for step in span:
            done = step / config.steps
            batch = self.examples.batch(config.rows, done / config.curriculum if done < config.curriculum else 1)
            with self._noise:
                sums += gradients(nets, batch, self.examples.answers, self._objective)
            if config.clip_norm:
                clip(nets.gradients, config.clip_norm)
            rate = config.learning_rate * share_of_rate(done, config.schedule)
            nets.weights -= self._rule(nets.gradients, np.float32(rate))
            if config.weight_decay:
                nets.weights *= np.float32(1 - rate * config.weight_decay)
            if done >= GAIN_FROM and config.gain != 1:
                nets.weights[:, nets.recurrent] *= self._growth
            if step >= self._averaged_from:
                self._sum += nets.weights
        if span.stop == config.steps and config.average:
            nets.weights[...] = self._sum / (config.steps - self._averaged_from)
        nets.write_back()
        return sums


def share_of_rate(done: float, schedule: str) -> float:
    """Return the factor on the learning rate when this share of the steps is done.

    >>> [round(share_of_rate(done, "cosine"), 3) for done in (0.05, 0.1, 0.55, 1.0)]
    [0.5, 1.0, 0.505, 0.01]
    """
    if schedule == "constant":
        return 1.0
    if done < WARM_UP:
        return done / WARM_UP
    return END + (1 - END) * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))) / 2


def is_point(step: int, steps: int, points: int = 20) -> bool:
    """Return whether nets are looked at after this step: about so many times, at lines of the learning curve.

    >>> [step for step in range(0, 1001, 50) if is_point(step, 1000, points=5)]
    [200, 400, 600, 800, 1000]
    """
    every = max(1, steps // (points * LOG_EVERY)) * LOG_EVERY
    return step == steps or (step > 0 and step % every == 0)


def gradients(nets: Nets, batch: Batch, answers: Answers, objective: Any) -> Array:
    """Put the gradients of the mean loss of each net into `nets.gradients`; return the losses (S,)."""
    T, B = batch.ids.shape[1:]
    nets.ids[:, :T] = batch.ids
    logits = nets.forward(batch.steps)
    asked = np.full((nets.S, logits.shape[-1] // B, B), answers.nothing, batch.codes.dtype)
    asked[:, :T] = batch.codes
    flat = asked.reshape(nets.S, -1)
    mask = flat != answers.nothing
    loss, dlogits = objective(logits, np.take(answers.table, flat, axis=1))
    share = mask / np.maximum(mask.sum(1), 1).astype(np.float32)[:, None]
    nets.backward(dlogits * share)
    losses: Array = np.add.reduce(loss * share, axis=1)
    return losses


class _Noise:
    """Inside a ``with`` block, noise on every weight: each net's own stream, drawn anew for each block."""

    def __init__(self, nets: Nets, config: LabConfig, seeds: Iterable[int]):
        self.weights, self.sigma = nets.weights, np.float32(config.weight_noise)
        self.rngs = [np.random.default_rng([seed, 2]) for seed in seeds]

    def __enter__(self) -> None:
        if self.sigma:
            self.clean = self.weights.copy()
            P = self.weights.shape[1]
            self.weights += self.sigma * np.stack([rng.standard_normal(P, np.float32) for rng in self.rngs])

    def __exit__(self, *_: object) -> None:
        if self.sigma:
            self.weights[...] = self.clean
