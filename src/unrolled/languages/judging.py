"""Judge a model's scores against the legal symbols, many strings at a time, in chunks that carry the state on.

B strings read together, T time, V vocabulary.  The first symbol of a string is given; the predictions of all others and
of EOS are judged.  With a start mark the model reads EOS first, and the first symbol is judged too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from unrolled.config.checks import check_value
from unrolled.languages.language import Run
from unrolled.saved.vocabulary import Vocabulary

#: Symbols read at once, of all strings together; bounds the memory, however long the strings.
CHUNK = 1 << 18
#: The probability above which Weiss et al. 2018 accept a symbol.
ACCEPTED = 0.01

Array = npt.NDArray[Any]
Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Predictor(Protocol):
    """Anything that reads symbols and scores the next one: one model, or S models reading the same strings.

    :mod:`unrolled.lab.predictors` has those of torch models.
    """

    vocabulary: Vocabulary

    def start(self, B: int) -> Any:
        """Return the state of B rows before the first symbol."""

    def advance(self, ids: Ids, state: Any) -> tuple[Array, Any]:
        """Read ids (T, B); return the scores of the symbol after each, (T, B, V) or (S, T, B, V), and the state."""


# A criterion defines "right" at one position by a margin: right if above zero.  Scores are (..., V), legal is
# (T, B, V), targets are (T, B); the margin is (...).  A NaN score is never right.


def _least(values: Array) -> Array:
    return reduce(np.minimum, np.moveaxis(values, -1, 0))  # much faster than min(-1) over a few symbols


def _largest(values: Array) -> Array:
    return reduce(np.maximum, np.moveaxis(values, -1, 0))


def _sets(scores: Array, legal: Array, targets: Array) -> Array:
    return _least(np.where(legal, scores, np.inf)) - _largest(np.where(legal, -np.inf, scores))


def _argmax(scores: Array, legal: Array, targets: Array) -> Array:
    return _largest(np.where(legal, scores, -np.inf)) - _largest(np.where(legal, -np.inf, scores))


def _khot(scores: Array, legal: Array, targets: Array) -> Array:
    return _least(np.where(legal, scores, -scores))


def _accepts(scores: Array, legal: Array, targets: Array) -> Array:
    return np.exp(_log_probability(scores, targets)) - ACCEPTED


def _log_probability(scores: Array, targets: Array) -> Floats:
    """Return log softmax(scores) of the targets."""
    shifted = scores.astype(np.float64) - _largest(scores)[..., None]
    index = np.broadcast_to(targets, scores.shape[:-1])[..., None]
    of_target: Floats = np.take_along_axis(shifted, index, -1)[..., 0] - np.log(np.exp(shifted).sum(-1))
    return of_target


#: What "right" may mean.
#:
#: - ``sets``, for a softmax: every legal symbol scores above every illegal one.
#: - ``argmax``, for a softmax: the most probable symbol is legal, so where one symbol is forced, it is that one.
#: - ``khot``, for sigmoids: the symbols with p > 0.5, that is, with a score above 0, are the legal ones.
#: - ``accepts``, for a softmax: the next symbol of the string has p > 0.01.  Source: Weiss et al. 2018.  It does not
#:   show which illegal symbols the model would accept too.
CRITERIA: dict[str, Callable[[Array, Array, Array], Array]] = {
    "sets": _sets,
    "argmax": _argmax,
    "khot": _khot,
    "accepts": _accepts,
}


class Marked:
    """One string as ids with the legal symbols at each position, as runs: a^n b^n takes the same memory for every n.

    Args:
        runs: from :meth:`Language.runs`.
        vocabulary: of the model that will read the string.
        start_mark: whether the model reads EOS before the string.

    Raises: ValueError if the vocabulary lacks a symbol.
    """

    def __init__(self, runs: Sequence[Run], vocabulary: Vocabulary, *, start_mark: bool = False) -> None:
        index = {symbol: k for k, symbol in enumerate(vocabulary.names)}
        kinds = {legal: k for k, legal in enumerate(dict.fromkeys(legal for _, legal, _ in runs))}
        lacking = set().union(*kinds) - {*index}
        if lacking:
            raise ValueError(f"the model's vocabulary ({vocabulary}) lacks {', '.join(sorted(lacking))}")
        self.ids = np.array([index[symbol] for symbol, _, _ in runs])
        rows = np.array([[name in legal for name in vocabulary.names] for legal in kinds])
        self.legal = rows[[kinds[legal] for _, legal, _ in runs]]  # (runs, V)
        self.ends = np.cumsum([count for _, _, count in runs])
        self.eos_id = vocabulary.eos_id
        self.first = 0 if start_mark else 1

    def __len__(self) -> int:
        """Return the number of predictions judged."""
        return int(self.ends[-1]) - self.first

    def part(self, start: int, stop: int) -> tuple[Ids, Ids, npt.NDArray[np.bool_]]:
        """Return the inputs (T,), targets (T,) and legal symbols (T, V) of predictions start to stop.

        T is stop - start, or less at the end of the string.
        """
        positions = np.arange(start, min(stop, len(self))) + self.first
        targets = np.searchsorted(self.ends, positions, side="right")
        inputs = self.ids[np.searchsorted(self.ends, positions - 1, side="right")]
        if start + self.first == 0 and len(inputs):
            inputs[0] = self.eos_id
        return inputs, self.ids[targets], self.legal[targets]


@dataclass(frozen=True)
class Judged:
    """What a predictor achieved on B strings; with a leading axis S if the predictor is several models.

    Attributes:
        margins: For each criterion the least margin over the string, (..., B); right if above 0.
        nats: Sum of -log softmax(scores)[symbol] over the predictions, (..., B); 0 if not measured.
        hits: Number of predictions whose most probable symbol was the next one, (..., B); 0 if not measured.
        predictions: Number of predictions, (B,).
    """

    margins: dict[str, Floats]
    nats: Floats
    hits: Floats
    predictions: Ids


def judge(
    predictor: Predictor, strings: Sequence[Marked], criteria: Sequence[str] = ("sets",), *, measured: bool = False
) -> Judged:
    """Read strings together, in chunks, and compare every prediction with what is legal there.

    Args:
        predictor: one model or several.
        strings: preferably of similar lengths.
        criteria: what "right" means, names in :data:`CRITERIA`.
        measured: also sum up nats and hits; otherwise reading stops once every string is wrong by every criterion.

    Raises: ValueError if there is no such criterion.
    """
    for criterion in criteria:
        check_value("criterion", criterion, str)
        if criterion not in CRITERIA:
            raise ValueError(f"criterion is {criterion!r}; it must be one of {', '.join(CRITERIA)}")
    B, T = len(strings), max(1, CHUNK // len(strings))
    margins: dict[str, Floats] = dict.fromkeys(criteria, np.array(np.inf))
    nats, hits = np.zeros(()), np.zeros(())
    state = predictor.start(B)
    for inputs, targets, legal, inside in _chunks(strings, T):
        scores, state = predictor.advance(inputs, state)
        for criterion in criteria:
            margin = CRITERIA[criterion](scores, legal, targets).astype(np.float64)
            least = np.where(inside, margin, np.inf).min(-2)  # over T; NaN stays NaN
            margins[criterion] = np.minimum(least, margins[criterion])
        if measured:
            nats = nats - np.where(inside, _log_probability(scores, targets), 0.0).sum(-2)
            hits = hits + (inside & (scores.argmax(-1) == targets)).sum(-2)
        elif not any((margin > 0).any() for margin in margins.values()):
            break
    return Judged(margins, nats, hits, np.array([len(string) for string in strings]))


def _chunks(strings: Sequence[Marked], T: int) -> Iterator[tuple[Ids, Ids, Array, Array]]:
    """Yield inputs (T, B), targets (T, B), legal (T, B, V) and which positions are inside their string, (T, B)."""
    longest, V = max(map(len, strings)), strings[0].legal.shape[1]
    for start in range(0, longest, T):
        steps = min(T, longest - start)
        inputs = np.full((steps, len(strings)), strings[0].eos_id)
        targets = inputs.copy()
        legal = np.zeros((steps, len(strings), V), bool)
        inside = np.zeros((steps, len(strings)), bool)
        for b, string in enumerate(strings):
            x, y, allowed = string.part(start, start + steps)
            inputs[: len(x), b], targets[: len(x), b], legal[: len(x), b], inside[: len(x), b] = x, y, allowed, True
        yield inputs, targets, legal, inside
