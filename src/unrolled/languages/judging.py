"""Right or wrong: a model's scores against the legal symbols, in chunks of many strings with the state carried on.

B strings side by side, T time, V vocabulary.  Judged are the predictions of a string's second symbol to its last and
of EOS; with a start mark the model reads EOS before the string, and the first symbol is judged too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import log_softmax, softmax

from unrolled.languages.language import Run
from unrolled.lm.model import SequenceModel
from unrolled.saved.vocabulary import Vocabulary

#: Symbols of all strings together that are read at once: what bounds the memory, whatever the length.
CHUNK = 1 << 18
#: The probability above which Weiss et al. 2018 let a symbol pass.
ACCEPTED = 0.01

Floats = npt.NDArray[np.float64]


class Predictor(Protocol):
    """Anything that reads symbols and scores the next one.

    One net, or S nets that read the same strings: then the scores have a first axis S.
    """

    vocabulary: Vocabulary

    def start(self, B: int) -> Any:
        """Return the state of B rows that have read nothing."""

    def advance(self, ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Read ids (T, B) int64; return the scores of what follows each, (T, B, V) or (S, T, B, V), and the state."""


class ModelPredictor:
    """A :class:`unrolled.lm.SequenceModel` as a predictor; its scores are its logits.

    >>> from unrolled.lm import ModelConfig
    >>> predictor = ModelPredictor(SequenceModel(ModelConfig(hidden_size=3), Vocabulary("ab")))
    >>> scores, state = predictor.advance(torch.tensor([[0], [1]]), predictor.start(1))
    >>> tuple(scores.shape)
    (2, 1, 4)
    """

    def __init__(self, model: SequenceModel) -> None:
        self.model, self.vocabulary = model, model.vocabulary

    def start(self, B: int) -> Any:
        """Return None, which the model takes for its initial state."""
        return None

    def advance(self, ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Read ids (T, B); return the logits (T, B, V) and the state."""
        with self.model.evaluating():
            return self.model(ids, state)  # type: ignore[no-any-return]


# A reading says what "right" means at one position, as a margin: right if it is above zero.  The scores are (..., V),
# legal is (T, B, V), targets are (T, B); the margin is (...).  A score that is not a number is never right.


def _sets(scores: Tensor, legal: Tensor, targets: Tensor) -> Tensor:
    return scores.masked_fill(~legal, torch.inf).amin(-1) - scores.masked_fill(legal, -torch.inf).amax(-1)


def _argmax(scores: Tensor, legal: Tensor, targets: Tensor) -> Tensor:
    return scores.masked_fill(~legal, -torch.inf).amax(-1) - scores.masked_fill(legal, -torch.inf).amax(-1)


def _khot(scores: Tensor, legal: Tensor, targets: Tensor) -> Tensor:
    return torch.where(legal, scores, -scores).amin(-1)


def _accepts(scores: Tensor, legal: Tensor, targets: Tensor) -> Tensor:
    index = targets.expand(scores.shape[:-1])[..., None]
    return softmax(scores, -1).gather(-1, index)[..., 0] - ACCEPTED


#: What "right" may mean.
#:
#: - ``sets``, for a softmax: every legal symbol is scored above every illegal one.
#: - ``argmax``, for a softmax: the likeliest symbol is legal, and so it is the forced one where one is forced.
#: - ``khot``, for sigmoids: the symbols with p > 0.5, which are those with a score above 0, are the legal ones.
#: - ``accepts``, for a softmax: the symbol that does come has p > 0.01.  Source: Weiss et al. 2018.  It says nothing of
#:   what else the net would let pass.
READINGS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "sets": _sets,
    "argmax": _argmax,
    "khot": _khot,
    "accepts": _accepts,
}


class Marked:
    """One string as ids with the legal symbols in each place, kept as runs: a^n b^n takes the same room for every n.

    Args:
        runs: as :meth:`Language.runs` gives them.
        vocabulary: of the model that is to read it.
        start_mark: whether the model reads EOS before the string.

    Raises: ValueError if the vocabulary lacks a symbol.
    """

    def __init__(self, runs: Sequence[Run], vocabulary: Vocabulary, *, start_mark: bool = False) -> None:
        index = {symbol: k for k, symbol in enumerate(vocabulary.names)}
        lacking = {symbol for _, legal, _ in runs for symbol in legal} - {*index}
        if lacking:
            raise ValueError(f"the model's vocabulary ({vocabulary}) lacks {', '.join(sorted(lacking))}")
        self.ids = np.array([index[symbol] for symbol, _, _ in runs])
        self.legal = np.array([[name in legal for name in vocabulary.names] for _, legal, _ in runs])  # (runs, V)
        self.ends = np.cumsum([count for _, _, count in runs])
        self.eos_id = vocabulary.eos_id
        self.first = 0 if start_mark else 1

    def __len__(self) -> int:
        """Return the number of predictions that are judged."""
        return int(self.ends[-1]) - self.first

    def part(self, start: int, stop: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Return what is read, what follows it and what may follow it, of the predictions from start to stop.

        Returns: inputs (T,), targets (T,), legal (T, V), where T ends with the string.
        """
        targets = np.searchsorted(self.ends, np.arange(start, min(stop, len(self))) + self.first, side="right")
        before = np.searchsorted(self.ends, np.arange(start, min(stop, len(self))) + self.first - 1, side="right")
        inputs = self.ids[before]
        if start + self.first == 0 and len(inputs):
            inputs[0] = self.eos_id
        return inputs, self.ids[targets], self.legal[targets]


@dataclass(frozen=True)
class Judged:
    """What a predictor made of B strings; the first axes are the predictor's, if it is several nets.

    Attributes:
        margins: For each reading the least margin over the string, (..., B); right if it is above 0.
        nats: Sum of -log softmax(scores)[symbol] over the predictions, (..., B), or empty if it was not asked for.
        hits: Predictions whose likeliest symbol came, (..., B), or empty.
        predictions: How many there were, (B,).
    """

    margins: dict[str, Floats]
    nats: Floats
    hits: Floats
    predictions: npt.NDArray[np.int64]


@torch.inference_mode()
def judge(
    predictor: Predictor, strings: Sequence[Marked], readings: Sequence[str] = ("sets",), *, measured: bool = False
) -> Judged:
    """Read strings side by side, in chunks, and compare every prediction with what is legal there.

    Args:
        predictor: one net or several.
        strings: what to read, best of similar lengths.
        readings: names of what "right" may mean, from :data:`READINGS`.
        measured: also sum up nats and hits; otherwise reading ends once every string is wrong in every reading.

    Returns: margins, and if measured nats and hits, for each string.
    Raises: ValueError if there is no such reading.
    """
    for reading in readings:
        if reading not in READINGS:
            raise ValueError(f"no reading is called {reading!r}; there are {', '.join(READINGS)}")
    B, T = len(strings), max(1, CHUNK // len(strings))
    margins: dict[str, Tensor | float] = dict.fromkeys(readings, torch.inf)
    nats: Tensor | float = 0.0
    hits: Tensor | float = 0.0
    state = predictor.start(B)
    for inputs, targets, legal, inside in _chunks(strings, T):
        scores, state = predictor.advance(inputs, state)
        for reading in readings:
            margin = READINGS[reading](scores, legal, targets).double()
            least = torch.where(inside, margin, torch.inf).amin(-2)  # over T; NaN stays NaN
            margins[reading] = torch.minimum(least, torch.as_tensor(margins[reading], dtype=torch.float64))
        if measured:
            index = targets.expand(scores.shape[:-1])
            of_target = log_softmax(scores, -1).gather(-1, index[..., None])[..., 0].double()
            nats = nats - torch.where(inside, of_target, 0.0).sum(-2)
            hits = hits + (inside & (scores.argmax(-1) == index)).double().sum(-2)
        elif not any((torch.as_tensor(margin) > 0).any() for margin in margins.values()):
            break
    return Judged(
        {reading: np.asarray(margin, np.float64) for reading, margin in margins.items()},
        np.asarray(nats, np.float64),
        np.asarray(hits, np.float64),
        np.array([len(string) for string in strings]),
    )


def _chunks(strings: Sequence[Marked], T: int) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Yield inputs (T, B), targets (T, B), legal (T, B, V) and which positions lie inside their string, (T, B)."""
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
        yield tuple(map(torch.from_numpy, (inputs, targets, legal, inside)))  # type: ignore[misc]
