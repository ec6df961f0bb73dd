"""What a sweep's file may say, and TOML that is read back as it was written."""

import re
import tomllib
from dataclasses import asdict

import pytest

from unrolled.config.data import DataConfig
from unrolled.config.run import RunConfig
from unrolled.config.sweep import Range, SweepConfig
from unrolled.config.toml import to_toml

GOOD = {
    "sources": ["a.txt"],
    "data": {"kind": "words"},
    "training": {"max_steps": 5},
    "model": {"num_layers": 2},
    "search": {"hidden_size": {"low": 2, "high": 64, "log": True}, "cell": ["lstm", "gru"], "tied": [True, False]},
}


def test_sweep_knows_what_is_given_and_what_is_searched():
    sweep = SweepConfig.from_dict(GOOD)
    assert sweep.sources == ("a.txt",)
    assert sweep.data.kind == "words"
    assert sweep.given == {"num_layers": 2, "max_steps": 5}
    assert sweep.search == {"hidden_size": Range(2, 64, True), "cell": ("lstm", "gru"), "tied": (True, False)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sources": None}, "sources is None; it must be a list of files and folders"),
        ({"sources": "a.txt"}, "sources is 'a.txt'; it must be a list"),
        ({"search": {}}, "[search] must name the options to search"),
        ({"serch": {}}, "unknown key 'serch' at the top level; did you mean search?"),
        ({"training": {}}, "[training] must say when a trial ends: max_steps, max_epochs or max_minutes"),
        ({"training": {"max_steps": 0}}, "[training] must say when a trial ends"),
        ({"training": {"max_stepps": 5}}, "unknown key 'max_stepps' in [training]"),
        ({"search": {"hiden_size": [2]}}, "unknown key 'hiden_size' in [search]; did you mean hidden_size?"),
        ({"search": {"kind": ["words"]}}, "[search] kind says how data is read, which is the same for all trials"),
        ({"search": {"max_steps": [1, 2]}}, "[search] max_steps is the same for all trials"),
        ({"search": {"num_layers": [1, 2]}}, "[search] num_layers is set to 2 for all trials"),
        ({"search": {"cell": ["lstn"]}}, "[search] cell is 'lstn'; it must be one of rnn, lstm, gru"),
        ({"search": {"cell": {"low": 1, "high": 2}}}, "it must be a list of values"),
        ({"search": {"dropout": []}}, "it must be a list of values or a range, as in { low = 1, high = 100"),
        ({"search": {"dropout": 0.5}}, "[search] dropout is 0.5; it must be a list of values or a range"),
        ({"search": {"dropout": {"low": 0, "high": 1}}}, "[search] dropout is 1; it must be a number in [0, 1)"),
        ({"search": {"dropout": {"low": 0.5, "high": 0.1}}}, "low must be a number below high"),
        ({"search": {"dropout": {"low": 0.0, "high": 0.1, "log": True}}}, "low must be a number above 0 below high"),
        ({"search": {"dropout": {"low": 0.0, "high": 0.1, "step": 2}}}, "or a range"),
        ({"search": {"hidden_size": {"low": 1.5, "high": 4}}}, "hidden_size is 1.5; it must be a whole number"),
        ({"search": {"hidden_size": [4, 4]}}, "[search] hidden_size has a value twice in 4, 4"),
    ],
)
def test_sweep_with_a_mistake_names_the_key_and_what_is_legal(change, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        SweepConfig.from_dict(GOOD | change)


def test_toml_is_read_back_as_it_was_written():
    odd = DataConfig(separator='"\\n\t\x7f\x01é😀', include="a b", encoding="latin-1", validation=1e-05)
    config = asdict(RunConfig.from_dict({"data": asdict(odd), "model": {"tied": True, "embedding_size": 256}}))
    read = tomllib.loads(to_toml(config))
    assert RunConfig.from_dict(read) == RunConfig.from_dict(config)
    assert "checkpoint_steps" not in read["model"]


@pytest.mark.parametrize(
    ("training", "search", "idle"),
    [
        ({}, {"optimiser": ["adamw"]}, set()),
        ({"momentum": 0.5}, {"optimiser": ["adamw"]}, {"momentum"}),
        ({"momentum": 0.5}, {"optimiser": ["adamw", "sgd"]}, set()),
        ({}, {"plateau_patience": {"low": 1, "high": 9}}, {"plateau_patience"}),
        ({}, {"plateau_patience": [3, 4], "schedule": ["plateau", "constant"]}, set()),
        ({"tensorboard": True, "log_every": 3}, {"hidden_size": [4]}, {"tensorboard", "log_every"}),
    ],
)
def test_options_that_do_nothing_in_any_trial_are_named(training, search, idle):
    sections = {"sources": ["a"], "training": {"max_steps": 9} | training, "search": search}
    assert set(SweepConfig.from_dict(sections).without_effect(stream=True)) == idle
