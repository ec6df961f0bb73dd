"""The space of states: its principal axes, its clusters, and the automaton that they make.

A network that has learned a regular language visits a few regions of its state space, and moves between them as a
finite automaton does.

N states, H hidden, K clusters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unrolled.config.checks import PositiveInt, Seed, check_value

if TYPE_CHECKING:
    from unrolled.views.traces import TextTrace

Array = NDArray[Any]

#: Runs of k-means from different starts, and the most iterations of each.
STARTS, ROUNDS = 10, 100


@dataclass(frozen=True)
class Principal:
    """The principal axes of a set of states.

    Attributes:
        mean: Mean of the states, (H,).
        axes: Orthonormal, sorted by the variance along them, (K, H).
        share: Share of the total variance, (K,).
    """

    mean: Array
    axes: Array
    share: Array

    def __call__(self, states: Array) -> Array:
        """Return the coordinates of states (N, H) along the axes, (N, K)."""
        coordinates: Array = (states - self.mean) @ self.axes.T
        return coordinates


@dataclass(frozen=True)
class Automaton:
    """The transitions between clusters of a network's states.

    Attributes:
        centres: Centres of the clusters, (K, H).
        labels: The cluster of each state, one (T,) for each text.
        start: The cluster of the state before the first symbol.
        steps: (cluster, symbol) -> how often each cluster came next.
        agreement: Share of steps that take the most frequent transition of their cluster and symbol; 1 if the
            clusters are a deterministic automaton.
    """

    centres: Array
    labels: tuple[NDArray[np.int64], ...]
    start: int
    steps: dict[tuple[int, str], Counter[int]]
    agreement: float

    def next(self, cluster: int, symbol: str) -> int | None:
        """Return the cluster that most often came next, or None if the symbol was never read there."""
        came = self.steps.get((cluster, symbol))
        return came.most_common(1)[0][0] if came else None


def principal(states: Array, count: int = 2) -> Principal:
    """Return the first principal axes of states (N, H), by one singular value decomposition.

    The sign of each axis makes its largest component positive, so that pictures of two runs are not mirrored.

    >>> found = principal(np.array([[0.0, 0.0], [2.0, 2.0], [4.0, 4.0]]), 1)
    >>> found.mean.tolist(), found.share.round(3).tolist(), found.axes.round(3).tolist()
    ([2.0, 2.0], [1.0], [[0.707, 0.707]])
    """
    check_value("count", count, PositiveInt)
    mean = states.mean(0, dtype=float)
    _, sizes, axes = np.linalg.svd(states - mean, full_matrices=False)
    axes, variance = axes[:count], sizes**2
    largest = np.take_along_axis(axes, np.abs(axes).argmax(1)[:, None], 1)
    return Principal(mean, axes * np.where(largest < 0, -1, 1), variance[:count] / max(variance.sum(), 1e-300))


def clusters(states: Array, count: int, *, seed: int = 0) -> tuple[Array, NDArray[np.int64]]:
    """Return the centres (K, H) and labels (N,) of a k-means clustering, the best of ten starts.

    Args:
        states: (N, H).
        count: K; fewer are found if there are fewer different states.
        seed: of the choice of initial centres (k-means++).

    Raises: ValueError if count is below 1.

    >>> centres, labels = clusters(np.array([[0.0], [0.1], [5.0], [5.1]]), 2)
    >>> sorted(centres.round(2).ravel().tolist()), bool(labels[0] == labels[1] != labels[2])
    ([0.05, 5.05], True)
    """
    check_value("count", count, PositiveInt)
    check_value("seed", seed, Seed)
    random = np.random.default_rng(seed)
    states = np.asarray(states, float)
    found = [_lloyd(states, _first_centres(states, count, random)) for _ in range(STARTS)]
    _, centres, labels = min(found, key=lambda each: each[0])
    return centres, labels


def automaton(reads: Sequence[TextTrace], count: int, *, layer: int = -1, seed: int = 0) -> Automaton:
    """Cluster the hidden states of some texts and count the transitions between clusters for each symbol.

    Args:
        reads: traces of texts, each from the model's initial state.
        count: K, the number of clusters.
        layer: the layer whose states are clustered.
        seed: of the clustering.

    Raises: ValueError if there is no trace or one leaves out steps, count is below 1, or there is no such layer.

    >>> from unrolled.lm import ModelConfig, SequenceModel, Vocabulary
    >>> from unrolled.views.traces import trace
    >>> model = SequenceModel(ModelConfig(cell="rnn", hidden_size=3), Vocabulary("ab"))
    >>> found = automaton([trace(model, list("abab"))], 2)
    >>> len(found.labels[0]), 0 < found.agreement <= 1
    (4, True)
    """
    if not reads:
        raise ValueError("no text was traced; give at least one")
    for read in reads:
        read.expect_all_steps("clusters of states need")
    states = [_all_states(read, layer) for read in reads]
    centres, labels = clusters(np.concatenate(states), count, seed=seed)
    steps: dict[tuple[int, str], Counter[int]] = {}
    ends = np.cumsum([len(each) for each in states])
    by_text = np.split(labels, ends[:-1])
    for read, path in zip(reads, by_text, strict=True):
        for before, symbol, after in zip(path[:-1], read.symbols, path[1:], strict=True):
            steps.setdefault((int(before), symbol), Counter())[int(after)] += 1
    likely = sum(came.most_common(1)[0][1] for came in steps.values())
    whole = sum(came.total() for came in steps.values())
    return Automaton(centres, tuple(path[1:] for path in by_text), int(labels[0]), steps, likely / whole)


def _all_states(read: TextTrace, layer: int) -> Array:
    """Return the state before the first symbol and after each, (T + 1, H)."""
    h = read.values("h", layer)
    return np.concatenate([read.layers[layer].h_prev[:1], h])


def _first_centres(states: Array, count: int, random: np.random.Generator) -> Array:
    """Choose initial centres, each with a probability in proportion to its squared distance (k-means++)."""
    centres = [states[random.integers(len(states))]]
    nearest = ((states - centres[0]) ** 2).sum(1)
    while len(centres) < count and nearest.sum() > 0:
        centres.append(states[random.choice(len(states), p=nearest / nearest.sum())])
        nearest = np.minimum(nearest, ((states - centres[-1]) ** 2).sum(1))
    return np.array(centres)


def _lloyd(states: Array, centres: Array) -> tuple[float, Array, NDArray[np.int64]]:
    """Run Lloyd's algorithm until no label changes; return the squared error, the centres and the labels."""
    labels = np.full(len(states), -1)
    for _ in range(ROUNDS):
        distances = (states**2).sum(1)[:, None] - 2 * states @ centres.T + (centres**2).sum(1)  # (N, K)
        before, labels = labels, distances.argmin(1)
        if np.array_equal(before, labels):
            break
        for k in range(len(centres)):
            if (labels == k).any():
                centres[k] = states[labels == k].mean(0)
    return float(((states - centres[labels]) ** 2).sum()), centres, labels
