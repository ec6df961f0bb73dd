"""`unrolled train`: the result it shows, the data it takes, and how a run ends."""

import json
import re

import pytest

from tests.commands.command_line import SMALL, refusal, unrolled


def test_train_shows_the_result_beside_baselines(run):
    out, shown = run
    for expected in ("SequenceModel(GRU", "ended by max_steps after 12 steps", "bits/symbol", "bigram", "xz", str(out)):
        assert expected in shown, shown
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert steps == [10, 12]


def test_tensorboard_log_holds_the_lines_of_metrics_and_no_step_twice(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="needs [track]")
    out = tmp_path / "run"
    flags = [*SMALL[:-1], "20", "--validate-every", "5", "--tensorboard"]
    assert unrolled("train", "sonnets", "--out", out, *flags).returncode == 0
    assert unrolled("train", "--resume", "--out", out, "--max-steps", "30").returncode == 0
    log = accumulator.EventAccumulator(str(out)).Reload()
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    for tag, key in [
        ("training/nats", "nats"),
        ("training/learning_rate", "learning_rate"),
        ("validation/bits", "validation_bits"),
    ]:
        written = [(event.step, event.value) for event in log.Scalars(tag)]
        assert written == [(line["step"], pytest.approx(line[key])) for line in lines if key in line], tag


def test_sequences_report_exact_strings_and_stop_at_eos(lines_file, tmp_path):
    out = tmp_path / "run"
    done = unrolled(
        "train", lines_file, "--out", out, "--kind", "symbols", "--lines", *SMALL[:4], "--max-steps", "60",
        "--learning-rate", "0.02", "--validation", "0.2", "--test", "0",
    )  # fmt: skip
    assert "exact strings" in done.stdout.decode(), done.stderr.decode()
    assert unrolled("generate", out, "a", "--max-length", "100", "--strategy", "greedy").returncode == 0


def test_standard_input_trains_and_binary_is_read_as_bytes(tmp_path):
    done = unrolled("train", "-", "--out", tmp_path / "run", "--kind", "bytes", *SMALL, stdin=bytes(range(256)) * 4)
    assert done.returncode == 0, done.stderr.decode()


def test_divergence_fails_and_says_what_to_do(tmp_path):
    error = refusal(
        1, "train", "sonnets", "--out", tmp_path / "run", *SMALL[2:], "--cell", "rnn", "--nonlinearity", "relu",
        "--optimiser", "sgd", "--learning-rate", "1e9", "--clip-norm", "0",
    )  # fmt: skip
    assert re.search(r"diverged at step \d+, batch \d+ of epoch 1: loss \S+ nats", error)
    assert "Lower --learning-rate (now 1e+09) or clip gradients with --clip-norm" in error
