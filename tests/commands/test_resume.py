"""`unrolled train --resume` goes on with the run that is there, and with no other."""

import json
import signal
import subprocess
import time

from tests.commands.command_line import ENVIRONMENT, UNROLLED, contents, refusal, unrolled


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
    assert process.returncode == 0, error.decode()
    assert f"unrolled train --resume --out {out}" in shown.decode()
    done = int(json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])["step"])
    assert "learning_rate was 0.002" in refusal(1, "train", "--resume", "--out", out, "--learning-rate", "1")
    (tmp_path / "other.txt").write_text("another text altogether\n" * 100)
    assert "other data" in refusal(1, "train", tmp_path / "other.txt", "--resume", "--out", out)
    resumed = unrolled("train", "--resume", "--out", out, "--max-steps", str(done + 5))
    assert f"after {done + 5:,} steps" in resumed.stdout.decode(), resumed.stderr.decode()


def test_resume_of_another_corpus_model_or_training_is_refused(copied, tmp_path):
    before = contents(copied)
    (tmp_path / "other.txt").write_text("another text altogether\n" * 100)
    resume = ["train", "--resume", "--out", copied]
    assert "this run began with other data" in refusal(1, "train", tmp_path / "other.txt", *resume[1:])
    assert "this run began with other data" in refusal(1, *resume, "--validation", "0.1")
    assert "hidden_size was 8 when this run began and is 9 now" in refusal(1, *resume, "--hidden-size", "9")
    assert "seed was 0 when this run began and is 1 now" in refusal(1, *resume, "--seed", "1")
    assert contents(copied) == before
