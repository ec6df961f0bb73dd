"""Axes against eigenvectors of the covariance, clusters against the best partition, automata against a known one."""

from itertools import product

import numpy as np
import pytest
import torch

from tests.views.small_models import small
from unrolled.views.states import automaton, clusters, principal
from unrolled.views.traces import trace


def test_axes_are_the_eigenvectors_of_the_covariance():
    states = np.random.default_rng(0).normal(size=(41, 7)) @ np.diag([5, 3, 2, 1, 1, 0.5, 0.1])
    found = principal(states, 3)
    sizes, vectors = np.linalg.eigh(np.cov(states.T))
    for k in range(3):
        assert abs(found.axes[k] @ vectors[:, -1 - k]) == pytest.approx(1)
        assert found.share[k] == pytest.approx(sizes[-1 - k] / sizes.sum())
        assert found.axes[k][np.abs(found.axes[k]).argmax()] > 0
    np.testing.assert_allclose(found(states).mean(0), 0, atol=1e-12)


def squared_error(states, labels):
    return sum(((states[labels == k] - states[labels == k].mean(0)) ** 2).sum() for k in set(labels.tolist()))


def test_clusters_are_the_best_of_all_partitions():
    states = np.random.default_rng(1).normal(size=(9, 2))
    _, labels = clusters(states, 3)
    best = min(squared_error(states, np.array(each)) for each in product(range(3), repeat=9))
    assert squared_error(states, labels) == pytest.approx(best)


def test_clusters_of_the_same_seed_are_the_same():
    states = np.random.default_rng(2).normal(size=(50, 3))
    first, again = clusters(states, 4, seed=7), clusters(states, 4, seed=7)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])


def test_no_more_clusters_than_different_states():
    centres, labels = clusters(np.repeat([[0.0], [1.0]], 5, axis=0), 6)
    assert len(centres) == 2
    assert len(set(labels.tolist())) == 2


def parity():
    """A ReLU RNN that is exactly the parity of a: units [odd, even], rewritten at every symbol."""
    model = small("relu", hidden_size=4, symbols="ab")
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        # h = [odd before & a, odd before & b, even before & a, even before & b]
        odd, even = torch.tensor([0.0, 1, 1, 0]), torch.tensor([1.0, 0, 0, 1])
        model.rnn.weight_hh_l0.copy_(torch.stack([odd, odd, even, even]))
        model.rnn.weight_ih_l0[:, 0] = torch.tensor([0.0, -1, 0, -1])
        model.rnn.weight_ih_l0[:, 1] = torch.tensor([-1.0, 0, -1, 0])
    return model


def test_automaton_of_an_exact_parity_network_is_the_parity_automaton():
    model = parity()
    model.initial.append(torch.nn.Parameter(torch.tensor([1.0, 0, 0, 0], dtype=torch.float64).reshape(1, 1, 4)))
    texts = ["".join(each) for n in range(1, 6) for each in product("ab", repeat=n)]
    found = automaton([trace(model, text) for text in texts], 4)
    assert found.agreement == 1.0
    for text, labels in zip(texts, found.labels, strict=True):
        state = found.start
        for symbol, label in zip(text, labels, strict=True):
            state = found.next(state, symbol)
            assert state == label
    odd = {labels[-1] for text, labels in zip(texts, found.labels, strict=True) if text.count("a") % 2}
    even = {labels[-1] for text, labels in zip(texts, found.labels, strict=True) if text.count("a") % 2 == 0}
    assert not odd & even


def test_agreement_is_the_share_of_steps_that_take_the_most_frequent_transition():
    reads = [trace(small("gru"), "abcab" * 4)]
    found = automaton(reads, 2)
    path = [found.start, *found.labels[0].tolist()]
    likely = sum(found.next(path[t], symbol) == path[t + 1] for t, symbol in enumerate(reads[0].symbols))
    assert found.agreement == pytest.approx(likely / 20)
    assert found.next(0, "never read") is None


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m: automaton([], 3), "no text was traced"),
        (lambda m: automaton([trace(m, "ab")], 0), "count is 0"),
        (lambda m: automaton([trace(m, "ab")], 2, layer=3), "layer is 3; the model has layers 0 to 0"),
    ],
)
def test_automata_of_nothing_are_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call(small("rnn"))
