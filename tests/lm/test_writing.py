"""Generation and scoring, for options drawn at random: every option does what it says."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.config.model import ModelConfig
from unrolled.lm.model import SequenceModel
from unrolled.saved.vocabulary import Vocabulary

CELLS = ("rnn", "lstm", "gru")


def untrained(cell):
    """Return an untrained model whose head is large enough that some symbols are much more probable than others."""
    torch.manual_seed(3)
    model = SequenceModel(ModelConfig(cell=cell, hidden_size=5), Vocabulary("ab"))
    with torch.no_grad():
        model.head.weight.mul_(30)
    return model


MODELS = {cell: untrained(cell) for cell in CELLS}
OPTIONS = st.fixed_dictionaries(
    {"max_length": st.integers(1, 9), "seed": st.integers(0, 99)},
    optional={
        "strategy": st.sampled_from(["sample", "greedy"]),
        "temperature": st.floats(0.01, 50),
        "top_k": st.integers(0, 5),
        "top_p": st.floats(0.01, 1),
        "min_p": st.floats(0, 1),
        "allow_unk": st.booleans(),
    },
)
PROMPT = st.lists(st.sampled_from(["a", "b", "EOS", "UNK", "new"]), max_size=4)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CELLS), st.lists(PROMPT, min_size=1, max_size=4), OPTIONS)
def test_text_keeps_to_length_and_mask_and_does_not_depend_on_the_other_rows(cell, prompts, options):
    model = MODELS[cell]
    texts = model.generate_each(prompts, **options)
    for text in texts:
        symbols = text.split()
        assert len(symbols) <= options["max_length"]
        assert options.get("allow_unk") or "UNK" not in symbols
        assert "EOS" not in symbols
    assert texts == model.generate_each(prompts, **options)
    assert texts[:1] == model.generate_each(prompts[:1], **options) == ["".join(model.stream(prompts[0], **options))]


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(CELLS), PROMPT.filter(bool), st.integers(0, 99), st.integers(1, 9))
def test_sampling_with_one_choice_left_is_greedy(cell, prompt, seed, max_length):
    greedy = MODELS[cell].generate(prompt, strategy="greedy", max_length=max_length)
    for only in ({"top_k": 1}, {"top_p": 1e-9}, {"min_p": 1.0}, {"temperature": 1e-6}):
        assert MODELS[cell].generate(prompt, seed=seed, max_length=max_length, **only) == greedy, only


def bits(model, prompt, symbols, ended):
    """Return the bits of a text after a prompt, with those of the EOS after it if it has ended."""
    scored = model.score([*prompt, *symbols])  # a model of sequences also scores the EOS at the end
    return scored.bits[len(prompt) :][: len(symbols) + ended].sum()


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(CELLS), st.lists(st.sampled_from("ab"), min_size=1, max_size=3), st.integers(1, 4))
def test_wide_beam_finds_the_most_probable_text(cell, prompt, max_length):
    model = MODELS[cell]
    texts = [(s, True) for n in range(max_length) for s in itertools.product("ab", repeat=n)]
    texts += [(s, False) for s in itertools.product("ab", repeat=max_length)]
    best = min(bits(model, prompt, s, ended) for s, ended in texts)
    (found,) = model.generate(prompt, strategy="beam", beam_width=200, max_length=max_length)
    symbols = found.split()
    assert bits(model, prompt, symbols, len(symbols) < max_length) == pytest.approx(best, abs=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(CELLS), st.lists(st.sampled_from(["a", "b", "new"]), min_size=1, max_size=8))
def test_score_is_the_sum_over_the_chain_rule(cell, symbols):
    model = MODELS[cell]
    scored = model.score(symbols)
    ids = torch.from_numpy(model.vocabulary.encode([*symbols, "EOS"]))
    with torch.no_grad():
        logits = model(ids[:-1, None])[0][:, 0].double()
    want = -logits.log_softmax(1).gather(1, ids[1:, None])[:, 0].numpy() / math.log(2)
    np.testing.assert_allclose(scored.bits[1:], want, atol=1e-4)
    assert scored.unknown == symbols.count("new")
