"""N-grams against their formula written out with dictionaries, and their mixture against its definition."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.corpus import ngrams
from unrolled.corpus.ngrams import Predictions, mixed, predictions, weights
from unrolled.corpus.splitting import Sequences

V = 5
ragged = st.lists(st.lists(st.integers(0, V - 1), min_size=1, max_size=9), min_size=1, max_size=9)


def sequences_of(lists) -> Sequences:
    return Sequences(np.array([k for ids in lists for k in ids], np.uint8), np.cumsum([0, *map(len, lists)]))


def kneser_ney(lists, order):
    """The formula of the docstring, in exact arithmetic, one symbol at a time; -1 stands before a sequence."""
    raw = [Counter() for _ in range(order)]
    for ids in lists:
        padded = [-1] * order + ids
        for t in range(order + 1, len(padded)):
            for length in range(order):
                raw[length][tuple(padded[t - length : t + 1])] += 1
    counts = [Counter(gram[1:] for gram in raw[length + 1]) for length in range(order - 1)] + [raw[-1]]

    def discount(c, k):
        n = Counter(c.values())
        if not k or not all(n[m] for m in range(1, k + 2)):
            return Fraction(bool(k), 2)
        D = k - (k + 1) * Fraction(n[1], n[1] + 2 * n[2]) * Fraction(n[k + 1], n[k])
        return D if D > 0 else Fraction(1, 2)

    def p(w, h):
        lower = p(w, h[1:]) if h else Fraction(1, V)
        c = counts[len(h)]
        d = [discount(c, k) for k in range(4)]
        after = [c[(*h, v)] for v in range(V)]
        if not any(after):
            return lower
        return (c[(*h, w)] - d[min(c[(*h, w)], 3)] + sum(d[min(k, 3)] for k in after) * lower) / sum(after)

    return p


@settings(deadline=None)
@given(ragged, ragged, st.integers(1, 4))
def test_ngrams_match_the_formula(known, scored, order):
    p = kneser_ney(known, order)
    expected = [
        float(p(ids[t], tuple(([-1] * order + ids)[t + 1 : t + order]))) for ids in scored for t in range(1, len(ids))
    ]
    [got] = predictions(sequences_of(known), [sequences_of(scored)], V, 4)
    np.testing.assert_allclose(got.p[order - 1], expected, rtol=1e-12)


@settings(deadline=None)
@given(ragged, ragged, st.integers(1, 4))
def test_known_is_the_highest_order_whose_context_occurs(known, scored, longest):
    [got] = predictions(sequences_of(known), [sequences_of(scored)], V, longest)
    padded = [[-1] * longest + ids for ids in known]
    contexts = {tuple(ids[t - n : t]) for ids in padded for t in range(longest + 1, len(ids)) for n in range(longest)}
    expected = []
    for ids in scored:
        before = [-1] * longest + ids
        found = [
            [tuple(before[t - n : t]) in contexts for n in range(longest)] for t in range(longest + 1, len(before))
        ]
        expected += [sum(each) for each in found]
    assert got.known.tolist() == expected


@settings(deadline=None, max_examples=30)
@given(ragged, ragged, ragged)
def test_parts_are_predicted_as_each_alone(known, one, other):
    known, parts = sequences_of(known), [sequences_of(one), sequences_of(other)]
    for together, part in zip(predictions(known, parts, V, 3), parts, strict=True):
        [alone] = predictions(known, [part], V, 3)
        np.testing.assert_array_equal(together.p, alone.p)
        np.testing.assert_array_equal(together.known, alone.known)


@settings(deadline=None)
@given(ragged, ragged, ragged, st.integers(1, 40))
def test_groups_of_windows_give_the_bits_of_all_at_once(known, one, other, windows):
    known, parts = sequences_of(known), [sequences_of(one), sequences_of(other)]
    whole = predictions(known, parts, V, 4)
    with pytest.MonkeyPatch.context() as small:
        small.setattr(ngrams, "WINDOWS", windows)
        grouped = predictions(known, parts, V, 4)
    for each, expected in zip(grouped, whole, strict=True):
        np.testing.assert_array_equal(each.p, expected.p)
        np.testing.assert_array_equal(each.known, expected.known)


@given(ragged, st.lists(st.integers(0, V - 1), max_size=4))
def test_ngrams_and_their_mixture_sum_to_one_over_the_vocabulary(known, context):
    known, scored = sequences_of(known), sequences_of([[0, *context, w] for w in range(V)])
    [got] = predictions(known, [scored], V, 3)
    for p in (*got.p, mixed(got, weights(got))):
        assert np.isclose(p[len(context) :: len(context) + 1].sum(), 1)


@pytest.mark.parametrize("V", [3, 255, 256, 70_000])
def test_windows_are_told_apart_whatever_the_size_of_the_vocabulary(V):
    """The same windows, with ids from the top of the vocabulary, get the same n-grams above the uniform guess."""
    ids = np.random.default_rng(0).integers(0, 3, 200)
    few, many = (
        predictions(part, [part], V, 9)[0]
        for part in (Sequences(each, np.array([0, 200])) for each in (ids, ids + V - 3))
    )
    np.testing.assert_array_equal(few.p, many.p)
    assert len(np.unique(few.p[8])) > len(np.unique(few.p[1]))


def test_weights_are_those_under_which_held_out_symbols_are_likeliest():
    """Each of two orders is right for half of the symbols, and the known context tells which half."""
    p = np.array([[0.9] * 5000 + [0.1] * 5000, [0.1] * 5000 + [0.9] * 5000])
    held = Predictions(p, np.repeat([1, 2], 5000))
    found = weights(held)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert found[1, 0] > 0.99
    assert found[2, 1] > 0.99
    np.testing.assert_allclose(found[0], 0.5, atol=0.01)  # no symbol held out: as for all together
    np.testing.assert_allclose(mixed(held, found), found[held.known, 0] * p[0] + found[held.known, 1] * p[1])
