"""The sampling rules: which symbols may be drawn, how often, and that the loop obeys length, EOS, seed and UNK."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.runtime.config import GenerationConfig
from unrolled.runtime.generation import NOTHING, beam, generate, stream
from unrolled.runtime.sampling import draw, log_softmax, probabilities

A, B, EOS, UNK = range(4)
LOGITS = np.log([[0.5, 0.25, 0.15, 0.1]])


def shares(**options):
    p = probabilities(LOGITS, GenerationConfig(**options))
    return (p / p.sum()).round(4)[0].tolist()


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


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=7).filter(lambda p: sum(p) > 1e-300),
    st.floats(0, 1, exclude_max=True),
)
def test_draw_never_takes_an_impossible_symbol(p, u):
    assert p[draw(np.array([p]), np.array([u]))[0]] > 0


def test_draw_takes_each_symbol_as_often_as_its_probability():
    u = (np.arange(1000) + 0.5) / 1000
    symbols = draw(np.tile([[0.2, 0.0, 0.5, 0.3]], (1000, 1)), u)
    assert np.bincount(symbols).tolist() == [200, 0, 500, 300]


class Counter:
    """Writes a^n b^n: state (B,) counts how many b are owed; UNK is always the likeliest."""

    eos_id, unk_id = EOS, UNK
    start = np.log([1.0, 1e-9, 1e-9, 1e-9])

    def __init__(self):
        self.steps = 0

    def initial(self, rows):
        return np.zeros(rows, int)

    def step(self, ids, owed):
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
