"""Evaluation: nats, bits per symbol, perplexity, accuracy and exact strings, on held-out data."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from unrolled.config.checks import NonNegative, PositiveInt, check_value
from unrolled.corpus.batching import IGNORED, ROWS, lanes
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.sharing import ALONE, Alone
from unrolled.corpus.splitting import Sequences
from unrolled.lm import dynamic as dynamic_evaluation
from unrolled.lm.loader import Batch, one_epoch
from unrolled.lm.model import SequenceModel, State
from unrolled.nn.modules import is_hooked

#: The most nats whose perplexity is a number of a computer.
MOST_NATS = math.log(sys.float_info.max)
#: Most time steps in a chunk of a stream.
CHUNK = 512
#: Logits that are in memory at a time.
LOGITS = 1 << 24
#: Logits of a chunk of a stream, about, so that the clock is read now and then.
CHUNK_LOGITS = 1 << 27
#: Multiplications that the head of a measurement in a run may take, and symbols that it reads at least.
WORK, LEAST = 1e12, 1 << 14


@dataclass(frozen=True)
class Evaluation:
    """How well a model predicts one split, under teacher forcing: it reads the data, not its own output.

    Attributes:
        split: Name of the split.
        symbols: Symbols predicted: all but the first of each sequence.
        nats: Mean of -log p(symbol), in nats.
        accuracy: Share of symbols that the model found most likely.
        unk_rate: Share of the split's symbols that are UNK.
        exact_strings: Share of sequences in which every predicted symbol was the most likely; None for a stream.
        exact_bound: The most that any model can reach there: below 1 where sequences begin alike and go on in different
            ways, because only one of them can be the most likely; None for a stream.
    """

    split: str
    symbols: int
    nats: float
    accuracy: float
    unk_rate: float
    exact_strings: float | None
    exact_bound: float | None

    @property
    def bits(self) -> float:
        """Bits per symbol."""
        return self.nats / math.log(2)

    @property
    def perplexity(self) -> float:
        """Perplexity, exp(nats): the number of equally likely symbols that would be as hard to predict."""
        return math.inf if self.nats > MOST_NATS else math.exp(self.nats)


def evaluate(
    model: SequenceModel,
    corpus: Corpus,
    split: str = "test",
    *,
    max_symbols: int | None = None,
    max_seconds: float | None = None,
    dynamic: bool = False,
    ranks: Alone = ALONE,
) -> Evaluation:
    """Evaluate a model on one split of a corpus that is encoded with its vocabulary.

    Args:
        model: the model.
        corpus: the corpus.
        split: name of the split.
        max_symbols: evaluate about this many symbols at most, from all over the split.
        max_seconds: stop with the batch that reaches this time.
        dynamic: dynamic evaluation (:mod:`unrolled.lm.dynamic`): read the stream from its beginning, and let a copy of
            the model learn from each chunk once it is measured.
        ranks: processes that share the work, all of which call this; by default this one alone.

    Raises: ValueError if there is no such split, it is empty, the corpus has another vocabulary, or the evaluation is
        dynamic and the corpus is no stream.

    >>> from unrolled.lm import ModelConfig
    >>> corpus = Corpus.from_text("abcabcabc" * 20)
    >>> found = evaluate(SequenceModel(ModelConfig(hidden_size=5), corpus.vocabulary, framed=False), corpus)
    >>> found.symbols, round(found.perplexity)  # untrained: about V = 5 equally likely symbols
    (8, 5)
    """
    check_value("split", split, str)
    check_value("max_symbols", max_symbols, PositiveInt | None)
    check_value("max_seconds", max_seconds, NonNegative | None)
    if split not in corpus.splits or not len(corpus.splits[split]):
        there = ", ".join(name for name, part in corpus.splits.items() if len(part))
        raise ValueError(f"the corpus has no symbols to evaluate on in split {split!r}; it has {there}")
    if corpus.vocabulary != model.vocabulary:
        raise ValueError(f"the corpus is read as {corpus.vocabulary}, the model knows {model.vocabulary}")
    part = corpus.splits[split]
    if dynamic and not corpus.stream:
        raise ValueError("dynamic evaluation reads one stream from its beginning; this corpus is sequences")
    rows = lanes(len(part.ids)) if corpus.stream else ROWS
    steps, learner = max(1, min(CHUNK, CHUNK_LOGITS // (rows * len(model.vocabulary)))), None
    if dynamic:
        rows, steps, learner = 1, dynamic_evaluation.CHUNK, dynamic_evaluation.DynamicModel(model)
        model = learner.model
    nats, right, symbols, exact, sequences, state = 0.0, 0, 0, 0, 0, None
    most = part.predicted if max_symbols is None else max_symbols
    until = math.inf if max_seconds is None else time.monotonic() + max_seconds
    if not corpus.stream and part.predicted > most:
        part = part.thinned(-(-part.predicted // most))
    with torch.inference_mode(not dynamic), torch.no_grad(), model.evaluating():
        for batch in one_epoch(part, corpus.stream, rows, steps, shuffle=max_seconds is not None, share=ranks.share):
            before = None if batch.reset else state
            counted = batch.targets != IGNORED  # (T, B)
            of_target, likeliest, state = _predicted(model, batch, before)
            hits = likeliest & counted
            nats -= float(of_target[counted].double().sum())
            right += int(hits.sum())
            symbols += batch.N
            exact += int(((hits | ~counted).all(0) & counted.any(0)).sum())
            sequences += int(counted.any(0).sum())
            if learner:
                learner.learn(batch, before)
            over = max_seconds is not None and ranks.told(time.monotonic() >= until)
            if over or (corpus.stream and symbols >= most):
                break
    nats, hit, whole, among = ranks.sum(nats, right, exact, sequences)
    return Evaluation(
        split,
        symbols,
        nats / symbols,
        hit / symbols,
        corpus.unk_rate(split),
        None if corpus.stream else whole / among,
        None if corpus.stream else _exact_bound(part),
    )


def affordable(model: SequenceModel, symbols: int) -> int:
    """Return how many symbols a measurement in a run reads: so many, or fewer where each takes a large head.

    >>> from unrolled.lm import ModelConfig, Vocabulary
    >>> affordable(SequenceModel(ModelConfig(hidden_size=5), Vocabulary("ab")), 500_000)
    500000
    """
    return min(symbols, max(LEAST, int(WORK / (len(model.vocabulary) * model.config.hidden_size))))


def _predicted(model: SequenceModel, batch: Batch, state: State | None) -> tuple[Tensor, Tensor, State]:
    """Return log p of each target, whether it is the likeliest symbol, each (T, B), and the state afterwards.

    Logits are made LOGITS at a time, unless the model makes them in a way of its own, or has hooks.
    """
    if model.as_made and not is_hooked(model):
        x, after = model.outputs(batch.ids, state, batch.lengths)
        rows = max(1, LOGITS // len(model.vocabulary))
        parts = zip(torch.split(x.flatten(0, 1), rows), torch.split(batch.targets.flatten(), rows), strict=True)
        each = [_of_targets(model.head(part), targets) for part, targets in parts]
        of_target, likeliest = (torch.cat(found).view(batch.targets.shape) for found in zip(*each, strict=True))
        return of_target, likeliest, after
    logits, after = model(batch.ids, state, batch.lengths)
    return *_of_targets(logits, batch.targets), after


def _of_targets(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return log p of each target and whether it is the likeliest; logits (..., V), targets (...)."""
    of_target = log_softmax(logits, -1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return of_target, logits.argmax(-1) == targets


def _exact_bound(part: Sequences) -> float:
    """Return the largest share of sequences that deterministic predictions can follow, the first symbol being given."""
    best: dict[int, int] = {}
    for (first, _), count in Counter((int(ids[0]), ids.tobytes()) for ids in part).items():
        best[first] = max(best.get(first, 0), count)
    return sum(best.values()) / len(part)
