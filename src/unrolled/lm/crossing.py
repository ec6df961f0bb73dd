"""The baseline that a run is to beat: counted beside it, and when the validation loss went below it."""

from __future__ import annotations

import threading
from typing import NamedTuple

from unrolled.corpus.baselines import Baseline, mark
from unrolled.corpus.corpus import Corpus
from unrolled.words import duration, rounded


class Crossed(NamedTuple):
    """The validation that first beat the baseline."""

    step: int
    seconds: float


class Crossing:
    """The strongest n-gram on the validation split, and the first validation that is better.

    The n-gram is counted in a thread of its own, so that no step waits for it; whatever goes wrong there, a run goes on
    without this line.

    Args: corpus: of the run.
    """

    def __init__(self, corpus: Corpus):
        self.baseline: Baseline | None = None
        self._validations: list[tuple[float, Crossed]] = []  # each with its bits per symbol
        self._thread = threading.Thread(target=self._count, args=(corpus,), daemon=True)
        if len(corpus.validation):
            self._thread.start()

    def _count(self, corpus: Corpus) -> None:
        try:
            self.baseline = mark(corpus, "validation")
        except Exception:  # such as no memory for the counts
            self.baseline = None

    def wait(self) -> None:
        """Wait until the n-gram is counted."""
        if self._thread.ident is not None:
            self._thread.join()

    def validated(self, bits: float, step: int, seconds: float) -> bool:
        """Record a validation loss, in bits per symbol; return whether it is the lowest so far."""
        lowest = not self._validations or bits < self._validations[-1][0]
        if lowest:  # no other can be the first below the baseline
            self._validations.append((bits, Crossed(step, seconds)))
        return lowest

    @property
    def crossed(self) -> Crossed | None:
        """The first validation below the baseline; None as long as there is none."""
        if self.baseline is None:
            return None
        below = self.baseline.bits_per_symbol
        return next((where for bits, where in list(self._validations) if bits < below), None)

    def __str__(self) -> str:
        if self.baseline is None:
            return ""
        name, crossed = f"{self.baseline.name} {rounded(self.baseline.bits_per_symbol, 3)}", self.crossed
        if crossed is None:
            return f"{name}: not yet crossed"
        return f"{name}: crossed at step {crossed.step:,} after {duration(crossed.seconds)}"
