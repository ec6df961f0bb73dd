"""Every field is checked once, whichever way its value comes in, and each error names the field and what is legal."""

from dataclasses import asdict, fields

import pytest

from unrolled.config.data import DataConfig
from unrolled.config.generation import GenerationConfig
from unrolled.config.lab import LabConfig
from unrolled.config.model import ModelConfig
from unrolled.config.run import RunConfig
from unrolled.config.server import Limits
from unrolled.config.training import TrainingConfig

CONFIGS = (DataConfig, GenerationConfig, LabConfig, Limits, ModelConfig, TrainingConfig)


@pytest.mark.parametrize(
    ("cls", "name"),
    [(cls, field.name) for cls in CONFIGS for field in fields(cls)],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_every_field_is_checked(cls, name):
    with pytest.raises(ValueError, match=rf"^{name} is <object"):
        cls(**{name: object()})


REFUSED = {
    ModelConfig: [
        ({"cell": "lstn"}, "cell is 'lstn'; it must be one of rnn, lstm, gru"),
        ({"hidden_size": 0}, "hidden_size is 0; it must be a whole number from 1 to 2,147,483,647"),
        ({"hidden_size": True}, "hidden_size is True; it must be a whole number"),
        ({"num_layers": 1.0}, "num_layers is 1.0; it must be a whole number"),
        ({"dropout": 1.0}, "dropout is 1.0; it must be a number in [0, 1)"),
        ({"checkpoint_steps": 0}, 'checkpoint_steps is 0, expected None, "auto" or the steps of a segment, 1 to'),
        ({"tied": 1}, "tied is 1; it must be true or false"),
        ({"tied": True}, "embedding_size must equal hidden_size, which is 256; it is 0"),
        ({"nonlinearity": "relu"}, "only cell='rnn' has one, not lstm"),
    ],
    DataConfig: [
        ({"kind": "letters"}, "kind is 'letters'; it must be one of auto, characters, symbols, bytes, words"),
        ({"lines": "yes"}, "lines is 'yes'; it must be true or false"),
        ({"column": 3}, "column is 3; it must be text"),
        ({"column": "x", "format": "text"}, "column is 'x'; CSV has columns, JSON has fields, text has none"),
        ({"separator": "x", "lines": True}, "separator is 'x', but lines are sequences already"),
        ({"separator": "x", "column": "y"}, "separator is 'x', but records of JSON and CSV are sequences already"),
        ({"delimiter": ";;"}, "delimiter is ';;'; it must be one character, or tab"),
        ({"encoding": "klingon"}, "encoding is 'klingon'; it must be the name of an encoding"),
        ({"encoding": "base64"}, "encoding is 'base64'; it must be the name of an encoding"),
        ({"min_count": 0}, "min_count is 0; it must be a whole number from 1 to 2,147,483,647"),
        ({"test": -0.1}, "test is -0.1; it must be a number in [0, 1)"),
        ({"validation": 0.6, "test": 0.5}, "validation + test is 1.1; it must leave a share to train on"),
        ({"split_by": "line"}, "split_by is 'line'; it must be one of auto, sequence, block, file"),
    ],
    TrainingConfig: [
        ({"optimiser": "adam"}, "optimiser is 'adam'; it must be one of adamw, sgd, rmsprop"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; it must be a number in (0, 1e+09]"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"clip_norm": float("inf")}, "clip_norm is inf; it must be a number in [0, 1e+09]"),
        ({"plateau_factor": 1.0}, "plateau_factor is 1.0; it must be a number in (0, 1)"),
        ({"precision": "float16"}, "precision is 'float16'; it must be one of float32, bfloat16"),
        ({"batch_size": 0}, "batch_size is 0; it must be a whole number from 1 to 2,147,483,647"),
        ({"seed": -1}, "seed is -1; it must be a whole number from 0 to 9,223,372,036,854,775,807"),
        ({"max_epochs": 0}, "training never ends"),
    ],
    GenerationConfig: [
        ({"strategy": "best"}, "strategy is 'best'; it must be one of sample, greedy, beam"),
        ({"max_length": 0}, "max_length is 0; it must be a whole number from 1 to 2,147,483,647"),
        ({"top_k": 1.5}, "top_k is 1.5; it must be a whole number from 0 to 2,147,483,647"),
        ({"top_p": 0.0}, "top_p is 0.0; it must be a number in (0, 1]"),
        ({"min_p": 1.1}, "min_p is 1.1; it must be a number in [0, 1]"),
        ({"temperature": 0.0}, "temperature is 0; to take the likeliest symbol each time, use strategy='greedy'"),
    ],
    Limits: [
        ({"threads": 0}, "threads is 0; it must be a whole number from 1 to 2,147,483,647"),
        ({"writing_seconds": 0}, "writing_seconds is 0; it must be a number in (0, 1e+09]"),
    ],
    LabConfig: [
        ({"units": 0}, "units is 0; it must be a whole number from 1 to 2,147,483,647"),
        ({"gain": 0.5}, "gain is 0.5; it must be a number in [1, 1e+09]"),
        ({"average": 2}, "average is 2; it must be a number in [0, 1]"),
        ({"cell": "gru", "cell_noise": 0.1}, "cell_noise is 0.1; it must be 0, for gru has no cell state"),
        ({"batch_size": 9, "samples": 8}, "batch_size is 9; a model has samples=8, and 0 takes them all in every step"),
        ({"choose_up_to": 101}, "choose_up_to is 101; it must be 0, or a size from 51 to 100"),
        ({"lengths": "some"}, "lengths 'some': 'some' is not a distribution"),
        ({"choose_up_to": 50}, "beyond the longest of training"),
        ({"average": -0.1}, "average is -0.1"),
        ({"curriculum": 1.5}, "curriculum is 1.5"),
    ],
}


@pytest.mark.parametrize(("cls", "values", "message"), [(cls, *row) for cls, rows in REFUSED.items() for row in rows])
def test_value_that_is_not_legal_is_refused(cls, values, message):
    with pytest.raises(ValueError) as error:
        cls(**values)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"hiden_size": 3}}, "unknown key 'hiden_size' in [model]; did you mean hidden_size?"),
        ({"modle": {}}, "unknown key 'modle' at the top level; did you mean model?"),
        ({"training": {"zzz": 3}}, "legal keys: optimiser, learning_rate"),
        ({"model": {"hidden_size": "big"}}, "hidden_size is 'big'; it must be a whole number from 1 to 2,147,483,647"),
        ({"data": {"column": ["x"]}}, "column is ['x']; it must be text"),
        ({"model": 3}, "[model] must be a table"),
    ],
)
def test_run_config_from_dict_refuses(sections, message):
    with pytest.raises(ValueError) as error:
        RunConfig.from_dict(sections)
    assert message in str(error.value)


def test_run_config_survives_its_own_plain_values():
    for model in (ModelConfig(cell="rnn", nonlinearity="relu"), ModelConfig(checkpoint_steps="auto")):
        config = RunConfig(model, DataConfig(lines=True), TrainingConfig(seed=7))
        assert RunConfig.from_dict(asdict(config)) == config


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (ModelConfig("rnn"), "RNN_TANH"),
        (ModelConfig("rnn", nonlinearity="relu"), "RNN_RELU"),
        (ModelConfig("lstm"), "LSTM"),
        (ModelConfig("gru"), "GRU"),
    ],
)
def test_model_config_kind_is_the_notation_name(config, kind):
    assert config.kind == kind


def test_sgd_at_the_default_rate_gets_a_note():
    with pytest.warns(UserWarning, match=r"sgd learns next to nothing at the default .* try learning_rate=1.0"):
        TrainingConfig(optimiser="sgd")
    TrainingConfig(optimiser="sgd", learning_rate=1.0)  # warns of nothing
