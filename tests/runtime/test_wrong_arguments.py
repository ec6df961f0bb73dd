"""What the runtime is given that is no symbol, no state or no option: one sentence of its own."""

import numpy as np
import pytest

from tests.saved.networks import networks
from unrolled.config.generation import GenerationConfig
from unrolled.runtime import State, TextModel


@pytest.fixture(scope="module")
def model():
    return TextModel(dict(networks())["text-GRU-one-hot"])


@pytest.mark.parametrize("x", ["t", 1.0, [1, 2], np.array([1, 2]), None])
def test_what_is_no_symbol_is_said(model, x):
    with pytest.raises(TypeError, match=r"x is .*, expected one symbol, a whole number from 0 to 6"):
        model.step(x)
    assert model.step(np.int64(3)).shape == (7,)


def test_what_is_no_bytes_of_a_state_is_said():
    with pytest.raises(TypeError, match="the state is 'xx', expected the bytes that to_bytes wrote"):
        State.from_bytes("xx")


@pytest.mark.parametrize("config", [None, GenerationConfig()])
def test_option_that_is_not_there_is_named(model, config):
    with pytest.raises(TypeError, match="there is no option 'max_len'; expected max_length, strategy"):
        model.generate("a", config, max_len=5)
