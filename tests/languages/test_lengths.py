"""Distributions of sizes: draws follow the distribution, wrong texts are refused in one sentence."""

import math

import numpy as np
import pytest

from unrolled.languages import Lengths, get


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("uniform:1-50", range(1, 51)),
        ("uniform:2-50/2", range(2, 51, 2)),
        ("uniform:3-3", [3]),
        ("short:1-9", range(1, 10)),
        ("list:5,1,2,2", [1, 2, 5]),
        ("geometric:1", [1]),
        ("geometric:0.5:0-3", range(4)),
    ],
)
def test_lengths_have_the_sizes_of_the_text(text, sizes):
    lengths = Lengths(text)
    assert lengths.sizes.tolist() == list(sizes)
    assert lengths.probabilities.sum() == pytest.approx(1)
    assert lengths.longest == max(sizes)
    assert lengths.probability(1000) == 0


@pytest.mark.parametrize("text", ["uniform:1-7", "short:1-7", "long:1-7", "u:1-7", "geometric:0.3", "list:1,1,4"])
def test_draws_follow_the_probabilities(text):
    lengths, rng = Lengths(text), np.random.default_rng(0)
    drawn = np.array([lengths.sample(rng) for _ in range(4000)])
    for n, p in lengths:
        assert (drawn == n).mean() == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 4000) + 1e-3)
    assert lengths.mean == pytest.approx(drawn.mean(), rel=0.1)


def test_shapes_are_beta_binomial():
    """Compare with the density of Suzgun et al. over the N + 1 sizes of a window."""
    g, N = math.gamma, 9
    for name, (a, b) in {"short": (1, 5), "long": (5, 1), "u": (0.25, 0.25)}.items():
        density = [
            g(N + 1) * g(a + k) * g(N + b - k) * g(a + b) / (g(k + 1) * g(N - k + 1) * g(a + b + N) * g(a) * g(b))
            for k in range(N + 1)
        ]
        assert Lengths(f"{name}:3-12").probabilities == pytest.approx(density)
    assert np.allclose(Lengths("short:1-50").probabilities, Lengths("long:1-50").probabilities[::-1])


def test_geometric_cuts_a_negligible_tail():
    lengths, p = Lengths("geometric:0.1"), 0.1
    entropy = -((1 - p) * math.log(1 - p) + p * math.log(p)) / p
    assert lengths.entropy == pytest.approx(entropy, rel=1e-9)
    assert lengths.mean == pytest.approx(1 / p, rel=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unifrm:1-50", "'unifrm' is not a distribution"),
        ("uniform", "'' is not a range"),
        ("uniform:50-1", "the range 50-1 is empty"),
        ("uniform:1-9/0", "step is 0"),
        ("uniform:1-", "'1-' is not a range"),
        ("uniform:0-99999999", "more than 1,000,000 sizes"),
        ("geometric:x", "'x' is not a number"),
        ("geometric:0", "must be in [0.0001, 1]"),
        ("list:1,-2", "not a list of whole numbers"),
        ("list:", "not a list of whole numbers"),
    ],
)
def test_unreadable_lengths_are_refused_with_an_example(text, message):
    with pytest.raises(ValueError, match="write, for example, uniform:1-50") as caught:
        Lengths(text)
    assert message in str(caught.value)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("anbn", "uniform:0-5", "anbn has no string of size 0; sizes near it: 1, 2, 3"),
        ("tomita-5", "uniform:2-50", "tomita-5 has no string of size 3; sizes near it: 0, 2, 4"),
        ("anbmcnm", "list:1", "no string of size 1; sizes near it: 2"),
        ("dyck-2", "list:-1", "not a list of whole numbers"),
    ],
)
def test_lengths_that_a_language_lacks_are_refused_with_those_it_has(name, text, message):
    with pytest.raises(ValueError) as caught:
        get(name).optimal_nats(Lengths(text))
    assert message in str(caught.value)


def test_empty_string_needs_a_start_mark():
    lengths = Lengths("list:0,1")
    with pytest.raises(ValueError, match="use start_mark=True"):
        get("dyck-1").optimal_nats(lengths)
    assert get("dyck-1").optimal_nats(lengths, start_mark=True) == pytest.approx(math.log(2) / 2)  # 1 or 3 predictions
