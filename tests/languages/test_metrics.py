"""The metrics, each on predictors made to be right or wrong in a known place."""

import math
from itertools import permutations, product

import numpy as np
import pytest

from unrolled.languages import Lengths, blind_criteria, evaluate, first_failing, get, judging, kth_failing, names, scan
from unrolled.languages.judging import Marked
from unrolled.languages.metrics import blind_note, smallest_failing
from unrolled.saved.vocabulary import EOS, Vocabulary


class Oracle:
    """A predictor that reads with a language's own machine, and is wrong after some prefixes.

    Legal symbols score 1, others -1; after a prefix for which `wrong` is true, the scores of the first legal and the
    first illegal symbol are swapped.
    """

    def __init__(self, language, wrong=lambda prefix: False):
        self.language, self.wrong, self.vocabulary = language, wrong, language.vocabulary
        self.read = []  # shapes

    def start(self, B):
        return [()] * B

    def advance(self, ids, state):
        self.read.append(tuple(ids.shape))
        names, scores = self.vocabulary.names, np.zeros((*ids.shape, len(self.vocabulary)))
        prefixes = list(state)
        for t, row in enumerate(ids.tolist()):
            for b, k in enumerate(row):
                if names[k] != EOS:
                    prefixes[b] = (*prefixes[b], names[k])
                after = self.language.read(prefixes[b])
                allowed = () if after is None else self.language.legal(after)
                scores[t, b] = self.values(prefixes[b], [name in allowed for name in names])
        return scores, prefixes

    def values(self, prefix, legal):
        values = [1.0 if one else -1.0 for one in legal]
        if self.wrong(prefix):
            first, other = legal.index(True), legal.index(False)
            values[first], values[other] = values[other], values[first]
        return values


def wrong_at(*sizes):
    """Wrong after a^n b^n, where EOS is due."""
    return lambda prefix: prefix.count("a") in sizes and prefix.count("a") == prefix.count("b")


@pytest.mark.parametrize("name", ["anbn", "dyck-1", "tomita-4", "reverse"])
@pytest.mark.parametrize("start_mark", [False, True])
def test_oracle_is_right_by_every_criterion(name, start_mark):
    language = get(name)
    for criterion in ("sets", "argmax", "khot"):
        margins = scan(Oracle(language), language, [2, 4, 6], criterion, strings=4, start_mark=start_mark)
        assert margins.tolist() == [1.0 if criterion == "khot" else 2.0] * 3


def test_one_wrong_prediction_makes_the_string_wrong():
    language = get("anbn")
    assert (scan(Oracle(language, wrong_at(5)), language, range(1, 9)) > 0).tolist() == [n != 5 for n in range(1, 9)]


def test_first_symbol_is_judged_only_with_a_start_mark():
    language = get("anbn")
    wrong = Oracle(language, lambda prefix: prefix == ())
    assert scan(wrong, language, [3]) > 0
    assert not scan(wrong, language, [3], start_mark=True) > 0


def scores_of(**scores):
    return np.array([[[scores.get(name, -9.0) for name in ("a", "b", "EOS", "UNK")]]])


@pytest.mark.parametrize(
    ("scores", "legal", "target", "right"),
    [
        (scores_of(a=2, b=1, EOS=0), "ab", "b", {"sets", "argmax", "accepts"}),
        (scores_of(a=2, b=1, EOS=-1), "ab", "b", {"sets", "argmax", "accepts", "khot"}),
        (scores_of(a=2, b=-3, EOS=0), "ab", "b", {"argmax"}),  # the most probable is legal, a legal one is missing
        (scores_of(a=2, b=-2, EOS=0), "ab", "b", {"argmax", "accepts"}),
        (scores_of(a=0, b=2, EOS=1), "b", "b", {"sets", "argmax", "accepts"}),  # forced: sets and argmax are one
        (scores_of(a=2, b=1, EOS=0), "b", "b", {"accepts"}),
        (scores_of(a=1, b=1), "b", "b", {"accepts"}),  # a tie is not right
        (scores_of(a=1, b=math.nan), "ab", "a", set()),
    ],
)
def test_criteria_are_as_defined(scores, legal, target, right):
    allowed = np.array([[[name in legal for name in ("a", "b", "EOS", "UNK")]]])
    targets = np.array([[["a", "b"].index(target)]])
    found = {name for name, margin in judging.CRITERIA.items() if bool(margin(scores, allowed, targets)[0, 0] > 0)}
    assert found == right


def test_reading_stops_once_all_strings_are_wrong(monkeypatch):
    monkeypatch.setattr(judging, "CHUNK", 8)
    language = get("anbn")
    predictor = Oracle(language, lambda prefix: len(prefix) == 3)
    scan(predictor, language, [50, 60])
    assert sum(T for T, _ in predictor.read) == 4


def test_memory_does_not_grow_with_the_string():
    language = get("anbncn")
    longest = [
        max(len(part) for part in parts_of(Marked(runs_of(language, n), language.vocabulary))) for n in (10, 10**5)
    ]
    assert longest[0] == longest[1]


def runs_of(language, n):
    return language.probes(np.random.default_rng(0), n)[0]


def parts_of(marked):
    return [marked.ids, marked.ends, marked.legal]


def test_several_models_are_judged_in_one_call():
    language = get("anbn")
    models = [Oracle(language, wrong_at(*sizes)) for sizes in [(), (3, 4), (6,)]]

    class Together:
        vocabulary = language.vocabulary

        def start(self, B):
            return [model.start(B) for model in models]

        def advance(self, ids, states):
            both = [model.advance(ids, state) for model, state in zip(models, states, strict=True)]
            return np.stack([scores for scores, _ in both]), [state for _, state in both]

    sizes = list(range(1, 9))
    margins = scan(Together(), language, sizes)
    assert kth_failing(margins, sizes).tolist() == [0, 3, 6]
    assert kth_failing(margins, sizes, 2).tolist() == [0, 4, 0]


@pytest.mark.parametrize(
    ("wrong", "limit", "scan_to", "n", "exact"),
    [
        ((1,), 100, 50, 1, True),
        ((37,), 100, 50, 37, True),
        ((20, 37), 100, 50, 20, True),  # fails early, is right again, fails later
        (range(70, 200), 150, 10, 70, False),  # found by bisection; the sizes between were not all tried
        (range(11, 200), 150, 10, 11, True),
        (range(150, 200), 150, 10, 150, False),
        ((), 150, 10, None, True),
    ],
)
def test_first_failing_size_is_found_and_reported_as_exact_or_not(wrong, limit, scan_to, n, exact):
    language = get("anbn")
    found = first_failing(Oracle(language, wrong_at(*wrong)), language, limit, scan_to=scan_to)
    assert (found.n, found.exact) == (n, exact)
    assert ("or below" in str(found)) == (n is not None and not exact)


def test_models_that_have_failed_read_no_further():
    fails, calls = {0: 3, 1: 0, 2: 40}, []

    def margins(left, block):
        calls.append((left, len(block)))
        return np.array([[-1.0 if n == fails[s] else 1.0 for n in block] for s in left])

    assert smallest_failing(margins, 3, range(1, 101)) == [3, 0, 40]
    assert calls == [([0, 1, 2], 8), ([1, 2], 16), ([1, 2], 32), ([1], 44)]


def test_first_failing_skips_sizes_that_the_language_lacks():
    language = get("tomita-5")
    found = first_failing(Oracle(language, lambda prefix: len(prefix) >= 21), language, 40, scan_to=6)
    assert found.n == 22  # 21 is no size; after 21 symbols of a string of 22 it is wrong
    assert found.exact is False


def test_cross_entropy_of_the_best_model_is_the_optimum():
    """A model of the true probabilities: after a^k, b comes with p(n = k | n >= k)."""
    language, lengths = get("anbn"), Lengths("geometric:0.3:1-12")

    class Best(Oracle):
        def values(self, prefix, legal):
            if {*prefix} != {"a"}:
                return [0.0 if one else -60.0 for one in legal]
            ends = lengths.probability(len(prefix)) / sum(p for n, p in lengths if n >= len(prefix))
            return [math.log(max(1 - ends, 1e-26)), math.log(ends), -60.0, -60.0]

    found = evaluate(Best(language), language, lengths)
    assert found.exhaustive
    assert found.nats == pytest.approx(found.optimal_nats, rel=1e-6)
    assert found.nats == pytest.approx(language.optimal_nats(lengths), rel=1e-6)


def test_accuracy_is_misleading_where_exact_strings_are_not():
    """Wrong once in every string: nearly every symbol right, no string right."""
    language = get("anbn")
    found = evaluate(Oracle(language, lambda p: p.count("a") == p.count("b")), language, Lengths("list:200"))
    assert found.exact == found.exact_argmax == 0
    assert found.accuracy > 0.99
    assert str(found).index("exactly right") < str(found).index("cross-entropy") < str(found).index("misleading")


def test_wrong_use_is_refused():
    language = get("anbn")
    with pytest.raises(ValueError, match="criterion is 'set'; it must be one of sets, argmax"):
        scan(Oracle(language), language, [1], "set")
    with pytest.raises(ValueError, match="no string of size 0"):
        scan(Oracle(language), language, [0])
    with pytest.raises(ValueError, match="lacks b"):
        Marked(runs_of(language, 2), Vocabulary("ac"))


def test_vocabulary_may_have_its_symbols_in_another_order():
    language = get("anbn")
    marked = Marked(runs_of(language, 1), Vocabulary(["b", "x", "a"]))
    inputs, targets, legal = marked.part(0, 9)
    assert inputs.tolist() == [2, 0]
    assert targets.tolist() == [0, 3]
    assert legal.tolist() == [[True, False, True, False, False], [False, False, False, True, False]]


class Unchanging:
    """A predictor whose scores are the same everywhere."""

    def __init__(self, language, scores):
        self.vocabulary, self.scores = language.vocabulary, np.array(scores, np.float64)

    def start(self, B):
        return None

    def advance(self, ids, state):
        return np.broadcast_to(self.scores, (*ids.shape, len(self.scores))), state


#: Those of which all scores that matter can be tried: for sets and argmax each order, for khot each set.
SMALL = [name for name in names() if len(get(name).vocabulary) <= 5]


@pytest.mark.parametrize("name", SMALL)
def test_blind_criteria_are_those_by_which_some_scores_that_never_change_are_right(name):
    language = get(name)
    V, sizes = len(language.vocabulary), [n for n in range(9) if language.has(n)]
    scores = {
        "sets": [*permutations(range(V))],
        "argmax": np.eye(V),
        "khot": [*product((-1, 1), repeat=V)],
        "accepts": [np.zeros(V)],
    }
    found = [
        criterion
        for criterion, tried in scores.items()
        if any((scan(Unchanging(language, each), language, sizes, criterion, strings=99) > 0).all() for each in tried)
    ]
    assert blind_criteria(language) == tuple(found)


@pytest.mark.parametrize("sizes", [[], [40]], ids=["none", "long ones alone"])
def test_nothing_is_said_of_a_language_without_short_strings(sizes, monkeypatch):
    language = get("anbn")
    monkeypatch.setattr(type(language), "has", lambda self, n: n in sizes)
    assert blind_criteria(language) == ()
    assert blind_note(language, "sets") == ""


def test_a_note_says_what_a_criterion_does_not_show():
    assert blind_note(get("anbn"), "sets") == blind_note(get("parity"), "khot") == ""
    said = blind_note(get("parity"), "sets")
    assert said == (
        "being right on parity by 'sets' shows no memory: its legal symbols are nested sets, so one order of the "
        "symbols is right everywhere; loss='sets' is judged by 'khot', which does"
    )
    assert blind_note(get("tomita-1"), "khot").endswith("the same symbols are legal everywhere")
