"""Measuring S nets at once, by the judges of the languages: nothing here says what right means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.lab.replicas import WEIGHTS, Replicas
from unrolled.languages.language import Language
from unrolled.languages.metrics import kth_failing, scan
from unrolled.lm.model import SequenceModel
from unrolled.notation import stored_name

#: Strings that are tried of a size that has many.
TRIED = 10
#: Nets that read together.
TOGETHER = 4


class NetsPredictor:
    """S models of one shape as one predictor: their scores are (S, T, B, V).

    >>> from unrolled.config.model import ModelConfig
    >>> from unrolled.saved.vocabulary import Vocabulary
    >>> model = SequenceModel(ModelConfig(hidden_size=3), Vocabulary("ab"))
    >>> ids = torch.tensor([[0], [1]])
    >>> scores, _ = NetsPredictor([model, model]).advance(ids, None)
    >>> torch.allclose(scores[1], model(ids)[0])
    True
    """

    def __init__(self, models: Sequence[SequenceModel]):
        self.vocabulary = models[0].vocabulary
        self.kind = models[0].rnn.kind
        names = [stored_name(weight) for weight in WEIGHTS]
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


def margins(models: Sequence[SequenceModel], language: Language, sizes: Sequence[int], reading: str) -> NDArray[Any]:
    """Return the least margin of each model at each size, (S, N): above 0 all strings tried of that size are right.

    >>> from unrolled.languages import get
    >>> from unrolled.lab.golden import golden
    >>> (margins([golden("anbn", "lstm")], get("anbn"), [1, 70], "sets") > 0).tolist()
    [[True, True]]
    """
    groups = [NetsPredictor(models[k : k + TOGETHER]) for k in range(0, len(models), TOGETHER)]
    return np.concatenate([scan(group, language, sizes, reading, strings=TRIED) for group in groups])


def first_failing(models: Sequence[SequenceModel], language: Language, up_to: int, reading: str) -> list[int | None]:
    """Return, for each model, the smallest size with a string it gets wrong; None if all up to `up_to` are right.

    Sizes are tried in ascending order and none is left out; a model that has failed reads no further.

    >>> from unrolled.languages import get
    >>> from unrolled.lab.golden import golden
    >>> first_failing([golden("anbn", "lstm")], get("anbn"), 100, "sets")
    [None]
    """
    failing = [0] * len(models)
    for sizes in _runs([n for n in range(1, up_to + 1) if language.has(n) and language.length(n)]):
        left = [s for s, n in enumerate(failing) if not n]
        if not left:
            break
        found = kth_failing(margins([models[s] for s in left], language, sizes, reading), sizes)
        for s, n in zip(left, found.tolist(), strict=True):
            failing[s] = n
    return [n or None for n in failing]


def _runs(sizes: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield the sizes in runs, the first ones short: a net that learned nothing is done with soon."""
    low, width = 0, 8
    while low < len(sizes):
        yield sizes[low : low + width]
        low, width = low + width, min(2 * width, 64)
