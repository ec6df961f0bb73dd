"""Checkpoint selection by strings a little longer than those of training, at most twice as long."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from unrolled.config.lab import LabConfig
from unrolled.lab.predictors import margins
from unrolled.lab.training import Callback, at_points
from unrolled.languages.language import Language
from unrolled.languages.lengths import Lengths
from unrolled.lm.model import SequenceModel


class CheckpointSelection:
    """Keeps the weights of the best checkpoint of each model.

    The best checkpoint is right at the most sizes beyond training, up to `config.choose_up_to`; among equally good ones
    it is the one whose least margin is largest.

    Args:
        models: trained in place.
        language: whose strings are tried.
        config: of the training; with `choose_up_to` 0 nothing is selected.
        criterion: what right means.
    """

    def __init__(self, models: Sequence[SequenceModel], language: Language, config: LabConfig, criterion: str):
        self.models, self.language, self.config, self.criterion = models, language, config, criterion
        beyond = range(Lengths(config.lengths).longest + 1, config.choose_up_to + 1)
        self._sizes = [n for n in beyond if language.has(n)]
        self._best: list[tuple[tuple[int, float], dict[str, Tensor]] | None] = [None] * len(models)

    def callback(self, then: Callback | None) -> Callback | None:
        """Return the callback for `train`: it evaluates the checkpoint, then calls `then`."""
        return at_points(self._evaluate, self.config.steps, then) if self._sizes else then

    def _evaluate(self, step: int) -> None:
        found = margins(self.models, self.language, self._sizes, self.criterion)  # (S, N)
        for s, own in enumerate(found):
            score = int(np.sum(own > 0)), float(own.min())
            best = self._best[s]
            if best is None or score >= best[0]:
                self._best[s] = score, {name: w.clone() for name, w in self.models[s].state_dict().items()}

    @torch.no_grad()
    def restore(self) -> None:
        """Give each model the weights of its best checkpoint."""
        for model, best in zip(self.models, self._best, strict=True):
            if best:
                model.load_state_dict(best[1])
