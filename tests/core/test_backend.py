"""UNROLLED_BACKEND: one parser, and every call asks it anew."""

import numpy as np
import pytest
import torch

import unrolled.nn
from unrolled.config.generation import GenerationConfig
from unrolled.config.model import ModelConfig
from unrolled.core.backend import reference_forced
from unrolled.core.sampling import Chooser
from unrolled.lm.model import SequenceModel
from unrolled.runtime import load
from unrolled.saved.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "model"
    SequenceModel(ModelConfig(hidden_size=5), Vocabulary("ab"), framed=True).save_pretrained(folder)
    return load(folder)


@pytest.fixture
def calls(runtime):
    """What asks for the backend, by name."""
    gru, x = unrolled.nn.GRU(3, 5), torch.zeros(2, 3)
    cell, state = unrolled.nn.GRUCell(3, 5), runtime.initial(1)
    logits, ids = np.zeros((1, len(runtime.vocabulary)), np.float32), np.zeros(1, np.int64)
    compiled = torch.compile(unrolled.nn.GRU(3, 5), backend="eager")
    return {
        "layer": lambda: gru(x),
        "step": lambda: gru.step(x[0]),
        "cell": lambda: cell(x),
        "compiled": lambda: compiled(x),
        "explain_backend": lambda: unrolled.nn.explain_backend(gru, x),
        "runtime read": lambda: runtime.read(ids, state),
        "runtime feed": lambda: runtime.feed(ids),
        "runtime streams": lambda: runtime.streams(2),
        "runtime write": lambda: runtime.write(Chooser(GenerationConfig(), 0, 1), logits, state, 3),
        "runtime score": lambda: runtime.score("ab"),
        "runtime generate": lambda: runtime.generate("a", max_length=2),
    }


@torch.no_grad()
def test_unknown_backend_is_refused_everywhere_with_the_legal_names(calls, monkeypatch):
    for call in calls.values():
        for wanted in ("fast", "", "Fused"):
            monkeypatch.setenv("UNROLLED_BACKEND", wanted)
            with pytest.raises(ValueError, match=f"UNROLLED_BACKEND='{wanted}'; expected 'fused' or 'reference'"):
                call()
        for wanted in ("fused", "reference"):
            monkeypatch.setenv("UNROLLED_BACKEND", wanted)
            call()


def test_parser_knows_three_values(monkeypatch):
    monkeypatch.delenv("UNROLLED_BACKEND", raising=False)
    assert not reference_forced()
    for wanted, forced in (("fused", False), ("reference", True)):
        monkeypatch.setenv("UNROLLED_BACKEND", wanted)
        assert reference_forced() is forced
    with pytest.raises(ValueError, match="'both'"):
        reference_forced(lambda name: "both")
