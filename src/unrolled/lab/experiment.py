"""One experiment of the laboratory: S nets trained on a language, each measured by the strings it gets right."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import torch

from unrolled.config.lab import LabConfig
from unrolled.lab.examples import language_examples
from unrolled.lab.measuring import first_failing, margins
from unrolled.lab.memory import refuse_too_much
from unrolled.lab.nets import HeadedNet, Nets
from unrolled.lab.results import LabResult, Range, SeedResult
from unrolled.lab.selection import Choice
from unrolled.lab.training import Watch, train
from unrolled.languages.judging import ModelPredictor
from unrolled.languages.language import Language
from unrolled.languages.lengths import Lengths
from unrolled.languages.metrics import evaluate
from unrolled.lm.model import SequenceModel
from unrolled.notation import gate_slice

#: Sizes tried in each range for a share, at most, spread evenly over it.
SHARE_SIZES = 40
#: Fresh strings of the training distribution that the cross-entropy is measured on, at most.
FRESH = 1000


def experiment(
    language: Language,
    config: LabConfig,
    limit: int = 1000,
    *,
    ranges: Sequence[Range] | None = None,
    reading: str | None = None,
    watch: Watch | None = None,
) -> tuple[LabResult, list[SequenceModel]]:
    """Train `config.seeds` nets side by side and measure each.

    Args:
        language: what to learn.
        config: how.
        limit: the largest size to try; the last range may go beyond.
        ranges: of sizes, for the shares; by default that of training, and from there on doubling up to the limit.
        reading: what right means, from :data:`unrolled.languages.judging.READINGS`; by default "sets", or "khot" for
            nets that predict sets.
        watch: called now and then with the steps done and the losses (S,); see `train`.

    Returns: what was found, and the trained nets.
    Raises: ValueError if the language has no string of a training size, or the empty one; MemoryError if so many nets
        do not fit.

    >>> from unrolled.languages.registry import get
    >>> result, nets = experiment(get("anbn"), LabConfig(seeds=2, steps=3, lengths="uniform:1-5"), limit=10)
    >>> len(nets), result.ranges
    (2, [(1, 5), (6, 10)])
    """
    refuse(language, config)
    seeds = [config.first_seed + s for s in range(config.seeds)]
    models = [new_model(language, config, seed) for seed in seeds]
    return continued(models, language, config, limit, ranges=ranges, reading=reading, watch=watch), models


def continued(
    models: list[SequenceModel],
    language: Language,
    config: LabConfig,
    limit: int = 1000,
    *,
    ranges: Sequence[Range] | None = None,
    reading: str | None = None,
    watch: Watch | None = None,
) -> LabResult:
    """Train models from the weights they have, in place, and measure each; otherwise as :func:`experiment`."""
    lengths = Lengths(config.lengths)
    seeds = [config.first_seed + s for s in range(len(models))]
    begun = time.perf_counter()
    examples = language_examples(language, lengths, config.samples, config.loss, seeds)
    reading = reading or ("sets" if config.loss == "softmax" else "khot")
    choice = Choice(models, language, config, reading)
    curve = train(models, examples, config, watch=choice.before(watch))
    choice.take()
    trained = time.perf_counter()
    ranges = list(ranges or ranges_up_to(limit, lengths))
    failing = first_failing(models, language, limit, reading)
    tried = [sizes_in(language, each) for each in ranges]
    sizes = sorted({n for each in tried for n in each})
    right = margins(models, language, sizes, reading) > 0  # (S, N)
    shares = np.array(
        [right[:, np.isin(sizes, each)].mean(1) if each else np.full(len(models), np.nan) for each in tried]
    )
    far = Lengths("list:" + ",".join(map(str, next(each for each in reversed(tried) if each))))
    results = []
    for s, model in enumerate(models):
        nats = accuracy = None
        if config.loss == "softmax":  # sigmoids are no distribution over the next symbol
            nats = evaluate(ModelPredictor(model), language, lengths, strings=FRESH).nats
            accuracy = evaluate(ModelPredictor(model), language, far, strings=SHARE_SIZES).accuracy
        results.append(SeedResult(seeds[s], failing[s], shares[:, s].tolist(), nats, accuracy))
    return LabResult(
        language.name,
        asdict(config),
        limit,
        ranges,
        sizes,
        right.mean(0).tolist(),
        language.optimal_nats(lengths),
        results,
        curve.steps.tolist(),
        curve.losses.tolist(),
        trained - begun,
        time.perf_counter() - trained,
    )


def refuse(language: Language, config: LabConfig) -> None:
    """Refuse what cannot be trained before anything is spent on it.

    Raises: ValueError if the language has no string of a training size, or the empty one; MemoryError if so many nets
        do not fit.
    """
    lengths = Lengths(config.lengths)
    language.check(lengths)
    for n, _ in lengths:
        if not language.length(n):
            raise ValueError(
                f"{language.name}: the string of size {n} is empty, and a net predicts the symbol after one"
            )
    K, longest = len(language.vocabulary), language.length(lengths.longest)
    refuse_too_much(Nets.bytes(config.model().kind, config.seeds, config.rows, longest, config.units, K), config.seeds)


def new_model(language: Language, config: LabConfig, seed: int) -> SequenceModel:
    """Return a net as its seed begins it; torch's own random stream is left as it was."""
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
def set_first_weights(net: HeadedNet, config: LabConfig) -> None:
    """Scale the first weights, and open LSTM's forget gates, as the configuration says."""
    weights: list[torch.Tensor] = [*net.rnn.parameters(), *net.head.parameters()]
    for weight in weights:
        weight.mul_(config.initial_scale)
    if net.rnn.kind == "LSTM":
        net.rnn.get_parameter("bias_ih_l0")[gate_slice("LSTM", "f", config.units)] = config.forget_bias


def sizes_in(language: Language, sizes: Range) -> list[int]:
    """Return the sizes of a range at which nets are tried: those that the language has, at most `SHARE_SIZES`.

    >>> from unrolled.languages.registry import get
    >>> sizes_in(get("anbn"), (1, 3)), len(sizes_in(get("anbn"), (51, 1000)))
    ([1, 2, 3], 40)
    """
    low, high = sizes
    spread = np.linspace(low, high, min(SHARE_SIZES, high - low + 1)).round().astype(int)
    return [n for n in np.unique(spread).tolist() if language.has(n) and language.length(n)]


def ranges_up_to(limit: int, lengths: Lengths) -> list[Range]:
    """Return the range of training and, doubling, those beyond it up to the limit.

    >>> ranges_up_to(1000, Lengths("uniform:1-50"))
    [(1, 50), (51, 100), (101, 200), (201, 400), (401, 800), (801, 1000)]
    """
    ends = [lengths.longest]
    while ends[-1] < limit:
        ends.append(min(limit, 2 * ends[-1]))
    return list(zip([int(lengths.sizes.min()), *(end + 1 for end in ends[:-1])], ends, strict=True))
