"""Measuring S nets at once on one language: the first size that fails, shares of strings exactly right, cross-entropy.

What right means at a place is for :mod:`unrolled.languages.judging` to say; here are strings and sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.languages.judging import CHUNK, Judged, Marked, judge
from unrolled.languages.language import Language
from unrolled.languages.lengths import Lengths
from unrolled.lm.model import SequenceModel
from unrolled.nn.replicas import Replicas
from unrolled.notation import parameter_names

#: Strings that are tried of a size that has many.
TRIED = 10
#: Nets that read together.
TOGETHER = 16


class NetsPredictor:
    """S models of one shape as one predictor: their scores are (S, T, B, V).

    >>> from unrolled.lm.config import ModelConfig
    >>> from unrolled.lm.vocabulary import Vocabulary
    >>> model = SequenceModel(ModelConfig(hidden_size=3), Vocabulary("ab"))
    >>> ids = torch.tensor([[0], [1]])
    >>> scores, _ = NetsPredictor([model, model]).advance(ids, None)
    >>> torch.allclose(scores[1], model(ids)[0])
    True
    """

    def __init__(self, models: Sequence[SequenceModel]):
        self.vocabulary = models[0].vocabulary
        self.kind = models[0].rnn.kind
        names = parameter_names(0, False, bias=True, projection=False)
        self.weights = [torch.stack([getattr(model.rnn, name).detach() for model in models]) for name in names]
        self.head = torch.stack([model.head.weight.detach() for model in models])[:, None]  # (S, 1, V, H)
        self.bias = torch.stack([model.head.bias.detach() for model in models])[:, None, None]

    def start(self, B: int) -> None:
        """Return None: a net that has read nothing is in the state of zeros."""

    def advance(self, ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Read ids (T, B) in every net; return the logits (S, T, B, V), and the nets, which hold their states."""
        T, B = ids.shape
        nets: Replicas = state if state and state.T >= T else Replicas(self.kind, self.weights, T, B)
        if state:
            nets.h_0.copy_(state.h_n)
            nets.c_0.copy_(state.c_n)
        nets.ids[:, :T] = ids
        nets.forward(T)
        return nets.y[:, :T] @ self.head.transpose(2, 3) + self.bias, nets


class Measure:
    """Strings of one language, ready to be shown to nets.

    Args:
        language: whose oracle decides.
        reading: what right means, from :data:`unrolled.languages.judging.READINGS`.
        seed: of the strings that are drawn where a size has many.

    >>> from unrolled.languages.registry import get
    >>> from unrolled.lm.config import ModelConfig
    >>> model = SequenceModel(ModelConfig(hidden_size=3), get("anbn").vocabulary)
    >>> measure = Measure(get("anbn"), "sets")
    >>> measure.first_failing([model, model], 20)
    [1, 1]
    """

    def __init__(self, language: Language, reading: str, seed: int = 0):
        self.language, self.reading, self.seed = language, reading, seed
        self._sizes: dict[int, list[Marked]] = {}

    def of_size(self, n: int) -> list[Marked]:
        """Return all strings of size n if they are few, else ten that are drawn at random; none if there is none."""
        if n not in self._sizes:
            there = self.language.has(n) and self.language.length(n)
            probes = self.language.probes(np.random.default_rng([self.seed, n]), n, TRIED) if there else []
            self._sizes[n] = [Marked(runs, self.language.vocabulary) for runs in probes]
        return self._sizes[n]

    def fresh(self, lengths: Lengths, count: int) -> list[Marked]:
        """Return strings drawn from a distribution of sizes."""
        rng = np.random.default_rng([self.seed, 1])
        drawn = (self.language.sample(rng, lengths) for _ in range(count))
        return [Marked(list(self.language.runs(string)), self.language.vocabulary) for string in drawn]

    def on(self, models: Sequence[SequenceModel], strings: Sequence[Marked], *, measured: bool = False) -> Judged:
        """Judge S nets on N strings; margins, nats and hits are (S, N)."""
        groups = [models[k : k + TOGETHER] for k in range(0, len(models), TOGETHER)]
        return _stacked([self._on(NetsPredictor(group), strings, measured) for group in groups])

    def _on(self, predictor: NetsPredictor, strings: Sequence[Marked], measured: bool) -> Judged:
        parts = [judge(predictor, batch, [self.reading], measured=measured) for batch in _batches(strings)]
        return _stacked(parts, axis=1)

    def right(self, models: Sequence[SequenceModel], strings: Sequence[Marked]) -> NDArray[np.bool_]:
        """Return which of N strings each of S nets gets right from end to end, (S, N)."""
        return self.on(models, strings).margins[self.reading] > 0

    def first_failing(self, models: Sequence[SequenceModel], up_to: int) -> list[int | None]:
        """Return, for each net, the smallest size with a string it gets wrong; None if all up to `up_to` are right.

        Sizes are tried in ascending order, none is left out.
        """
        failing: list[int | None] = [None] * len(models)
        left = list(range(len(models)))
        for sizes in _ranges(up_to):
            strings = [(n, string) for n in sizes for string in self.of_size(n)]
            if not left or not strings:
                continue
            right = self.right([models[s] for s in left], [string for _, string in strings])
            for s, row in zip(left, right, strict=True):
                if not row.all():
                    failing[s] = strings[int(row.argmin())][0]
            left = [s for s in left if failing[s] is None]
        return failing


def _stacked(parts: Sequence[Judged], axis: int = 0) -> Judged:
    """Join what was judged in parts, over nets (axis 0) or over strings (axis 1)."""
    margins = {name: np.concatenate([p.margins[name] for p in parts], axis) for name in parts[0].margins}
    if parts[0].nats.ndim == 0:  # not asked for
        nats = hits = parts[0].nats
    else:
        nats, hits = (np.concatenate([getattr(p, name) for p in parts], axis) for name in ("nats", "hits"))
    predictions = np.concatenate([p.predictions for p in parts]) if axis else parts[0].predictions
    return Judged(margins, nats, hits, predictions)


def _ranges(up_to: int) -> Iterator[range]:
    """Yield the sizes 1 to `up_to` in runs, the first ones short: a net that learned nothing is done with soon."""
    low, width = 1, 8
    while low <= up_to:
        yield range(low, min(low + width, up_to + 1))
        low, width = low + width, min(2 * width, 64)


def _batches(strings: Sequence[Marked]) -> Iterator[Sequence[Marked]]:
    """Yield runs of strings that hold no more symbols than one chunk, padding included."""
    start = 0
    while start < len(strings):
        end, longest = start, 0
        while end < len(strings) and (end == start or max(longest, len(strings[end])) * (end - start + 1) <= CHUNK):
            longest = max(longest, len(strings[end]))
            end += 1
        yield strings[start:end]
        start = end
