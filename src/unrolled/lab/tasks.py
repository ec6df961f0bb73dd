"""Experiments on tasks: train S models to answer, and measure them at lengths beyond training."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.config.lab import LabConfig
from unrolled.lab.examples import Encoded, Examples, Targets
from unrolled.lab.experiment import check_training, set_first_weights
from unrolled.lab.heads import HeadedModel, Recogniser, Tagger, Transducer
from unrolled.lab.results import TaskResult
from unrolled.lab.training import Callback, train
from unrolled.languages.lengths import Lengths
from unrolled.languages.tasks import Task
from unrolled.saved.vocabulary import Vocabulary

#: Sizes at which models are tried, at most, and inputs of each.
SIZES, INPUTS = 24, 64

HEADS: dict[str, type[HeadedModel]] = {"end": Recogniser, "each": Tagger, "after": Transducer}


def task_experiment(
    task: Task, config: LabConfig, limit: int, *, callback: Callback | None = None
) -> tuple[TaskResult, list[HeadedModel]]:
    """Train `config.seeds` models together on a task and measure each.

    Args:
        task: what to answer.
        config: of the training; its lengths are those of the inputs, the loss is the cross-entropy of the answers.
        limit: the largest size to try.
        callback: as for :func:`unrolled.lab.training.train`.

    Returns: the result and the trained models.
    Raises: ValueError if there is no such optimiser or no input of a training size; MemoryError if the models do not
        fit into memory.

    >>> from unrolled.languages.registry import task
    >>> config = LabConfig(seeds=2, steps=5, batch_size=4, samples=20, lengths="uniform:1-5")
    >>> result, models = task_experiment(task("parity"), config, limit=9)
    >>> type(models[0]).__name__, result.sizes, len(result.symbols[0])
    ('Recogniser', [1, 2, 3, 4, 5, 6, 7, 8, 9], 9)
    """
    lengths, vocabulary = Lengths(config.lengths), Vocabulary(task.inputs.alphabet)
    seeds = [config.first_seed + s for s in range(config.seeds)]
    T = task.inputs.length(lengths.longest) + (task.answer_length(lengths.longest) if task.kind == "after" else 0)
    check_training(task.inputs, config, T, len(task.answers))
    begun = time.perf_counter()
    examples = _examples(task, vocabulary, config, seeds)
    models = [_new_model(task, vocabulary, config, seed) for seed in seeds]
    curve = train(models, examples, config, callback=callback)
    trained = time.perf_counter()
    spread = np.unique(np.linspace(1, limit, min(limit, SIZES)).round().astype(int)).tolist()
    sizes = [n for n in spread if task.inputs.has(n)]
    symbols, exact = _accuracy(task, vocabulary, models, sizes)
    result = TaskResult(
        task.name, lengths.longest, sizes, symbols, exact, 1 / len(task.answers), curve.losses[-1].tolist(),
        trained - begun, time.perf_counter() - trained,
    )  # fmt: skip
    return result, models


def _new_model(task: Task, vocabulary: Vocabulary, config: LabConfig, seed: int) -> HeadedModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = HEADS[task.kind](config.model(), vocabulary, task.answers)
    set_first_weights(model, config)
    return model


def _examples(task: Task, vocabulary: Vocabulary, config: LabConfig, seeds: Sequence[int]) -> Examples:
    """Draw the inputs of each model from its own seed; the answers are the targets where the head is read."""
    K = len(task.answers)
    table = np.eye(K, K + 1, dtype=np.float32)  # the last column is no target
    number = {symbol: k for k, symbol in enumerate(task.answers)}
    lengths = Lengths(config.lengths)

    def example(rng: np.random.Generator) -> Encoded:
        given, answer = task.sample(rng, lengths)
        ids, codes = vocabulary.encode(given).tolist(), [number[symbol] for symbol in answer]
        if task.kind == "each":
            return ids, codes
        if task.kind == "end":
            return ids, [K] * (len(ids) - 1) + codes
        return ids + [vocabulary.eos_id] * len(codes), [K] * len(ids) + codes

    streams = [np.random.default_rng([seed, 0]) for seed in seeds]
    return Examples([[example(rng) for _ in range(config.samples)] for rng in streams], Targets(table, True), seeds)


@torch.no_grad()
def _accuracy(
    task: Task, vocabulary: Vocabulary, models: Sequence[HeadedModel], sizes: Sequence[int]
) -> tuple[list[list[float]], list[list[float]]]:
    """Return for each model and size the share of answer symbols right and of whole answers right, (S, N)."""
    symbols, exact = np.zeros((len(models), len(sizes))), np.zeros((len(models), len(sizes)))
    number = {symbol: k for k, symbol in enumerate(task.answers)}
    for k, n in enumerate(sizes):
        rng = np.random.default_rng([0, n])
        drawn: list[Any] = [task.sample(rng, n) for _ in range(INPUTS)]
        lengths = torch.tensor([len(given) for given, _ in drawn], device="cpu")
        N = max(len(answer) for _, answer in drawn)
        x = torch.zeros((int(lengths.max()), INPUTS), dtype=torch.int64, device="cpu")
        targets = torch.full((N, INPUTS), -1, device="cpu")
        for b, (given, answer) in enumerate(drawn):
            x[: len(given), b] = torch.from_numpy(vocabulary.encode(given))
            targets[: len(answer), b] = targets.new_tensor([number[symbol] for symbol in answer])
        for s, model in enumerate(models):
            right = (_answers(model, x, lengths, N) == targets) | (targets < 0)
            asked = targets >= 0
            symbols[s, k] = float((right & asked).sum() / asked.sum())
            exact[s, k] = float(right.all(0).double().mean())
    return symbols.tolist(), exact.tolist()


def _answers(model: HeadedModel, x: Tensor, lengths: Tensor, N: int) -> Tensor:
    """Return the most probable answers (N, B)."""
    if isinstance(model, Transducer):
        found: Tensor = model(x, N, lengths).argmax(-1)
        return found
    found = model(x, lengths).argmax(-1)
    return found.view(-1, x.shape[1])
