"""Every option changes what a command does, is refused, or is said to have no effect."""

import json
import shlex
from dataclasses import asdict

import pytest

from tests.commands.command_line import unrolled
from unrolled.config.data import DataConfig, ReadingConfig
from unrolled.config.generation import GenerationConfig
from unrolled.config.model import ModelConfig
from unrolled.config.options import named_as_flags, option
from unrolled.config.training import TrainingConfig

TEXT = "#" + "the cat sat on the mat, and the dog ran to the cafe\u0301.\nshe was there before the rain.\n" * 40
TABLE = "name,tune\n" + "#,#ab\n" * 2 + "".join(f"x{n},cafe\u0301 {n}\n" for n in range(60))
#: What all runs have, so that six steps show what an option does.
SHORT = {
    "hidden_size": 6, "batch_size": 4, "max_steps": 6, "learning_rate": 0.01, "schedule": "constant",
    "weigh": "batches", "validate_every": 2, "log_every": 1, "precision": "float32",  # which the processor decides
}  # fmt: skip
#: Data and how it is read.
DATA = {
    "stream": ("t.txt", {"bptt": 16}),
    "sequences": ("t.txt", {"lines": True}),
    "table": ("t.csv", {"column": "tune"}),
    "bytes": ("t.txt", {"kind": "bytes", "bptt": 16}),
    "nothing held out": ("t.txt", {"bptt": 16, "validation": 0.0, "test": 0.0}),
}

#: A value of each option of `train` that is neither its default nor what the recipe chooses.
TRAIN = {
    "cell": "gru", "hidden_size": 5, "num_layers": 2, "embedding_size": 5, "dropout": 0.3, "weight_dropout": 0.3,
    "nonlinearity": "relu", "tied": True, "learned_initial_state": True,
    "kind": "words", "lines": True, "separator": ".", "format": "jsonl", "column": "1", "header": False,
    "delimiter": ";", "encoding": "latin-1", "include": "*.txt", "min_count": 3, "vocabulary_size": 8,
    "tokenizer": "none.json", "nfc": True, "validation": 0.2, "test": 0.2, "split_by": "file", "split_seed": 4,
    "optimiser": "rmsprop", "learning_rate": 0.02, "momentum": 0.5, "weight_decay": 0.3, "clip_norm": 0.01,
    "schedule": "cosine", "warmup_steps": 3, "plateau_patience": 1, "plateau_factor": 0.1, "batch_size": 3, "bptt": 9,
    "accumulate": 2, "weigh": "symbols", "softmax_samples": 5, "precision": "bfloat16", "max_steps": 5,
    "validate_every": 3, "log_every": 2, "seed": 5,
}  # fmt: skip
#: Options whose effect lies elsewhere, and is tested there.
ELSEWHERE = {
    "checkpoint_steps": "the same bits in less memory",
    "checkpoint_every": "what a run that is killed repeats",
    "max_epochs": "an end that these runs do not come to",
    "max_minutes": "an end by the clock",
    "patience": "an end of runs that no longer improve",
    "tensorboard": "another file",
}


def flags(options):
    """Return options as they are typed."""
    with named_as_flags():
        named = [(option(name, value), value) for name, value in options.items()]
    return [part for text, value in named for part in ([text] if isinstance(value, bool) else shlex.split(text))]


def noted(name, value, said):
    """Return whether a note names an option that is set to a value."""
    with named_as_flags():
        return f"{option(name, value)} has no effect" in said


def trained(folder, name, data, options):
    """Train in a folder; return the exit code, all that the run leaves but its times, and what was said."""
    done = unrolled("train", data, *flags(options), "--out", name, cwd=folder)
    files = {path.name: path.read_bytes() for path in (folder / name).glob("*") if path.is_file()}
    lines = [json.loads(line) for line in files.get("metrics.jsonl", b"").splitlines()]
    metrics = [{key: value for key, value in line.items() if "second" not in key} for line in lines]
    kept = files.get("model.safetensors"), files.get("vocabulary.json"), metrics
    return done.returncode, kept, done.stderr.decode()


def test_tables_name_every_option():
    assert {*TRAIN} | {*ELSEWHERE} == {*asdict(ModelConfig()), *asdict(DataConfig()), *asdict(TrainingConfig())}


@pytest.mark.parametrize("data", DATA)
def test_every_option_of_train_does_something_or_is_noted(data, tmp_path):
    (tmp_path / "t.txt").write_text(TEXT)
    (tmp_path / "t.csv").write_text(TABLE)
    file, own = DATA[data]
    own = SHORT | own
    options = TRAIN
    if data not in ("stream", "sequences"):  # which differ from a stream in how they are read and split
        options = {name: TRAIN[name] for name in (*asdict(DataConfig()), "bptt", "validate_every")}
    code, base, said = trained(tmp_path, "base", file, own)
    assert code == 0, said
    assert trained(tmp_path, "again", file, own)[1] == base
    silent = []
    for name, value in options.items():
        code, came, said = trained(tmp_path, name, file, own | {name: value})
        if code == 0 and came == base and own.get(name) != value and not noted(name, value, said):
            silent.append(name)
    assert silent == []


@pytest.mark.parametrize("strategy", ["sample", "greedy", "beam"])
def test_every_option_of_generate_does_something_or_is_noted(strategy, run):
    common = ["generate", run[0], "Shall I", "--strategy", strategy]
    own = {"max_length": 40} | ({"seed": 0} if strategy == "sample" else {})
    options = {
        "max_length": 30, "temperature": 2.0, "top_k": 2, "top_p": 0.1, "min_p": 0.5, "beam_width": 1, "seed": 4,
    }  # fmt: skip
    base = unrolled(*common, *flags(own))
    assert (base.returncode, base.stderr) == (0, b"")
    options["stop"] = base.stdout.decode()[-2]  # the last symbol
    assert {*options, "strategy", "allow_unk"} == {*asdict(GenerationConfig())}  # UNK is hardly ever the next symbol
    silent = []
    for name, value in options.items():
        done = unrolled(*common, *flags(own | {name: value}))
        assert done.returncode == 0, done.stderr.decode()
        if done.stdout == base.stdout and not noted(name, value, done.stderr.decode()):
            silent.append(name)
    assert silent == []


@pytest.mark.parametrize("given", ["a file", "a text"])
def test_every_option_of_reading_does_something_is_refused_or_noted(given, run, tmp_path):
    (tmp_path / "t.txt").write_text("the caf\u00e9.\nthe rain.\n", "utf-8")
    common = ["score", run[0], *(["--file", tmp_path / "t.txt"] if given == "a file" else ["the rain."])]
    options = {
        "lines": True, "separator": ".", "format": "jsonl", "column": "2", "header": False, "delimiter": ";",
        "encoding": "latin-1",
    }  # fmt: skip
    assert {*options} == {*asdict(ReadingConfig())}
    base = unrolled(*common)
    silent = []
    for name, value in options.items():
        done = unrolled(*common, *flags({name: value}))
        if done.returncode == 0 and done.stdout == base.stdout and not noted(name, value, done.stderr.decode()):
            silent.append(name)
    assert silent == (["lines"] if given == "a text" else [])  # a text of one line is one either way
