"""Every range is checked once, whichever way a value comes in, and a wrong key is an error with a hint."""

import subprocess
import sys

import pytest

from unrolled.config.data import DataConfig
from unrolled.config.generation import GenerationConfig
from unrolled.config.model import ModelConfig
from unrolled.config.run import RunConfig
from unrolled.config.training import TrainingConfig


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ModelConfig(cell="lstn"), "cell is 'lstn'; it must be one of rnn, lstm, gru"),
        (lambda: ModelConfig(hidden_size=0), "hidden_size is 0; it must be a whole number of at least 1"),
        (lambda: ModelConfig(hidden_size=True), "hidden_size is True; it must be a whole number"),
        (lambda: ModelConfig(dropout=1.0), r"dropout is 1.0; it must be a number in \[0, 1\)"),
        (lambda: ModelConfig(checkpoint_steps=0), 'checkpoint_steps is 0, expected None, "auto" or the steps of a'),
        (lambda: ModelConfig(nonlinearity="relu"), "only cell = 'rnn' has one, not lstm"),
        (lambda: ModelConfig(tied=True), "embedding_size must equal hidden_size = 256; it is 0"),
        (lambda: DataConfig(validation=0.6, test=0.5), "it must leave a share to train on"),
        (lambda: DataConfig(format="text", column="x"), "column is 'x'; only format = 'csv' has columns, not text"),
        (lambda: DataConfig(split_by="line"), "split_by is 'line'; it must be one of auto, sequence, block, file"),
        (lambda: TrainingConfig(learning_rate=0.0), r"learning_rate is 0.0; it must be a number in \(0, inf\)"),
        (lambda: TrainingConfig(learning_rate=float("nan")), "learning_rate is nan"),
        (lambda: TrainingConfig(max_epochs=0), "training never ends"),
        (lambda: TrainingConfig(schedule="cosine", max_epochs=0, max_minutes=1.0), "needs max_steps or max_epochs"),
        (lambda: GenerationConfig(top_p=0.0), r"top_p is 0.0; it must be a number in \(0, 1\]"),
        (lambda: GenerationConfig(temperature=0.0), "temperature is 0.0"),
    ],
)
def test_config_names_field_value_and_range(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"hiden_size": 3}}, r"unknown key 'hiden_size' in \[model\]; did you mean hidden_size\?"),
        ({"modle": {}}, r"unknown key 'modle' at the top level; did you mean model\?"),
        ({"training": {"zzz": 3}}, "legal keys: optimiser, learning_rate"),
        ({"model": {"hidden_size": "big"}}, r"Expected `int`, got `str` - at `\$.model.hidden_size`"),
        ({"model": {"hidden_size": -3}}, "hidden_size is -3"),
        ({"model": 3}, r"\[model\] must be a table"),
    ],
)
def test_run_config_from_dict_refuses(sections, message):
    with pytest.raises(ValueError, match=message):
        RunConfig.from_dict(sections)


def test_run_config_survives_its_own_plain_values():
    for model in (ModelConfig(cell="rnn", nonlinearity="relu"), ModelConfig(checkpoint_steps="auto")):
        config = RunConfig(model, DataConfig(lines=True), TrainingConfig(seed=7))
        assert RunConfig.from_dict(config.to_dict()) == config


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


def test_config_import_leaves_torch_out():
    code = "import sys, unrolled.config.run; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
