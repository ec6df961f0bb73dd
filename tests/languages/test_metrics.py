"""The metrics, each on nets made to be right or wrong in a known place."""

import math

import numpy as np
import pytest
import torch

from unrolled.lab.golden import golden
from unrolled.languages import Lengths, ModelPredictor, evaluate, first_failing, get, judge, judging, kth_failing, scan
from unrolled.languages.judging import Marked
from unrolled.lm import ModelConfig, SequenceModel
from unrolled.saved.vocabulary import EOS, Vocabulary


class Oracle:
    """A predictor that reads with a language's own machine, and is wrong after the prefixes named.

    Legal symbols are scored 1, others -1; after a prefix in `wrong` the scores of the first legal and the first illegal
    symbol are exchanged.
    """

    def __init__(self, language, wrong=lambda prefix: False):
        self.language, self.wrong, self.vocabulary = language, wrong, language.vocabulary
        self.read = []  # shapes

    def start(self, B):
        return [()] * B

    def advance(self, ids, state):
        self.read.append(tuple(ids.shape))
        names, scores = self.vocabulary.names, torch.zeros(*ids.shape, len(self.vocabulary))
        prefixes = list(state)
        for t, row in enumerate(ids.tolist()):
            for b, k in enumerate(row):
                if names[k] != EOS:
                    prefixes[b] = (*prefixes[b], names[k])
                after = self.language.read(prefixes[b])
                legal = (
                    [name in self.language.legal(after) for name in names]
                    if after is not None
                    else [False] * len(names)
                )
                scores[t, b] = torch.tensor(self.values(prefixes[b], legal))
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
def test_oracle_itself_is_right_by_every_reading(name, start_mark):
    language = get(name)
    for reading in ("sets", "argmax", "khot"):
        margins = scan(Oracle(language), language, [2, 4, 6], reading, strings=4, start_mark=start_mark)
        assert margins.tolist() == [1.0 if reading == "khot" else 2.0] * 3


def test_one_wrong_prediction_makes_the_string_wrong():
    language = get("anbn")
    assert (scan(Oracle(language, wrong_at(5)), language, range(1, 9)) > 0).tolist() == [n != 5 for n in range(1, 9)]


def test_first_symbol_is_judged_only_with_a_start_mark():
    language = get("anbn")
    wrong = Oracle(language, lambda prefix: prefix == ())
    assert scan(wrong, language, [3]) > 0
    assert not scan(wrong, language, [3], start_mark=True) > 0


def scores_of(**scores):
    return torch.tensor([[[scores.get(name, -9.0) for name in ("a", "b", "EOS", "UNK")]]])


@pytest.mark.parametrize(
    ("scores", "legal", "target", "right"),
    [
        (scores_of(a=2, b=1, EOS=0), "ab", "b", {"sets", "argmax", "accepts"}),
        (scores_of(a=2, b=1, EOS=-1), "ab", "b", {"sets", "argmax", "accepts", "khot"}),
        (
            scores_of(a=2, b=-3, EOS=0),
            "ab",
            "b",
            {"argmax"},
        ),  # the likeliest is legal, but one that is legal is missing
        (scores_of(a=2, b=-2, EOS=0), "ab", "b", {"argmax", "accepts"}),
        (scores_of(a=0, b=2, EOS=1), "b", "b", {"sets", "argmax", "accepts"}),  # forced: sets and argmax are one
        (scores_of(a=2, b=1, EOS=0), "b", "b", {"accepts"}),
        (scores_of(a=1, b=1), "b", "b", {"accepts"}),  # a tie is not right
        (scores_of(a=1, b=math.nan), "ab", "a", set()),
    ],
)
def test_readings_mean_what_they_say(scores, legal, target, right):
    allowed = torch.tensor([[[name in legal for name in ("a", "b", "EOS", "UNK")]]])
    targets = torch.tensor([[["a", "b"].index(target)]])
    found = {name for name, margin in judging.READINGS.items() if bool(margin(scores, allowed, targets)[0, 0] > 0)}
    assert found == right


def test_untrained_net_is_wrong_by_every_reading():
    torch.manual_seed(1)
    language = get("anbn")
    net = ModelPredictor(SequenceModel(ModelConfig(hidden_size=3), language.vocabulary))
    for reading in ("sets", "argmax", "khot"):
        assert first_failing(net, language, 50, reading).n in (1, 2)


@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 18])
def test_chunks_change_no_bit(monkeypatch, chunk):
    torch.manual_seed(0)
    language = get("anbncn")
    net = ModelPredictor(SequenceModel(ModelConfig(hidden_size=5), language.vocabulary))
    marked = [Marked(language.probes(np.random.default_rng(0), n)[0], language.vocabulary) for n in (1, 3, 9)]
    whole = judge(net, marked, ["sets", "argmax"], measured=True)
    monkeypatch.setattr(judging, "CHUNK", chunk)
    parts = judge(net, marked, ["sets", "argmax"], measured=True)
    assert all(np.array_equal(whole.margins[r], parts.margins[r]) for r in whole.margins)
    assert np.allclose(whole.nats, parts.nats, rtol=1e-12)  # sums of another order
    assert np.array_equal(whole.hits, parts.hits)


def test_rows_side_by_side_change_no_bit():
    torch.manual_seed(0)
    language = get("dyck-1")
    net = ModelPredictor(SequenceModel(ModelConfig(hidden_size=5), language.vocabulary))
    runs = [runs for n in (2, 5, 11) for runs in language.probes(np.random.default_rng(n), n, 3)]
    marked = [Marked(run, language.vocabulary) for run in runs]
    together = judge(net, marked, measured=True)
    alone = [judge(net, [one], measured=True) for one in marked]
    margins = [one.margins["sets"][0] for one in alone]
    assert np.allclose(together.nats, [one.nats[0] for one in alone], rtol=1e-12)
    exact = [(m, a) for m, a in zip(together.margins["sets"], margins, strict=True) if m > 0]
    assert all(m == a for m, a in exact)


def test_reading_ends_once_all_are_wrong(monkeypatch):
    monkeypatch.setattr(judging, "CHUNK", 8)
    language = get("anbn")
    net = Oracle(language, lambda prefix: len(prefix) == 3)
    scan(net, language, [50, 60])
    assert sum(T for T, _ in net.read) == 4


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


def test_several_nets_are_judged_in_one_call():
    language = get("anbn")
    nets = [Oracle(language, wrong_at(*sizes)) for sizes in [(), (3, 4), (6,)]]

    class Together:
        vocabulary = language.vocabulary

        def start(self, B):
            return [net.start(B) for net in nets]

        def advance(self, ids, states):
            both = [net.advance(ids, state) for net, state in zip(nets, states, strict=True)]
            return torch.stack([scores for scores, _ in both]), [state for _, state in both]

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
def test_first_failing_size_is_found_and_what_is_known_is_said(wrong, limit, scan_to, n, exact):
    language = get("anbn")
    found = first_failing(Oracle(language, wrong_at(*wrong)), language, limit, scan_to=scan_to)
    assert (found.n, found.exact) == (n, exact)
    assert ("or before" in str(found)) == (n is not None and not exact)


def test_first_failing_skips_sizes_that_the_language_lacks():
    language = get("tomita-5")
    found = first_failing(Oracle(language, lambda prefix: len(prefix) >= 21), language, 40, scan_to=6)
    assert found.n == 22  # 21 is no size; after 21 symbols of a string of 22 it is wrong
    assert found.exact is False


def test_cross_entropy_of_the_best_model_is_the_optimum():
    """A net that says the true probabilities: after a^k, b comes with p(n = k | n >= k)."""
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


def test_accuracy_flatters_where_exact_strings_do_not():
    """Wrong once in every string: nearly every symbol right, no string right."""
    language = get("anbn")
    found = evaluate(Oracle(language, lambda p: p.count("a") == p.count("b")), language, Lengths("list:200"))
    assert found.exact == found.exact_argmax == 0
    assert found.accuracy > 0.99
    assert str(found).index("exactly right") < str(found).index("cross-entropy") < str(found).index("flatters")


def test_evaluation_of_drawn_strings_depends_on_the_seed_alone():
    net, language, lengths = ModelPredictor(golden("dyck-1")), get("dyck-1"), Lengths("uniform:1-9")
    found = [evaluate(net, language, lengths, strings=40, seed=seed) for seed in (3, 3, 4)]
    assert found[0] == found[1] != found[2]
    assert not found[0].exhaustive
    assert found[0].exact == 1


def test_wrong_use_is_refused():
    language = get("anbn")
    with pytest.raises(ValueError, match="no reading is called 'set'; there are sets, argmax"):
        scan(Oracle(language), language, [1], "set")
    with pytest.raises(ValueError, match="no string of size 0"):
        scan(Oracle(language), language, [0])
    with pytest.raises(ValueError, match="lacks b"):
        Marked(runs_of(language, 2), Vocabulary("ac"))


def test_model_with_its_symbols_in_another_order_is_read_right():
    language = get("anbn")
    marked = Marked(runs_of(language, 1), Vocabulary(["b", "x", "a"]))
    inputs, targets, legal = marked.part(0, 9)
    assert inputs.tolist() == [2, 0]
    assert targets.tolist() == [0, 3]
    assert legal.tolist() == [[True, False, True, False, False], [False, False, False, True, False]]
