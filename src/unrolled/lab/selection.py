"""Choosing each net's checkpoint by strings a little longer than those of training, and never by longer ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.config.lab import LabConfig
from unrolled.lab.measuring import margins
from unrolled.lab.training import Watch, is_point
from unrolled.languages.language import Language
from unrolled.languages.lengths import Lengths
from unrolled.lm.model import SequenceModel


class Choice:
    """The weights of each net at the best of its checkpoints.

    The best checkpoint is right at the most sizes beyond training, up to `config.choose_up_to`; among equals, the one
    whose least margin is largest.

    Args:
        models: that are trained in place.
        language: whose strings are tried.
        config: how they are trained; if it chooses nothing, neither does this.
        reading: what right means.
    """

    def __init__(self, models: Sequence[SequenceModel], language: Language, config: LabConfig, reading: str):
        self.models, self.language, self.config, self.reading = models, language, config, reading
        beyond = range(Lengths(config.lengths).longest + 1, config.choose_up_to + 1)
        self._sizes = [n for n in beyond if language.has(n)]
        self._best: list[tuple[tuple[int, float], dict[str, Tensor]] | None] = [None] * len(models)

    def before(self, watch: Watch | None) -> Watch | None:
        """Return what `train` is to call: this choice, then `watch`."""
        if not self._sizes:
            return watch

        def look(step: int, losses: NDArray[Any]) -> None:
            if is_point(step, self.config.steps):
                self._look()
            if watch:
                watch(step, losses)

        return look

    def _look(self) -> None:
        found = margins(self.models, self.language, self._sizes, self.reading)  # (S, N)
        for s, own in enumerate(found):
            score = int(np.sum(own > 0)), float(own.min())
            best = self._best[s]
            if best is None or score >= best[0]:
                self._best[s] = score, {name: w.clone() for name, w in self.models[s].state_dict().items()}

    @torch.no_grad()
    def take(self) -> None:
        """Give each net the weights of its best checkpoint."""
        for model, best in zip(self.models, self._best, strict=True):
            if best:
                model.load_state_dict(best[1])
