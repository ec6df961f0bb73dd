"""Languages: names, draws with large integers, errors."""

import re
import subprocess
import sys

import numpy as np
import pytest

from unrolled.languages import Language, Lengths, get, names, register, self_check, task, task_names
from unrolled.languages.brackets import Dyck, Shuffle, dyck_path
from unrolled.languages.language import choose
from unrolled.saved.vocabulary import EOS

EXPECTED = {
    *("anbn", "anbncn", "anbncndn", "anb2n", "anbmcnm", "dyck-1", "dyck-2", "shuffle-2", "parity", "even-pairs"),
    *(f"tomita-{k}" for k in range(1, 8)),
    *("cycle-navigation", "modular-arithmetic", "modular-arithmetic-brackets", "copy", "reverse", "duplicate"),
    *("odds-first", "bucket-sort", "stack-manipulation", "majority"),
}


def test_every_expected_language_is_there_with_class_and_source():
    assert {*names()} >= EXPECTED
    for name in names():
        language = get(name)
        assert language.name == name
        assert language.chomsky in ("regular", "deterministic context-free", "context-free", "context-sensitive")
        assert language.source
        assert language.summary
        assert language.vocabulary.symbols == language.alphabet


@pytest.mark.parametrize("ask", [get, task])
def test_unknown_name_lists_near_ones(ask):
    with pytest.raises(ValueError, match=r"similar names: .*dyck-1"):
        ask("dick-1")
    with pytest.raises(ValueError, match=r"the names are .*anbn"):
        ask("qqqq")


@pytest.mark.parametrize("name", ["dyck-0", "shuffle-0", "dyck-2-0"])
def test_impossible_member_of_a_family_is_refused(name):
    with pytest.raises(ValueError, match="expected at least 1"):
        get(name)


def test_families_have_members_of_any_size():
    assert get("dyck-4-7").alphabet[-2:] == ("<", ">")
    assert get("shuffle-5").alphabet[-1] == ")5"
    assert get("dyck-3").chomsky == "deterministic context-free"
    assert get("dyck-3-2").chomsky == "regular"


def test_taken_name_is_refused():
    with pytest.raises(ValueError, match="already registered"):
        register(Dyck(1))


@pytest.mark.parametrize(
    ("alphabet", "said"),
    [
        ((), "the alphabet is ()"),
        (("", "b"), "the alphabet is ('', 'b')"),
        (("b",), "after the empty string, legal(state) has 'a', which the alphabet lacks"),
    ],
)
def test_alphabet_that_lacks_what_the_machine_reads_is_refused(alphabet, said):
    language = type(get("anbmcnm"))()
    language.name, language.alphabet = "own", alphabet
    with pytest.raises(ValueError, match=re.escape(f"own: {said}")):
        register(language)
    assert "own" not in names()


class Three(Language):
    """a, aa and aaa; the states are the lengths so far."""

    name, alphabet, chomsky, source, summary = "three", ("a",), "regular", "-", "one to three a"

    def start(self):
        return 0

    def step(self, state, symbol):
        return state + 1

    def legal(self, state):
        return frozenset("a" * (state < 3)) | frozenset([EOS] * (state > 0))

    def recognises(self, string):
        return 1 <= len(string) <= 3


def test_machine_that_is_sound_has_no_fault():
    assert self_check(Three(), 5) == []


@pytest.mark.parametrize(
    ("part", "given", "said"),
    [
        ("key", lambda self, state: [state], "after the empty string, key(state) is [0], expected a key of a dict"),
        ("legal", lambda self, state: "a", "after the empty string, legal(state) is 'a', expected a frozenset"),
        ("legal", lambda self, state: ["a"], "after the empty string, legal(state) is ['a'], expected a frozenset"),
        (
            "legal",
            lambda self, state: {"ab"[state == 2]},
            "after 'a a', legal(state) has 'b', which the alphabet lacks",
        ),
    ],
    ids=["key", "text", "list", "symbol"],
)
def test_machine_that_gives_what_nobody_can_work_with_is_named(part, given, said):
    broken = type("Broken", (Three,), {part: given})()
    (fault,) = self_check(broken, 5)
    assert fault.startswith(f"three: {said}")
    if "a a" not in said:
        with pytest.raises(ValueError, match=re.escape(f"three: {said}")):
            register(broken)


def test_reserved_symbol_is_refused():
    language = type(get("parity"))("odd", {"a!": "a!"}, bool, "a", "-", "-")
    language.alphabet = (EOS,)
    with pytest.raises(ValueError, match="always there"):
        register(language)


def test_read_and_next_symbols_say_where_a_string_leaves_the_language():
    language = get("anbncn")
    assert language.read("aabb") is not None
    assert language.read("aabc") is None
    assert language.read(("a", EOS)) is None
    with pytest.raises(ValueError, match="symbol 3 is c, expected one of b"):
        list(language.next_symbols("aabcc"))
    with pytest.raises(ValueError, match="symbol 3 is EOS, expected one of b"):
        list(language.next_symbols("aab"))


def test_choice_is_in_proportion_to_large_weights():
    rng, weights = np.random.default_rng(0), [3 * 10**300, 0, 10**300]
    drawn = np.bincount([choose(rng, weights) for _ in range(2000)], minlength=3)
    assert drawn[1] == 0
    assert drawn[0] / 2000 == pytest.approx(0.75, abs=0.04)


def test_machine_of_too_many_states_is_refused_with_what_to_do(monkeypatch):
    language = Dyck(2)
    monkeypatch.setattr(language, "key", lambda state: state)
    with pytest.raises(ValueError, match=r"dyck-2: .* more than 200,000 states .* the same key\(state\)"):
        language.ways(language.start(), 40)


def test_dyck_words_of_three_pairs_are_equally_likely():
    rng = np.random.default_rng(0)
    words, counts = np.unique([dyck_path(rng, 3) for _ in range(2500)], axis=0, return_counts=True)
    assert len(words) == 5
    assert counts / 2500 == pytest.approx(np.full(5, 0.2), abs=0.035)


@pytest.mark.parametrize("language", [Dyck(2), Dyck(2, 3), Shuffle(3), get("majority"), get("tomita-3")], ids=str)
def test_long_strings_are_drawn_and_recognised(language):
    string = language.sample(np.random.default_rng(0), 151)
    assert len(string) == language.length(151)
    assert language.recognises(string)


def test_same_seed_draws_the_same_strings():
    lengths = Lengths("uniform:1-30")
    one, other = (
        [get("dyck-2").sample(rng, lengths) for _ in range(5)]
        for rng in (np.random.default_rng(7), np.random.default_rng(7))
    )
    assert one == other


@pytest.mark.parametrize("name", ["anbn", "anbncndn", "anb2n"])
def test_probes_from_a_formula_are_those_of_the_machine(name):
    language = get(name)
    for n in (1, 2, 3, 8):
        (probe,) = language.probes(np.random.default_rng(0), n)
        read = Language.probes(language, np.random.default_rng(0), n)[0]
        assert [run[:2] for run in probe for _ in range(run[2])] == [run[:2] for run in read for _ in range(run[2])]


def test_probes_are_all_strings_where_they_are_few():
    probes = get("dyck-1").probes(np.random.default_rng(0), 3, 5)
    assert len({tuple(symbol for symbol, _, count in runs for _ in range(count)) for runs in probes}) == 5


def test_languages_are_listed_and_measured_without_torch():
    code = (
        "import sys; from unrolled.languages import bliss, flare, metrics, string_files;"
        "from unrolled.commands.lab import listing; listing(); print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "False"


def test_every_task_language_is_registered_under_the_task():
    assert all(get(name).alphabet for name in task_names())


def test_the_only_string_of_a_large_size_is_found():
    (runs,) = get("tomita-1").probes(np.random.default_rng(0), 5000)
    assert sum(count for _, _, count in runs) == 5001  # EOS too
