"""The sampling rules: which symbols may be drawn, how often, and that the loop obeys length, EOS, seed and UNK."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled import _core
from unrolled.config.generation import GenerationConfig
from unrolled.core.sampling import Chooser, log_softmax, probabilities, rules
from unrolled.runtime.generation import NOTHING, beam, generate, stream

A, B, EOS, UNK = range(4)
LOGITS = np.log([[0.5, 0.25, 0.15, 0.1]])


def shares(**options):
    return probabilities(LOGITS, GenerationConfig(**options)).round(4)[0].tolist()


def choose(p, u):
    """The symbol that u chooses from shares p."""
    with np.errstate(divide="ignore"):
        return _core.choose(rules(GenerationConfig(), -1), np.log(p), u)


@pytest.mark.parametrize(
    ("options", "want"),
    [
        ({}, [0.5, 0.25, 0.15, 0.1]),
        ({"temperature": 0.5}, [0.7246, 0.1812, 0.0652, 0.029]),
        ({"top_k": 2}, [0.6667, 0.3333, 0, 0]),
        ({"top_k": 9}, [0.5, 0.25, 0.15, 0.1]),
        ({"top_p": 0.5}, [1, 0, 0, 0]),
        ({"top_p": 0.51}, [0.6667, 0.3333, 0, 0]),
        ({"min_p": 0.3}, [0.5556, 0.2778, 0.1667, 0]),
        ({"min_p": 1.0}, [1, 0, 0, 0]),
    ],
)
def test_probabilities_keep_the_symbols_each_rule_allows(options, want):
    assert shares(**options) == want


def test_log_softmax_matches_the_definition():
    logits = np.array([[1.0, -2.0, 3.0]])
    want = logits - np.log(np.exp(logits).sum())
    np.testing.assert_allclose(log_softmax(logits), want, rtol=1e-15)


@pytest.mark.parametrize("V", [1, 2, 7, 8, 9, 97, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_softmax_computes_the_definition_on_every_instruction_set(instruction_set, V, dtype):
    rng = np.random.default_rng(V)
    logits = (20 * rng.normal(size=(13, V))).astype(dtype)
    logits[3, 1:] = -np.inf
    logits[5] += dtype(1e4)
    wide = logits.astype(np.longdouble)
    top = wide.max(axis=1, keepdims=True)
    want = wide - top - np.log(np.exp(wide - top).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(log_softmax(logits), want.astype(np.float64), rtol=1e-14, atol=1e-11)
    for row, found in zip(logits, log_softmax(logits), strict=True):
        np.testing.assert_array_equal(log_softmax(row), found)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, None])
@pytest.mark.parametrize("V", [1, 9, 20])
def test_logits_without_a_distribution_are_refused_wherever_they_stand(instruction_set, V, wrong):
    for v in range(V):
        logits = np.zeros((3, V), np.float32)
        logits[1, v] = wrong
        if wrong is None:
            logits[1] = -np.inf
        with pytest.raises(ValueError, match=r"the largest logit is (nan|inf|-inf), expected a number"):
            log_softmax(logits)


def test_logits_that_the_core_cannot_read_are_refused():
    for logits, sums in (((3, 5), 4), ((3, 0), 3)):
        with pytest.raises(ValueError, match=r"log_sums: logits are .*expected \(N, V\) and \(N\)"):
            _core.log_sums(np.zeros(logits, np.float32), np.zeros(sums))
    for array in (np.zeros((3, 5), np.int64), np.zeros((5, 3)).T, np.zeros(5)):
        with pytest.raises(TypeError):
            _core.log_sums(array, np.zeros(3))


def defined(logits, *, temperature, top_k, top_p, min_p, forbidden):
    """The rules as they are defined, one symbol at a time."""
    V = len(logits)
    allowed = [v for v in range(V) if v != forbidden]
    top = max(logits[v] for v in allowed)
    p = [np.exp((logits[v] - top) / temperature) if v in allowed else 0.0 for v in range(V)]
    if top_k:
        p = [x if sum(y > x for y in p) < top_k else 0.0 for x in p]
    ranked = sorted(range(V), key=lambda v: (-p[v], v))
    if top_p < 1:
        ahead = {v: sum(p[w] for w in ranked[:k]) for k, v in enumerate(ranked)}
        p = [p[v] if ahead[v] < top_p * sum(p) else 0.0 for v in range(V)]
    p = [x if x >= min_p * max(p) else 0.0 for x in p]
    return np.array(p) / sum(p)


@given(
    st.lists(st.floats(-30, 30), min_size=2, max_size=9),
    st.floats(0.1, 5),
    st.integers(0, 9),
    st.floats(0.01, 1),
    st.floats(0, 1),
    st.integers(0, 1),
    st.sampled_from([np.float32, np.float64]),
)
def test_probabilities_follow_the_definition_of_each_rule(logits, temperature, top_k, top_p, min_p, unk_id, dtype):
    logits = np.array(logits, dtype)
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    want = defined(logits.astype(float), forbidden=unk_id, **options)
    edges = np.abs(np.cumsum(np.sort(want)[::-1]) - top_p).min()
    got = probabilities(logits[None], GenerationConfig(**options), unk_id)[0]
    if edges > 1e-9:  # a sum that meets top_p to the last bit may fall on either side
        np.testing.assert_allclose(got, want, atol=1e-12)
    assert got[unk_id] == 0


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=7).filter(lambda p: sum(p) > 1e-300),
    st.floats(0, 1, exclude_max=True),
)
def test_choice_never_takes_an_impossible_symbol(p, u):
    assert p[choose(np.array(p), u)] > 0


def test_choice_takes_each_symbol_as_often_as_its_probability():
    symbols = [choose(np.array([0.2, 0.0, 0.5, 0.3]), (k + 0.5) / 1000) for k in range(1000)]
    assert np.bincount(symbols).tolist() == [200, 0, 500, 300]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("temperature", [0, -1]), ("top_p", [0, -1, 2]), ("min_p", [-1e-9, 1.5]), ("u", [1.0, -0.1])],
)
def test_numbers_out_of_range_are_refused_as_they_are_given(name, wrong):
    rules = {"forbidden": -1, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "likeliest": False}
    for value in (*wrong, np.nan, np.inf, -np.inf):
        if name == "u":
            choice = partial(_core.choose, _core.Choice(**rules), np.zeros(4), value)
        else:
            choice = partial(_core.Choice, **(rules | {name: value}))
        with pytest.raises(ValueError, match=rf"^{name} is {value:g}, expected a finite number "):
            choice()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_choice_refuses_logits_that_are_no_numbers(bad):
    with pytest.raises(ValueError, match=r"logit 1 is (nan|inf), expected a number"):
        probabilities(np.array([[0.0, bad, 0.0]]), GenerationConfig())


def test_choice_refuses_when_no_symbol_is_left():
    with pytest.raises(ValueError, match="no symbol is left"):
        probabilities(np.array([[0.0, -np.inf]]), GenerationConfig(), unk_id=0)


def test_chooser_uses_one_number_of_its_stream_a_symbol_however_they_are_asked_for():
    rows = np.arange(2)
    whole, piecewise = Chooser(GenerationConfig(seed=3), 0, 2), Chooser(GenerationConfig(seed=3), 0, 2)
    want = whole.ahead(rows, 7)
    got = [piecewise.ahead(rows, 5)[:2]]
    piecewise.used(rows, 2)
    got.append(piecewise.ahead(rows, 5))
    np.testing.assert_array_equal(np.concatenate(got), want)
    np.testing.assert_array_equal(want[:, 1], np.random.default_rng([3, 1]).random(7))


class Counter:
    """Writes a^n b^n: state (B,) counts how many b are owed; UNK is always the likeliest."""

    eos_id, unk_id = EOS, UNK
    start = np.log([1.0, 1e-9, 1e-9, 1e-9])

    def __init__(self):
        self.steps = 0

    def initial(self, rows):
        return np.zeros(rows, int)

    def read(self, ids, owed):
        self.steps += 1
        owed = owed + (ids == A) - (ids == B)
        p = np.where((ids == A)[:, None], [0.6, 0.4, 1e-12, 10], [1e-12, 1e-12, 1.0, 10])
        p[(ids == B) & (owed > 0)] = [1e-12, 1.0, 1e-12, 10]
        return np.log(p), owed

    def select(self, state, rows):
        return state[rows]


def write(prompt, **options):
    return generate(Counter(), [np.array(prompt, np.int64)], GenerationConfig(**options))[0].tolist()


def test_generation_greedy_stops_at_eos():
    assert write([A, A, B], strategy="greedy") == [B, EOS]


@pytest.mark.parametrize("strategy", ["sample", "greedy", "beam"])
@pytest.mark.parametrize("max_length", [1, 2, 7])
def test_generation_obeys_max_length(strategy, max_length):
    assert len(write([A] * 30 + [B], strategy=strategy, max_length=max_length)) == max_length


def test_generation_masks_unk_unless_asked():
    assert UNK not in write([A], max_length=50, seed=3)
    assert write([A], strategy="greedy", max_length=1, allow_unk=True) == [UNK]


def test_generation_empty_prompt_starts_like_the_training_data():
    assert write([], max_length=1) == [A]


def test_generation_row_does_not_depend_on_its_batch():
    prompts = [np.array(p, np.int64) for p in ([A], [A, A, A], [], [A, B])]
    config = GenerationConfig(max_length=20, seed=5)
    together = generate(Counter(), prompts, config)
    assert together[0].tolist() == generate(Counter(), prompts[:1], config)[0].tolist()
    assert together[1].tolist() != together[0].tolist()
    assert [row.tolist() for row in together] == [row.tolist() for row in generate(Counter(), prompts, config)]


def test_generation_seed_changes_the_text():
    assert len({tuple(write([A], seed=seed)) for seed in range(8)}) > 2


def test_stream_yields_one_symbol_of_each_row_a_step_and_one_model_step_a_symbol():
    model = Counter()
    prompts = [np.array([A, B]), np.array([A])]
    steps = list(stream(model, prompts, GenerationConfig(strategy="greedy", max_length=3)))
    assert [row.tolist() for row in steps] == [[NOTHING, A], [EOS, A], [NOTHING, A]]
    assert model.steps == 3


def test_beam_finds_the_likelier_text_that_greedy_misses():
    greedy = write([A], strategy="greedy", max_length=3)
    best = beam(Counter(), np.array([A]), GenerationConfig(strategy="beam", beam_width=8, max_length=3))
    assert greedy == [A, A, A]  # 0.6^3 = 0.216
    assert best.tolist() == [B, EOS]  # 0.4
