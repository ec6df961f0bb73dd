"""What `train` says at its end: one text, and commands that run as they are printed; Ctrl-C keeps the best model."""

import json
import random
import re
import shlex
import signal
import subprocess
import time

import pytest

from tests.commands.command_line import ENVIRONMENT, SMALL, UNROLLED, unrolled
from unrolled.commands.outcome import beginning_of, quotable
from unrolled.corpus.sonnets import sonnets
from unrolled.lm import Corpus, SequenceModel, evaluate


def printed(done):
    """The commands that a run printed, as arguments."""
    lines = re.search(r"\nwrote [^\n]*; try:\n((?:  unrolled [^\n]*\n)+)", done.stdout.decode()).group(1).splitlines()
    return [shlex.split(line)[1:] for line in lines]


DATA = {
    "a stream": ("Shall I compare thee to a summer's day?\n" * 60, []),
    "words": ("so long lives this and this gives life to thee\n" * 60, ["--kind", "words"]),
    "words and marks": ("so long lives this, and (this) gives life to thee.\n" * 60, ["--kind", "words-and-marks"]),
    "names": ("Anna\nBela\nCleo\nDora\n" * 20, ["--lines"]),
    "symbols": ("c4 e4 g4 c5\n" * 60, ["--lines", "--kind", "symbols"]),
    "bytes": ("n\u00e9 \u20ac and so on\n" * 60, ["--kind", "bytes"]),
    "hyphens": ("-x 'a $b' \"c\" !d\n" * 60, ["--lines"]),
    "backslashes": ("\\n\n" * 60, ["--lines"]),
    "standard input": ("-\n" * 60, ["--lines"]),
    "one line": ("abc" * 300, []),
}


@pytest.mark.parametrize("name", DATA)
def test_commands_to_try_run_as_they_are_printed(name, tmp_path):
    text, flags = DATA[name]
    (tmp_path / "it's data.txt").write_text(text, "utf-8")
    done = unrolled("train", "it's data.txt", "--out", "my runs/a", *flags, *SMALL, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert "one text by the model, at temperature 0.8:\n\n" in done.stdout.decode()
    found = printed(done)
    assert len(found) == 3
    assert found[0][0] == "generate"
    for arguments in found:
        tried = unrolled(*arguments, cwd=tmp_path)
        assert (tried.returncode, tried.stderr) == (0, b""), arguments
        assert tried.stdout


def test_bytes_that_are_no_text_have_commands_too(tmp_path):
    data = random.Random(0).randbytes(4000)
    done = unrolled("train", "-", "--out", tmp_path / "run", "--kind", "bytes", *SMALL, stdin=data)
    assert [each[0] for each in printed(done)] == ["generate", "generate", "evaluate"]


def test_prompt_is_the_beginning_of_a_held_out_line():
    corpus = Corpus.from_text("".join(f"line {k} of a text that is held out\n" for k in range(200)))
    line = quotable(corpus)
    assert re.fullmatch(r"line \d+ of a text that is held out", line)
    assert line in corpus.vocabulary.text(corpus.test.ids)
    assert line.startswith(beginning_of(line))


def test_ctrl_c_keeps_the_best_model_so_far(tmp_path):
    out = tmp_path / "run"
    flags = [*SMALL[:-2], "--max-steps", "100000", "--learning-rate", "0.1", "--validate-every", "5"]
    process = subprocess.Popen(
        [*UNROLLED, "train", "sonnets", "--out", str(out), *flags],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT,
    )  # fmt: skip
    deadline, losses = time.monotonic() + 120, []
    while time.monotonic() < deadline and not (losses and min(losses) < losses[-1]):
        time.sleep(0.05)
        losses = validated(out)
    process.send_signal(signal.SIGINT)
    shown, error = process.communicate(timeout=60)
    assert process.returncode == 1, error.decode()
    kept = re.search(r"\nkept the best so far in \S+; try: (.*)\n", shown.decode()).group(1)
    assert kept == shlex.join(["unrolled", "generate", str(out)])
    assert unrolled(*shlex.split(kept)[1:]).stdout
    model = SequenceModel.from_pretrained(out)
    found = evaluate(model, Corpus.from_text(sonnets(), vocabulary=model.vocabulary), "validation").nats
    assert found == pytest.approx(min(validated(out)), rel=1e-5)


def validated(out):
    """The validation losses of a run so far."""
    lines = (out / "metrics.jsonl").read_text().splitlines() if (out / "metrics.jsonl").exists() else []
    return [line["validation_nats"] for line in map(json.loads, lines) if "validation_nats" in line]
