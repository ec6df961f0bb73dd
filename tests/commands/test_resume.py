"""`unrolled train --resume` goes on with the run that is there, and with no other."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.commands.command_line import ENVIRONMENT, SMALL, UNROLLED, contents, refusal, unrolled
from unrolled.lm import Corpus, ModelConfig, SequenceModel, TrainingConfig, train
from unrolled.saved.lock import only_writer

ROOT = Path(__file__).parents[2]


def test_ctrl_c_saves_and_resume_continues(tmp_path):
    flags = ["--hidden-size", "8", "--batch-size", "4", "--bptt", "16", "--max-epochs", "0", "--log-every", "1"]
    out = tmp_path / "run"
    process = subprocess.Popen(
        [*UNROLLED, "train", "sonnets", "--out", str(out), *flags, "--max-steps", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    deadline = time.monotonic() + 120
    while not (out / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    shown, error = process.communicate(timeout=60)
    assert process.returncode == 1, error.decode()
    assert f"unrolled train --resume --out {out}" in shown.decode()
    done = int(json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])["step"])
    assert "--learning-rate was 0.0" in refusal(1, "train", "--resume", "--out", out, "--learning-rate", "1")
    (tmp_path / "other.txt").write_text("another text altogether\n" * 100)
    assert "other data" in refusal(1, "train", tmp_path / "other.txt", "--resume", "--out", out)
    resumed = unrolled("train", "--resume", "--out", out, "--max-steps", str(done + 5))
    assert f"after {done + 5:,} steps" in resumed.stdout.decode(), resumed.stderr.decode()


def test_run_inside_its_data_is_no_part_of_it_in_training_resuming_and_evaluating(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("the text that is read\n" * 100)
    out = tmp_path / "data" / "run"
    assert unrolled("train", tmp_path / "data", "--out", out, *SMALL).returncode == 0
    for arguments in (
        ["train", "--resume", "--out", out, *SMALL[:-1], "14"],
        ["evaluate", out],
        ["train", tmp_path / "data", "--out", tmp_path / "data" / "another", *SMALL],
    ):
        done = unrolled(*arguments)
        assert done.returncode == 0, done.stderr.decode()
        assert "the first 1,980 symbols train" in done.stdout.decode()
        assert f"of a model, a run or a prepared corpus, and so skipped: {out}" in done.stderr.decode()


def test_resume_of_another_corpus_model_or_training_is_refused(copied, tmp_path):
    before = contents(copied)
    (tmp_path / "other.txt").write_text("another text altogether\n" * 100)
    resume = ["train", "--resume", "--out", copied]
    assert "this run began with other data" in refusal(1, "train", tmp_path / "other.txt", *resume[1:])
    assert "this run began with other data" in refusal(1, *resume, "--validation", "0.1")
    assert "--hidden-size was 8 when this run began and is 9 now" in refusal(1, *resume, "--hidden-size", "9")
    assert "seed was 0 when this run began and is 1 now" in refusal(1, *resume, "--seed", "1")
    began = json.loads((copied / "config.json").read_text())["training"]["precision"]  # the faster one here
    other = "float32" if began == "bfloat16" else "bfloat16"
    assert f"--precision was {began!r} when this run began" in refusal(1, *resume, "--precision", other)
    assert contents(copied) == before


def test_folder_that_is_being_trained_in_is_refused_to_everyone_else(copied):
    before = contents(copied)
    with only_writer(copied):
        for command in (["sonnets"], ["--resume"], ["--resume", "--max-steps", "40"]):
            error = refusal(1, "train", *command, "--out", copied)
            assert f"{copied}: pid {os.getpid()} on " in error
            assert "is writing to this folder; wait until it ends, or stop it" in error
    assert contents(copied) == before
    assert unrolled("train", "--resume", "--out", copied).returncode == 0


def test_resume_needs_no_file_of_the_model(copied):
    before = contents(copied)
    for name in ("config.json", "vocabulary.json", "model.safetensors"):
        (copied / name).unlink()
    assert unrolled("train", "--resume", "--out", copied).returncode == 0
    assert contents(copied).keys() >= {Path("config.json"), Path("vocabulary.json")}
    assert (copied / "model.safetensors").read_bytes() == before[Path("model.safetensors")]


def test_resume_without_a_run_says_so(tmp_path):
    assert "no run to resume" in refusal(2, "train", "--resume", "--out", tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.fixture
def begun_in_python(tmp_path):
    """A run that knows no name of its data, and a file that holds the same."""
    (tmp_path / "data.txt").write_text("abc abd\n" * 90)
    corpus = Corpus.from_text("abc abd\n" * 90, lines=True)
    model = SequenceModel(ModelConfig(hidden_size=5), corpus.vocabulary)
    train(model, corpus, TrainingConfig(max_steps=4), tmp_path / "run")
    return tmp_path


def test_run_begun_in_python_says_how_it_is_resumed(begun_in_python):
    error = refusal(2, "train", "--resume", "--out", begun_in_python / "run")
    assert f"unrolled train DATA... --resume --out {begun_in_python / 'run'}" in error
    assert "train(..., resume=True)" in error


def test_run_begun_in_python_is_resumed_with_its_data_named_and_from_then_on_knows_it(begun_in_python):
    resume = ["--resume", "--out", begun_in_python / "run", "--max-steps"]
    assert "other data" in refusal(1, "train", begun_in_python / "data.txt", *resume, "8")
    done = unrolled("train", begun_in_python / "data.txt", "--lines", *resume, "8")
    assert done.returncode == 0, done.stderr.decode()
    assert "after 12 steps" in unrolled("train", *resume, "12").stdout.decode()


def test_resumed_run_says_that_it_reads_standard_input(tmp_path):
    text = b"the same text again\n" * 90
    assert unrolled("train", "-", "--out", tmp_path / "a b", *SMALL, stdin=text).returncode == 0
    done = unrolled("train", "--resume", "--out", tmp_path / "a b", stdin=text)
    assert done.returncode == 0
    assert (
        f"reading standard input, which this run began with: unrolled train --resume --out '{tmp_path}/a b' < DATA"
        in (done.stdout.decode())
    )


def test_run_with_the_symbols_of_a_tokenizer_resumes_without_its_file(tmp_path):
    (tmp_path / "a.txt").write_text("to be, or not to be\n" * 60)
    model = {"type": "BPE", "merges": ["t o", "b e"], "vocab": {}}
    (tmp_path / "tok.json").write_text(json.dumps({"model": model}))
    begin = ["train", "a.txt", "--kind", "bpe", "--tokenizer", "tok.json", *SMALL[:-1]]
    assert unrolled(*begin, "4", "--out", "whole", cwd=tmp_path).returncode == 0
    assert unrolled(*begin, "4", "--out", "other", cwd=tmp_path).returncode == 0
    assert unrolled("train", "--resume", "--out", "whole", "--max-steps", "8", cwd=tmp_path).returncode == 0
    (tmp_path / "tok.json").unlink()
    done = unrolled("train", "--resume", "--out", "other", "--max-steps", "8", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "other"))
    assert one == other


@pytest.mark.whole_process
@pytest.mark.skipif(shutil.which("cc") is None, reason="no compiler for the library that kills at an operation")
def test_run_that_is_killed_at_any_operation_on_files_resumes_to_the_same_end():
    """A sample of the campaign, which takes half an hour as a whole."""
    command = [sys.executable, "-m", "tests.commands.kill_campaign", "--kills", "36"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"operations, 12 kills, 0 faults", done.stdout)) == 3, done.stdout
