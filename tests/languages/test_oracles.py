"""Generator, recogniser, machine and counts of every registered language and task, against each other.

Registering a language is enough to have it tested.
"""

import math
from collections import Counter
from itertools import islice, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.languages.full_proof import prove
from unrolled.languages import Lengths, get, names, self_check, task, task_names
from unrolled.languages.tasks import EachStep, Recognition, Strings
from unrolled.saved.vocabulary import EOS

#: Strings that one search reads: all 8,191 of up to 12 symbols over an alphabet of two, else the shortest.
MOST = 8_200

LANGUAGES = [get(name) for name in names()]
INPUTS = {
    task(name).inputs.name: task(name).inputs for name in task_names() if not isinstance(task(name).inputs, Strings)
}
EVERY = pytest.mark.parametrize("language", [*LANGUAGES, *INPUTS.values()], ids=lambda language: language.name)
TASKS = pytest.mark.parametrize("asked", [task(name) for name in task_names()], ids=lambda asked: asked.name)
FEW = settings(max_examples=10, deadline=None, database=None)


@EVERY
def test_every_language_agrees_with_itself_on_all_strings_up_to_12(language):
    assert self_check(language, 12, MOST) == []


@EVERY
def test_machine_lists_exactly_the_recognised_strings(language):
    """The strings listed by the machine, against all strings filtered by the recogniser."""
    longest = max(n for n in range(13) if sum(len(language.alphabet) ** k for k in range(n + 1)) <= MOST)
    all_strings = (s for n in range(longest + 1) for s in product(language.alphabet, repeat=n))
    assert [*language.strings(longest)] == [s for s in all_strings if language.recognises(s)]


@EVERY
@FEW
@given(seed=st.integers(0, 2**32), n=st.integers(1, 60))
def test_drawn_strings_are_recognised_and_accepted(language, seed, n):
    rng = np.random.default_rng(seed)
    if not language.has(n):
        with pytest.raises(ValueError, match=f"no string of size {n}"):
            language.sample(rng, n)
        return
    string = language.sample(rng, n)
    assert language.recognises(string)
    assert language.accepts(string)
    assert len(string) == language.length(n)
    runs = list(language.runs(string))
    assert [symbol for symbol, _, count in runs for _ in range(count)] == [*string, EOS]
    assert all(symbol in legal for symbol, legal, _ in runs)


@EVERY
@FEW
@given(seed=st.integers(0, 2**32), edits=st.integers(1, 3), n=st.integers(2, 16))
def test_negatives_are_outside_for_machine_and_recogniser(language, seed, edits, n):
    rng = np.random.default_rng(seed)
    if language.has(n):
        for negative in islice(language.negatives(rng, language.draw(rng, n), edits), 5):
            assert not language.recognises(negative)
            assert not language.accepts(negative)


@EVERY
def test_first_symbols_have_their_probabilities(language):
    n = next(n for n in range(4, 8) if language.has(n))
    expected = language.first(n)
    rng = np.random.default_rng(0)
    found = Counter(language.draw(rng, n)[0] for _ in range(800))
    assert sum(expected.values()) == pytest.approx(1)
    assert {*found} <= {symbol for symbol, p in expected.items() if p}
    for symbol, p in expected.items():
        assert found[symbol] / 800 == pytest.approx(p, abs=0.08), symbol


@EVERY
def test_entropy_of_a_size_is_that_of_the_draws(language):
    """From counts of draws; (kinds - 1) / (2 draws) corrects the bias of the estimate."""
    suited = (n for n in (3, 4, 5, 6) if language.has(n) and 1 < language.count(n) <= 100)
    n = next(suited, None) or next(n for n in (1, 2) if language.has(n))
    rng = np.random.default_rng(1)
    draws = 2000
    counts = np.array([*Counter(language.draw(rng, n) for _ in range(draws)).values()])
    estimate = -(counts / draws * np.log(counts / draws)).sum() + (len(counts) - 1) / (2 * draws)
    assert language.nats(n) == pytest.approx(estimate, abs=0.06)
    assert language.nats(n) <= math.log(language.count(n)) + 1e-9


@pytest.mark.parametrize("name", ["anbn", "dyck-1", "tomita-4", "copy", "modular-arithmetic", "stack-manipulation"])
@pytest.mark.parametrize("start_mark", [False, True])
def test_optimal_nats_is_the_entropy_of_all_strings_symbol_by_symbol(name, start_mark):
    """From the probability of every string: the entropy of each symbol given the symbols before it, summed."""
    language, lengths = get(name), Lengths("list:2,2,3")
    strings = {}
    for n, p in lengths:
        of_size = [s for s in language.strings(language.length(n)) if len(s) == language.length(n)]
        for string in of_size:
            strings[string] = p * string_probability(language, string, n, len(of_size))
    assert sum(strings.values()) == pytest.approx(1)
    heads = Counter()
    for string, p in strings.items():
        for t in range(len(string) + 2):
            heads[(*string, EOS)[:t]] += p
    skipped = 0 if start_mark else 1
    nats = -sum(p * math.log(p / heads[head[:-1]]) for head, p in heads.items() if len(head) > skipped)
    predictions = sum(p for head, p in heads.items() if len(head) > skipped)
    assert language.optimal_nats(lengths, start_mark=start_mark) == pytest.approx(nats / predictions, rel=1e-9)


def string_probability(language, string, n, count):
    if language.name != "stack-manipulation":
        return 1 / count
    bottom = sum(s in "01" for s in string[:n]) if n > 1 else 1
    return (1 / 2) ** bottom * (1 / 3) ** (n - bottom) / max(1, n - 1)


@TASKS
@FEW
@given(seed=st.integers(0, 2**32), n=st.integers(1, 40))
def test_answers_hold_and_have_their_length_and_no_other_holds(asked, seed, n):
    rng = np.random.default_rng(seed)
    string, answer = asked.sample(rng, n)
    assert asked.inputs.recognises(string)
    assert len(answer) == asked.answer_length(n)
    assert asked.holds(string, answer)
    k = int(rng.integers(len(answer)))
    for other in {*asked.answers} - {answer[k]}:
        assert not asked.holds(string, (*answer[:k], other, *answer[k + 1 :])) or asked.name == "stack-manipulation"
    assert not asked.holds(string, (*answer, asked.answers[0]))


@pytest.mark.parametrize(
    ("name", "string", "answer"),
    [  # the examples of the published task definitions
        ("parity", "1010100", "1"),
        ("even-pairs", "aabbba", "0"),
        ("cycle-navigation", "><-<<", "3"),
        ("modular-arithmetic", "0*1+4*3-2", "0"),
        ("modular-arithmetic", "1-1-1", "4"),
        ("modular-arithmetic-brackets", "((1--2)*(4))", "2"),
        ("duplicate", "101", "101101"),
        ("odds-first", "00110101", "01000111"),
        ("bucket-sort", "10204112", "00111224"),
        ("stack-manipulation", ("0", "1", "1", "0", "push1", "pop", "pop"), "110....."),
        ("stack-manipulation", ("1", "pop", "pop", "push0"), "0...."),
        ("majority", "0110", "0"),
    ],
)
def test_task_gives_the_published_answer(name, string, answer):
    assert task(name).answer(tuple(string)) == tuple(answer)


@pytest.mark.parametrize("name", ["parity", "even-pairs", "majority", "cycle-navigation"])
def test_answer_at_each_step_ends_with_the_answer(name):
    rng = np.random.default_rng(3)
    each = EachStep(task(name))
    string, answers = each.sample(rng, 9)
    assert answers[-1:] == task(name).answer(string)
    assert each.holds(string, answers)
    assert not each.holds(string, answers[:-1])


def test_answer_at_each_step_is_refused_where_a_prefix_is_not_an_input():
    with pytest.raises(ValueError, match="cannot be asked at each step"):
        EachStep(task("modular-arithmetic"))
    with pytest.raises(ValueError, match="asks for an answer at each step"):
        EachStep(task("parity")).language()


def test_recognition_draws_both_answers_and_both_kinds_of_negatives():
    asked, rng = Recognition(get("dyck-1")), np.random.default_rng(0)
    drawn = [asked.sample(rng, 5) for _ in range(400)]
    assert all(asked.holds(*example) for example in drawn)
    assert 0.4 < sum(answer == ("yes",) for _, answer in drawn) / 400 < 0.6
    assert len({len(string) for string, answer in drawn if answer == ("no",)}) > 3


def test_recognition_of_a_language_that_most_edits_stay_in_draws_on():
    """Of a string that hardly any edit leads out of, no negative is found in reasonable time: another is drawn."""
    asked, rng = Recognition(get("tomita-7")), np.random.default_rng(0)
    drawn = [asked.sample(rng, Lengths("uniform:1-20")) for _ in range(2500)]
    assert all(asked.holds(*example) for example in drawn)


def test_planted_fault_in_a_recogniser_is_found_with_its_string():
    language = get("tomita-5")
    broken = type(language)("broken", {"a!": "a! a!"}, lambda text: text != "0110", "01", "-", "-")
    faults = self_check(broken, 5)
    assert "the machine accepts '0 1 1 0', the recogniser does not" in faults[0]


def test_planted_fault_in_a_count_is_found(monkeypatch):
    language = get("dyck-1")
    monkeypatch.setattr(type(language), "count", lambda self, n: 7)
    assert any("count(" in fault for fault in self_check(language, 6))


def test_planted_dead_end_is_found():
    broken = type(get("parity"))("trap", {"a!": "a! b", "b": "b b"}, lambda text: "1" not in text, "01", "-", "-")
    assert any("no string continues it" in fault for fault in self_check(broken, 6))


def test_planted_fault_in_a_draw_is_found(monkeypatch):
    monkeypatch.setattr(type(get("anbn")), "draw", lambda self, rng, n: ("a",) * 2 * n)
    assert any("was drawn" in fault for fault in self_check(get("anbn"), 4))


def test_full_proof_reads_every_string_and_finds_planted_faults(monkeypatch):
    language = get("tomita-5")
    assert (prove(language, 7).read, prove(language, 7).faults) == (2**8 - 1, [])
    broken = type(language)("broken", {"a!": "a! a!"}, lambda text: text != "0110", "01", "-", "-")
    assert any(
        "machine, not the recogniser, accepts ('0', '1', '1', '0')" in fault for fault in prove(broken, 5).faults
    )
    monkeypatch.setattr(type(get("anbmcnm")), "draw", lambda self, rng, n: ("a", *"b" * (n - 1), *"c" * n))
    assert any("('a', 'a', 'b', 'c', 'c', 'c') was not among" in fault for fault in prove(get("anbmcnm"), 6).faults)
