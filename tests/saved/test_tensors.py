"""The rule that tensors in a file are checked by."""

from pathlib import Path

import numpy as np
import pytest

from unrolled.config.model import ModelConfig
from unrolled.lm.model import SequenceModel
from unrolled.saved.atomic_files import CheckpointError
from unrolled.saved.tensors import Expected, check_tensors, faults, model_tensors
from unrolled.saved.vocabulary import Vocabulary

CONFIGS = [
    ModelConfig(cell="lstm", hidden_size=7),
    ModelConfig(cell="gru", hidden_size=5, num_layers=3, embedding_size=2, learned_initial_state=True),
    ModelConfig(cell="rnn", hidden_size=3, embedding_size=3, tied=True, learned_initial_state=True),
    ModelConfig(cell="lstm", hidden_size=1, num_layers=2, learned_initial_state=True),
]


@pytest.mark.parametrize("config", CONFIGS, ids=repr)
def test_expected_tensors_are_those_of_the_model(config):
    own = SequenceModel(config, Vocabulary("abc")).tensors()
    expected = {each.name: each for each in model_tensors(config, 5)}
    assert {name: each.shape for name, each in expected.items()} == {name: t.shape for name, t in own.items()}
    for each in expected.values():
        assert len(each.letters) == len(each.shape)
    assert list(faults(own, expected.values())) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("b"), "'b' is missing, expected float32 (V) = (2,)"),
        (lambda t: t.update(c=t["b"]), "'c' is not expected"),
        (lambda t: t.update(b=t["b"][:1]), "'b' is float32 (1,), expected float32 (V) = (2,)"),
        (lambda t: t.update(b=t["b"].astype(int)), "'b' is int64 (2,), expected float32 (V) = (2,)"),
        (lambda t: t["b"].fill(np.inf), "'b' has 2 non-finite numbers"),
    ],
)
def test_fault_of_a_tensor_is_named(change, said):
    tensors = {"b": np.zeros(2, np.float32)}
    change(tensors)
    assert list(faults(tensors, [Expected("b", np.float32, ("V",), (2,))])) == [said]


def test_model_of_very_many_layers_is_refused_at_once():
    config = ModelConfig(hidden_size=2**31 - 1, num_layers=2**31 - 1)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: 'start' is missing.*; and more; the sizes"):
        check_tensors(Path("model.safetensors"), {}, model_tensors(config, 4), "config.json")
