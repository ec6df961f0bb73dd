"""Training S nets side by side: each takes its own steps, bit for bit those it would take alone.

Everything below is element by element, or a sum over one net's own numbers in a fixed order; so no net feels another.
Numbers are float32, laid out (S, ...): S nets, P parameters, K answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unrolled.languages.examples import Answers, Examples
from unrolled.languages.nets import HeadedNet, Nets
from unrolled.languages.settings import LabConfig

Array = NDArray[Any]

#: Share of the steps over which the learning rate rises, and what the cosine leaves of it at the end.
WARM_UP, END = 0.1, 0.01
#: Share of the steps after which the gates' weights begin to grow.
GAIN_FROM = 0.5
#: Adam's decay of mean and mean square, RMSprop's of the mean square, and what is added to its root.
BETA_1, BETA_2, RHO, EPSILON = 0.9, 0.999, 0.99, 1e-8
#: What is added to a gradient's norm before it is divided by, as torch does.
CLIP_EPSILON = 1e-6
#: Steps between two lines of the learning curve.
LOG_EVERY = 50


class Curve(NamedTuple):
    """Mean loss of each net over the steps up to each line: steps (lines,), nats per answer (lines, S)."""

    steps: Array
    losses: Array


def train(
    models: Sequence[HeadedNet],
    examples: Examples,
    config: LabConfig,
    *,
    watch: Callable[[int, Array], None] | None = None,
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
    nets = Nets(models, config.rows, examples.T)
    rule = RULES[config.optimiser](nets.weights)
    noise = _Noise(nets, config)
    objective = _softmax if examples.answers.distribution else _OBJECTIVES[config.loss]
    growth = np.float32(config.gain ** (1 / max(1, config.steps - math.ceil(GAIN_FROM * config.steps))))
    steps, losses = [], []
    since, sums = 0, np.zeros(nets.S)
    for step in range(config.steps):
        ids, codes = examples.batch(config.rows)
        with noise:
            sums += _gradients(nets, ids, codes, examples.answers, objective)
        if config.clip_norm:
            _clip(nets.gradients, config.clip_norm)
        rate = config.learning_rate * share_of_rate(step / config.steps, config.schedule)
        nets.weights -= rule(nets.gradients, np.float32(rate))
        if config.weight_decay:
            nets.weights *= np.float32(1 - rate * config.weight_decay)
        if step >= GAIN_FROM * config.steps and config.gain != 1:
            nets.weights[:, nets.recurrent] *= growth
        since += 1
        if since == LOG_EVERY or step + 1 == config.steps:
            steps.append(step + 1)
            losses.append(sums / since)
            if watch:
                nets.write_back()
                watch(step + 1, losses[-1])
            since, sums = 0, np.zeros(nets.S)
    nets.write_back()
    return Curve(np.array(steps), np.array(losses))


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


def _gradients(nets: Nets, ids: Array, codes: Array, answers: Answers, objective: Any) -> Array:
    """Put the gradients of the mean loss of each net into `nets.gradients`; return the losses (S,)."""
    T, B = ids.shape[1:]
    nets.ids[:, :T] = ids
    logits = nets.forward(T)
    asked = np.full((nets.S, logits.shape[1] // B, B), answers.nothing, codes.dtype)
    asked[:, :T] = codes
    flat = asked.reshape(nets.S, -1)
    mask = flat != answers.nothing
    loss, dlogits = objective(logits, answers.table[flat])
    share = mask / np.maximum(mask.sum(1), 1).astype(np.float32)[:, None]
    nets.backward(dlogits * share[..., None])
    losses: Array = np.add.reduce(loss * share, axis=1)
    return losses


def _softmax(logits: Array, target: Array) -> tuple[Array, Array]:
    """Cross-entropy of the answers and its gradient: p - target."""
    exps = np.exp(logits - _over_answers(np.maximum, logits)[..., None])
    p = exps / _over_answers(np.add, exps)[..., None]
    return -np.log(np.maximum(_over_answers(np.add, p * target), 1e-30)), p - target


def _sets(logits: Array, target: Array) -> tuple[Array, Array]:
    """Cross-entropy of each answer's own yes or no, and its gradient: p - target."""
    p = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
    likely = np.maximum(np.where(target > 0, p, 1 - p), 1e-30)
    return -_over_answers(np.add, np.log(likely)), p - target


def _squared(logits: Array, target: Array) -> tuple[Array, Array]:
    """Squared error of each answer's own probability, mean over answers, and its gradient."""
    p: Array = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
    off = p - target
    K = logits.shape[-1]
    return _over_answers(np.add, off * off) / K, 2 * off * p * (1 - p) / K


def _over_answers(ufunc: Any, values: Array) -> Array:
    """Fold the last axis in order, for a reduction may take another order when the array has another shape."""
    folded: Array = values[..., 0]
    for k in range(1, values.shape[-1]):
        folded = ufunc(folded, values[..., k])
    return folded


_OBJECTIVES = {"sets": _sets, "squared": _squared}


def _clip(gradients: Array, most: float) -> None:
    """Shorten each net's gradient (S, P) in place to a norm of at most `most`."""
    norms = np.sqrt(np.add.reduce(np.square(gradients, dtype=np.float64), axis=1))  # squares may leave float32
    gradients *= np.minimum(1, most / (norms + CLIP_EPSILON)).astype(np.float32)[:, None]


class Adam:
    """Adam on (S, P) weights.  Source: Kingma and Ba 2015, algorithm 1.

    >>> round(float(Adam(np.zeros((1, 1), np.float32))(np.ones((1, 1), np.float32), np.float32(0.1))[0, 0]), 6)
    0.1
    """

    def __init__(self, weights: Array):
        self.mean, self.square, self.steps = np.zeros_like(weights), np.zeros_like(weights), 0

    def __call__(self, gradients: Array, rate: np.float32) -> Array:
        """Return what to subtract from the weights."""
        self.steps += 1
        self.mean += np.float32(1 - BETA_1) * (gradients - self.mean)
        self.square += np.float32(1 - BETA_2) * (gradients * gradients - self.square)
        root = np.sqrt(self.square / np.float32(1 - BETA_2**self.steps)) + np.float32(EPSILON)
        return rate / np.float32(1 - BETA_1**self.steps) * self.mean / root


class RMSprop:
    """RMSprop on (S, P) weights, as in torch.optim.  Source: Tieleman and Hinton 2012, lecture 6.5.

    >>> round(float(RMSprop(np.zeros((1, 1), np.float32))(np.ones((1, 1), np.float32), np.float32(0.1))[0, 0]), 6)
    1.0
    """

    def __init__(self, weights: Array):
        self.square = np.zeros_like(weights)

    def __call__(self, gradients: Array, rate: np.float32) -> Array:
        """Return what to subtract from the weights."""
        self.square += np.float32(1 - RHO) * (gradients * gradients - self.square)
        return rate * gradients / (np.sqrt(self.square) + np.float32(EPSILON))


RULES: dict[str, Callable[[Array], Any]] = {"adam": Adam, "rmsprop": RMSprop}


class _Noise:
    """Inside a ``with`` block, noise on every weight: each net's own stream, drawn anew for each block."""

    def __init__(self, nets: Nets, config: LabConfig):
        self.weights, self.sigma = nets.weights, np.float32(config.weight_noise)
        self.rngs = [np.random.default_rng([config.first_seed + s, 2]) for s in range(nets.S)]

    def __enter__(self) -> None:
        if self.sigma:
            self.clean = self.weights.copy()
            P = self.weights.shape[1]
            self.weights += self.sigma * np.stack([rng.standard_normal(P, np.float32) for rng in self.rngs])

    def __exit__(self, *_: object) -> None:
        if self.sigma:
            self.weights[...] = self.clean
