"""`unrolled sweep`: what it shows and writes, that it goes on, and what it refuses."""

import re
import tomllib

import pytest

pytest.importorskip("optuna", reason="needs [sweep]")

from tests.commands.command_line import refusal, unrolled

SWEEP = """
sources = ["a.txt"]
[training]
max_steps = 10
batch_size = 2
bptt = 8
[search]
hidden_size = { low = 2, high = 9, log = true }
cell = ["rnn", "gru"]
"""
TEXT = "so long as men can breathe or eyes can see\n" * 40


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "small.toml").write_text(SWEEP)
    return tmp_path


def test_sweep_shows_its_trials_and_writes_options_that_train_takes(folder):
    done = unrolled("sweep", "small.toml", "--trials", "5", cwd=folder)
    shown = done.stdout.decode()
    assert (done.returncode, done.stderr) == (0, b"")
    assert shown.count("bits/symbol in 0 s") == 5
    for expected in (
        "trial 0, ",
        "the best so far",
        "the best of 5 trials, 0 ended early",
        "what mattered, by PED-ANOVA",
    ):
        assert expected in shown
    out = folder / "sweeps" / "small"
    assert (out / "sweep.png").read_bytes()[:4] == b"\x89PNG"
    best = tomllib.loads((out / "best.toml").read_text())
    assert best["training"]["max_steps"] == 10
    assert best["model"]["cell"] in ("rnn", "gru")
    assert "train with: unrolled train a.txt --config sweeps/small/best.toml" in shown
    trained = unrolled("train", "a.txt", "--config", "sweeps/small/best.toml", "--out", "run", cwd=folder)
    assert trained.returncode == 0, trained.stderr.decode()
    assert "chosen for this data" not in trained.stdout.decode()
    again = unrolled("sweep", "small.toml", "--trials", "6", cwd=folder).stdout.decode()
    assert "5 trials there already" in again
    assert again.count("bits/symbol in") == 1


def test_sweep_whose_best_is_worse_than_a_guess_says_so(folder):
    config = SWEEP.split("[search]")[0] + 'optimiser = "sgd"\n[search]\nlearning_rate = [1e8, 9e8]\n'
    (folder / "wild.toml").write_text(config)
    shown = unrolled("sweep", "wild.toml", "--trials", "1", cwd=folder).stdout.decode()
    assert re.search(r"worse than a uniform guess: [\d,]+ bits/symbol, a guess costs 4.\d*; search a lower", shown)


def test_sweep_without_a_trial_that_could_be_trained_fails(folder):
    (folder / "large.toml").write_text(SWEEP.split("[search]")[0] + "[search]\nhidden_size = [200000, 300000]\n")
    done = unrolled("sweep", "large.toml", "--trials", "2", cwd=folder)
    assert (done.returncode, done.stdout.count(b"cannot be trained")) == (1, 2)
    assert done.stderr.startswith(b"unrolled: no trial has run to its end; change")


def test_sweep_refuses_what_it_cannot_do_in_one_sentence(folder):
    assert "none.toml" in refusal(2, "sweep", "none.toml", cwd=folder)
    (folder / "b.toml").write_text("[search")
    assert refusal(2, "sweep", "b.toml", cwd=folder).startswith("b.toml: Expected ']'")
    (folder / "b.toml").write_text(SWEEP.replace('"rnn"', '"rmn"'))
    assert refusal(2, "sweep", "b.toml", cwd=folder) == (
        "b.toml: [search] cell is 'rmn'; it must be one of rnn, lstm, gru"
    )
    (folder / "b.toml").write_text(SWEEP.replace("a.txt", "none.txt"))
    assert "none.txt: no such file" in refusal(1, "sweep", "b.toml", cwd=folder)
    assert "cannot reach the study" in refusal(1, "sweep", "small.toml", "--storage", "nosuch://x/y", cwd=folder)
    assert not (folder / "sweeps").exists()
    assert unrolled("sweep", "small.toml", "--trials", "1", cwd=folder).returncode == 0
    (folder / "small.toml").write_text(SWEEP.replace("9", "12"))
    assert "this study began with another [search]" in refusal(1, "sweep", "small.toml", cwd=folder)
    (folder / "other.toml").write_text(SWEEP)
    said = refusal(1, "sweep", "other.toml", "--out", "sweeps/small", cwd=folder)
    assert said == "sweeps/small/best.toml is of another sweep, which this one would replace; give another --out"


def test_options_without_effect_are_named(folder):
    config = SWEEP.replace("[search]", "momentum = 0.5\ntensorboard = true\n[search]\nplateau_factor = [0.1, 0.5]")
    (folder / "idle.toml").write_text(config)
    noted = unrolled("sweep", "idle.toml", "--trials", "1", cwd=folder).stderr.decode()
    for said in ("momentum has no effect: adamw has none", "tensorboard has no effect: a trial writes no files"):
        assert f"idle.toml: {said}" in noted
    assert "plateau_factor has no effect: only schedule='plateau' has one" in noted
    (folder / "both.toml").write_text(config.replace("[search]", '[search]\noptimiser = ["adamw", "sgd"]'))
    assert "momentum" not in unrolled("sweep", "both.toml", "--trials", "1", cwd=folder).stderr.decode()


def test_sweep_under_torchrun_says_how_work_is_shared(folder):
    started = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    done = unrolled("sweep", "small.toml", cwd=folder, **started)
    assert done.returncode == 2
    assert "start the command itself several times, with one --storage" in done.stderr.decode()
