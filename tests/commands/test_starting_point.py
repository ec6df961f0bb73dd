"""`unrolled train --from`: another run starts from a model's weights, options, symbols and reading of data."""

import json

import numpy as np
import pytest

from tests.commands.command_line import SMALL, contents, refusal, unrolled
from unrolled.saved.checkpoints import load_checkpoint, save_checkpoint
from unrolled.saved.model import SavedModel, read_config

TRAINING = ["--max-steps", "6", "--batch-size", "4", "--bptt", "16", "--schedule", "constant", "--warmup-steps", "0"]


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A model of lines and one of a stream, trained for a moment."""
    folder = tmp_path_factory.mktemp("old")
    (folder / "names.txt").write_text("Anna\nBela\nCleo\n" * 20)
    for name, flags in {"names": ["--lines", "--embedding-size", "5"], "stream": []}.items():
        done = unrolled("train", "names.txt", "--out", name, *SMALL, *flags, cwd=folder)
        assert done.returncode == 0, done.stderr.decode()
    (folder / "more.txt").write_text("Zo\u00eb\nBela\n" * 30, "utf-8")
    return folder


@pytest.mark.parametrize("name", ["names", "stream"])
def test_run_starts_from_weights_options_symbols_and_reading_of_another(name, old, tmp_path):
    before = contents(old / name)
    still = [*TRAINING, "--learning-rate", "1e-9"]
    done = unrolled("train", old / "more.txt", "--from", old / name, "--out", tmp_path / "new", *still)
    assert done.returncode == 0, done.stderr.decode()
    assert "2 new symbols added to its vocabulary: 'Z', '\u00eb'" in done.stdout.decode()
    assert "UNK" not in done.stdout.decode()
    first, then = SavedModel.load(old / name), SavedModel.load(tmp_path / "new")
    assert then.vocabulary.symbols == (*first.vocabulary.symbols, "Z", "\u00eb")
    assert (then.model, then.framed) == (first.model, first.framed)
    V = len(first.vocabulary.symbols)
    np.testing.assert_allclose(then.tensors["head.weight"][:V], first.tensors["head.weight"][:V], atol=1e-6)
    np.testing.assert_allclose(then.tensors["rnn.weight_hh_l0"], first.tensors["rnn.weight_hh_l0"], atol=1e-6)
    assert contents(old / name) == before
    sha = read_config(old / name)[1]["model.safetensors"]
    recorded = json.loads((tmp_path / "new" / "config.json").read_text())["started_from"]
    assert recorded == {"folder": str(old / name), "sha256": sha, "symbols_added": 2}


def test_run_that_started_from_another_resumes_and_is_measured_with_its_symbols(old, tmp_path):
    out, slowly = tmp_path / "new", [*TRAINING[2:], "--learning-rate", "0.002"]  # the last validation is the best
    begin = ["train", old / "more.txt", "--from", old / "names", "--out"]
    assert unrolled(*begin, out, *TRAINING[:2], *slowly).returncode == 0
    done = unrolled("train", "--resume", "--out", out, "--max-steps", "9")
    assert "after 9 steps" in done.stdout.decode(), done.stderr.decode()
    assert "started_from" in json.loads((out / "config.json").read_text())
    assert unrolled("evaluate", out).returncode == 0
    whole = unrolled(*begin, tmp_path / "whole", *slowly, "--max-steps", "9")
    assert whole.returncode == 0
    assert (out / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


def test_run_that_started_from_another_resumes_from_its_checkpoint_alone(old, tmp_path):
    begin = ["train", old / "more.txt", "--from", old / "names", *TRAINING, "--out"]
    for out, lost in (
        (tmp_path / "whole", []),
        (tmp_path / "lost", ["config.json", "model.safetensors", "vocabulary.json"]),
    ):
        assert unrolled(*begin, out).returncode == 0
        for name in lost:
            (out / name).unlink()
        done = unrolled("train", "--resume", "--out", out, "--max-steps", "9")
        assert "after 9 steps" in done.stdout.decode(), done.stderr.decode()
    assert (tmp_path / "lost" / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model.safetensors"
    ).read_bytes()


def test_damaged_vocabulary_of_a_checkpoint_is_one_sentence(old, tmp_path):
    out = tmp_path / "new"
    assert unrolled("train", old / "more.txt", "--from", old / "names", *TRAINING, "--out", out).returncode == 0
    tensors, state = load_checkpoint(out)
    save_checkpoint(out, 6, tensors, state | {"vocabulary": "{}"})
    said = refusal(1, "train", "--resume", "--out", out, "--max-steps", "9")
    assert "new: the vocabulary of its checkpoint is damaged: not a vocabulary" in said


def test_data_may_be_read_in_another_way_than_the_old_models(old, tmp_path):
    (tmp_path / "more.csv").write_text("n,name\n" + "1,Zo\n2,Bela\n" * 30)
    flags = ["--column", "name", "--dropout", "0.2", "--learning-rate", "0.01"]
    done = unrolled(
        "train", tmp_path / "more.csv", "--from", old / "names", "--out", tmp_path / "new", *TRAINING, *flags
    )
    assert done.returncode == 0, done.stderr.decode()
    assert SavedModel.load(tmp_path / "new").model.dropout == 0.2


def test_options_that_contradict_the_old_model_are_refused_by_name(old, tmp_path):
    start = ["train", old / "more.txt", "--from", old / "names", "--out", tmp_path / "new", *TRAINING]
    error = refusal(2, *start, "--hidden-size", "9")
    assert error == f"--hidden-size is 9, but {old / 'names'} has 8; leave it out, or train anew"
    assert "--cell is 'lstm', but" in refusal(2, *start, "--cell", "lstm")
    assert "--kind is 'words', but" in refusal(2, *start, "--kind", "words")
    assert "--nfc is True, but" in refusal(2, *start, "--nfc")
    error = refusal(2, *start, "--tokenizer", "gpt2/tokenizer.json")
    assert error == f"--tokenizer gpt2/tokenizer.json: {old / 'names'} has its own symbols; leave it out"
    (tmp_path / "run.toml").write_text("[model]\nhidden_size = 10\n")
    assert "--hidden-size is 10, but" in refusal(2, *start, "--config", tmp_path / "run.toml")
    assert "--from begins a new run" in refusal(2, *start, "--resume")
    assert "read as one stream, but the model learned sequences" in refusal(1, *start, "--no-lines")
    assert "no config.json, so there is no model" in refusal(
        1, "train", "sonnets", "--from", tmp_path, "--out", tmp_path / "x"
    )
    assert not (tmp_path / "new").exists()
