"""Torch models as predictors, which :mod:`unrolled.languages.metrics` measures: one model, or S models of one shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from unrolled.lab.replicas import Replicas
from unrolled.languages.judging import Array, Floats, Ids
from unrolled.languages.language import Language
from unrolled.languages.metrics import scan, smallest_failing
from unrolled.lm.model import SequenceModel

#: Strings tried of a size, at most.
TRIED = 10
#: Models that read the same strings in one call.
TOGETHER = 4


class ModelPredictor:
    """One :class:`unrolled.lm.SequenceModel`; its scores are its logits.

    >>> from unrolled.config.model import ModelConfig
    >>> from unrolled.saved.vocabulary import Vocabulary
    >>> predictor = ModelPredictor(SequenceModel(ModelConfig(hidden_size=3), Vocabulary("ab")))
    >>> scores, state = predictor.advance(np.array([[0], [1]]), predictor.start(1))
    >>> scores.shape
    (2, 1, 4)
    """

    def __init__(self, model: SequenceModel) -> None:
        self.model, self.vocabulary = model, model.vocabulary

    def start(self, B: int) -> None:
        """Return None, which stands for the model's initial state."""

    def advance(self, ids: Ids, state: Any) -> tuple[Array, Any]:
        """Read ids (T, B); return the logits (T, B, V) and the state."""
        with torch.inference_mode(), self.model.evaluating():
            logits, state = self.model(torch.from_numpy(ids), state)
        return logits.numpy(), state


class ReplicasPredictor:
    """S models of one shape, each one layer that reads symbols one-hot; their scores are (S, T, B, V).

    >>> from unrolled.lab.golden import golden
    >>> models = [golden("anbn"), golden("anbn")]
    >>> scores, _ = ReplicasPredictor(models).advance(np.array([[0], [1]]), None)
    >>> np.allclose(scores[1], ModelPredictor(models[1]).advance(np.array([[0], [1]]), None)[0])
    True
    """

    def __init__(self, models: Sequence[SequenceModel]) -> None:
        self.vocabulary = models[0].vocabulary
        self.kind = models[0].config.kind
        by_name = zip(*(model.rnn.weights()[0] for model in models), strict=True)
        self.weights = [torch.stack(each).detach() for each in by_name if each[0] is not None]
        self.head = torch.stack([model.head.weight.detach() for model in models])[:, None]  # (S, 1, V, H)
        self.bias = torch.stack([model.head.bias.detach() for model in models])[:, None, None]

    def start(self, B: int) -> None:
        """Return None, which stands for a state of zeros."""

    def advance(self, ids: Ids, state: Any) -> tuple[Array, Any]:
        """Read ids (T, B); return the logits (S, T, B, V), and the replicas, which hold their states."""
        T, B = ids.shape
        replicas: Replicas = state if state and state.T >= T else Replicas(self.kind, self.weights, T, B)
        if state:
            replicas.h_0.copy_(state.h_n)
            replicas.c_0.copy_(state.c_n)
        replicas.ids[:, :T] = torch.from_numpy(ids)
        replicas.forward(T)
        return (replicas.y[:, :T] @ self.head.transpose(2, 3) + self.bias).numpy(), replicas


class JoinedPredictor:
    """Several predictors of models as one, whose scores are joined along S: they read the same strings, drawn once."""

    def __init__(self, parts: Sequence[ReplicasPredictor]) -> None:
        self.parts = parts
        self.vocabulary = parts[0].vocabulary

    def start(self, B: int) -> list[None]:
        """Return the state of each part, None for zeros."""
        return [None] * len(self.parts)

    def advance(self, ids: Ids, state: Any) -> tuple[Array, Any]:
        """Read ids (T, B); return the logits (S, T, B, V), and the state of each part."""
        scores, after = zip(*(part.advance(ids, s) for part, s in zip(self.parts, state, strict=True)), strict=True)
        return np.concatenate(scores), after


def margins(models: Sequence[SequenceModel], language: Language, sizes: Sequence[int], criterion: str) -> Floats:
    """Return the least margin of each model at each size, (S, N): above 0, all strings tried of that size are right.

    >>> from unrolled.languages import get
    >>> from unrolled.lab.golden import golden
    >>> (margins([golden("anbn", "lstm")], get("anbn"), [1, 70], "sets") > 0).tolist()
    [[True, True]]
    """
    parts = [ReplicasPredictor(models[k : k + TOGETHER]) for k in range(0, len(models), TOGETHER)]
    return scan(JoinedPredictor(parts), language, sizes, criterion, strings=TRIED)


def first_failing_sizes(
    models: Sequence[SequenceModel], language: Language, limit: int, criterion: str
) -> list[int | None]:
    """Return for each model the smallest size with a wrong string; None if all sizes up to the limit are right.

    >>> from unrolled.languages import get
    >>> from unrolled.lab.golden import golden
    >>> first_failing_sizes([golden("anbn", "lstm")], get("anbn"), 100, "sets")
    [None]
    """
    sizes = [n for n in range(1, limit + 1) if language.has(n) and language.length(n)]
    failing = smallest_failing(
        lambda left, block: margins([models[s] for s in left], language, block, criterion), len(models), sizes
    )
    return [n or None for n in failing]
