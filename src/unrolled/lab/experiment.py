"""One experiment of the laboratory: train S models on a language and measure each by the strings it gets right."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import torch

from unrolled.config.lab import LabConfig
from unrolled.config.options import option
from unrolled.config.training import KEPT
from unrolled.core.free_memory import expect_room
from unrolled.lab.examples import Examples, language_examples
from unrolled.lab.memory import check_memory
from unrolled.lab.optimisers import optimiser
from unrolled.lab.predictors import ModelPredictor, first_failing_sizes, margins
from unrolled.lab.results import LabResult, Range, SeedResult
from unrolled.lab.selection import CheckpointSelection
from unrolled.lab.stacked import RecurrentModel, StackedModels
from unrolled.lab.training import Callback, train
from unrolled.languages.language import Language
from unrolled.languages.lengths import Lengths
from unrolled.languages.metrics import evaluate
from unrolled.lm.memory import parameters
from unrolled.lm.model import SequenceModel
from unrolled.notation import GATES, gate_slice
from unrolled.words import counted

#: Sizes tried in each range for a share, at most, evenly spaced.
SHARE_SIZES = 40
#: New strings of the training distribution on which the cross-entropy is measured, at most.
NEW = 1000
#: Bytes that a size takes which is tried, and a symbol of its string.
SIZE, SYMBOL = 40, 16


def experiment(
    language: Language,
    config: LabConfig,
    limit: int = 1000,
    *,
    ranges: Sequence[Range] | None = None,
    criterion: str | None = None,
    callback: Callback | None = None,
) -> tuple[LabResult, list[SequenceModel]]:
    """Train `config.seeds` models together and measure each.

    Args:
        language: what to learn.
        config: of the training.
        limit: the largest size to try; the last range may go beyond.
        ranges: of sizes, for the shares; by default that of training, then doubling up to the limit.
        criterion: what right means, from :data:`unrolled.languages.judging.CRITERIA`; by default "sets", or "khot" for
            models that predict sets.
        callback: as for :func:`unrolled.lab.training.train`.

    Returns: the result and the trained models.
    Raises: ValueError, MemoryError as :func:`check`.

    >>> from unrolled.languages.registry import get
    >>> result, models = experiment(get("anbn"), LabConfig(seeds=2, steps=3, lengths="uniform:1-5"), limit=10)
    >>> len(models), result.ranges
    (2, [(1, 5), (6, 10)])
    """
    config = fitted(language, config)
    check(language, config, limit)
    seeds = [config.first_seed + s for s in range(config.seeds)]
    lengths = Lengths(config.lengths)
    models = [new_model(language, config, seed) for seed in seeds]
    begun = time.perf_counter()
    examples = language_examples(language, lengths, config.samples, config.loss, seeds)
    criterion = criterion or criterion_of(config)
    selection = CheckpointSelection(models, language, config, criterion)
    curve = train(models, examples, config, callback=selection.callback(callback))
    selection.restore()
    trained = time.perf_counter()
    ranges = list(ranges or ranges_up_to(limit, lengths))
    failing = first_failing_sizes(models, language, limit, criterion)
    tried = [sizes_in(language, each) for each in ranges]
    sizes = sorted({n for each in tried for n in each})
    right = margins(models, language, sizes, criterion) > 0  # (S, N)
    shares = np.array(
        [right[:, np.isin(sizes, each)].mean(1) if each else np.full(len(models), np.nan) for each in tried]
    )
    far = Lengths("list:" + ",".join(map(str, next(each for each in reversed(tried) if each))))
    results = []
    for s, model in enumerate(models):
        nats = accuracy = None
        if config.loss == "softmax":  # sigmoids are not a distribution over the next symbol
            nats = evaluate(ModelPredictor(model), language, lengths, strings=NEW).nats
            accuracy = evaluate(ModelPredictor(model), language, far, strings=SHARE_SIZES).accuracy
        results.append(SeedResult(seeds[s], failing[s], shares[:, s].tolist(), nats, accuracy))
    optimum, seeds_right = language.optimal_nats(lengths), right.mean(0).tolist()
    result = LabResult(
        language.name, asdict(config), limit, ranges, sizes, seeds_right, optimum, results,
        curve.steps.tolist(), curve.losses.tolist(), trained - begun, time.perf_counter() - trained,
    )  # fmt: skip
    return result, models


def criterion_of(config: LabConfig) -> str:
    """Return the criterion that goes with a loss: "sets" with a softmax, "khot" with sigmoids."""
    return "sets" if config.loss == "softmax" else "khot"


def fitted(language: Language, config: LabConfig) -> LabConfig:
    """Return a configuration whose sizes, if they are the default ones, are those among them that the language has.

    >>> from unrolled.languages.registry import get
    >>> fitted(get("tomita-5"), LabConfig()).lengths, fitted(get("anbn"), LabConfig()).lengths
    ('uniform:2-50/2', 'uniform:1-50')
    """
    if config.lengths != LabConfig.lengths:
        return config
    sizes = [n for n, _ in Lengths(config.lengths) if language.has(n) and language.length(n)]
    if not sizes:
        raise ValueError(f"{language.name} has no string of the default sizes, {config.lengths}; name others")
    low, high, step = sizes[0], sizes[-1], (sizes[1] - sizes[0] if len(sizes) > 1 else 1)
    if sizes != [*range(low, high + 1, step)]:
        return replace(config, lengths="list:" + ",".join(map(str, sizes)))
    return replace(config, lengths=f"uniform:{low}-{high}" + (f"/{step}" if step > 1 else ""))


def check(language: Language, config: LabConfig, limit: int = 0) -> None:
    """Check that models can be trained on a language, and tried up to a size.

    Raises: ValueError if there is no such optimiser, or a training size has no string or only the empty one;
        MemoryError if the models, their strings or those of the largest size do not fit into memory.
    """
    tried = SIZE * limit + SYMBOL * language.length(limit)
    expect_room(tried, f"trying every size up to {limit:,}", f"lower {option('limit')}")
    lengths = Lengths(config.lengths)
    check_training(language, config, language.length(lengths.longest), len(language.vocabulary))
    for n, _ in lengths:
        if not language.length(n):
            raise ValueError(
                f"{language.name}: the string of size {n} is empty; a model needs a symbol to predict the next one"
            )


def check_training(inputs: Language, config: LabConfig, T: int, K: int) -> None:
    """Check that models with K answers can be trained on strings of at most T symbols.

    Raises: ValueError if there is no such optimiser, or no input of a training size; MemoryError if the models do not
        fit into memory.
    """
    optimiser(config.optimiser)
    inputs.check(Lengths(config.lengths))
    S = config.seeds
    model = config.model()
    weights = S * KEPT * 4 * parameters(model, len(inputs.vocabulary))
    check_memory(weights + StackedModels.memory(model.kind, S, config.rows, T, config.units, K), S)
    strings = f"drawing {counted(config.samples, 'string')} for each of {counted(S, 'seed')}"
    expect_room(Examples.memory(S, config.samples, T), strings, f"lower {option('samples')}")


def new_model(language: Language, config: LabConfig, seed: int) -> SequenceModel:
    """Return the untrained model of a seed; torch's own random state is left unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SequenceModel(config.model(), language.vocabulary)
    set_first_weights(model, config)
    first = np.full(len(language.vocabulary), 1e-30)
    for n, p in Lengths(config.lengths):
        for symbol, share in language.first(n).items():
            first[language.vocabulary.names.index(symbol)] += p * share
    model.start.copy_(torch.from_numpy(np.log(first)))
    return model


@torch.no_grad()
def set_first_weights(model: RecurrentModel, config: LabConfig) -> None:
    """Scale the initial weights and set the bias of the forget gate as configured."""
    weights: list[torch.Tensor] = [*model.rnn.parameters(), *model.head.parameters()]
    for weight in weights:
        weight.mul_(config.initial_scale)
    if "f" in GATES[model.rnn.kind]:
        model.rnn.get_parameter("bias_ih_l0")[gate_slice(model.rnn.kind, "f", config.units)] = config.forget_bias


def sizes_in(language: Language, sizes: Range) -> list[int]:
    """Return the sizes of a range at which models are tried: those that the language has, at most `SHARE_SIZES`.

    >>> from unrolled.languages.registry import get
    >>> sizes_in(get("anbn"), (1, 3)), len(sizes_in(get("anbn"), (51, 1000)))
    ([1, 2, 3], 40)
    """
    low, high = sizes
    spread = np.linspace(low, high, min(SHARE_SIZES, high - low + 1)).round().astype(int)
    return [n for n in np.unique(spread).tolist() if language.has(n) and language.length(n)]


def ranges_up_to(limit: int, lengths: Lengths) -> list[Range]:
    """Return the range of training, then doubling ranges up to the limit.

    >>> ranges_up_to(1000, Lengths("uniform:1-50"))
    [(1, 50), (51, 100), (101, 200), (201, 400), (401, 800), (801, 1000)]
    """
    ends = [lengths.longest]
    while ends[-1] < limit:
        ends.append(min(limit, 2 * ends[-1]))
    return list(zip([int(lengths.sizes.min()), *(end + 1 for end in ends[:-1])], ends, strict=True))
