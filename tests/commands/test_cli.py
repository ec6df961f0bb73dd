"""The command line as a user meets it: in a process of its own, with exit codes, and never a traceback."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.commands.command_line import ENVIRONMENT, SMALL, UNROLLED, refusal, unrolled
from unrolled.corpus.sonnets import sonnets


@pytest.fixture(scope="session")
def lines_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "strings.txt"
    path.write_text("".join("a " * n + "b " * n + "\n" for n in range(1, 31)))
    return path


def test_train_shows_the_result_beside_baselines(run):
    out, shown = run
    for expected in ("SequenceModel(GRU", "ended by max_steps after 12 steps", "bits/symbol", "bigram", "xz", str(out)):
        assert expected in shown, shown
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert steps == [10, 12]


@pytest.mark.parametrize("command", [[], ["train"], ["evaluate"], ["generate"], ["score"], ["info"], ["demo"]])
def test_help_needs_neither_torch_nor_numpy(command):
    block = "import sys; sys.modules['torch'] = sys.modules['numpy'] = None"
    code = f"{block}; from unrolled.cli import run; sys.exit(run({[*command, '--help']!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert "Usage: unrolled" in done.stdout.decode()


def test_generate_obeys_prompt_length_and_seed(run):
    out, _ = run
    first, again, other = (
        unrolled("generate", out, "Shall I\\n", "--max-length", "30", "--seed", seed).stdout.decode() for seed in "112"
    )
    assert first == again != other
    assert first.startswith("Shall I\n")
    assert len(first) <= len("Shall I\n") + 30 + 1
    several = unrolled("generate", out, "a", "--count", "3", "--max-length", "5").stdout.decode()
    assert several.count("\n") >= 3


def test_score_names_symbols_bits_and_the_mean(run):
    out, _ = run
    shown = unrolled("score", out, "Shall I").stdout.decode()
    assert re.search(r"7 symbols, [\d.]+ bits, [\d.]+ bits/symbol", shown), shown
    from_stdin = unrolled("score", out, "-", stdin=b"Shall I").stdout.decode()
    assert from_stdin == shown


def bits_of(shown, predictor):
    return re.search(rf"{predictor}\s+│\s+([\d.]+)", shown).group(1)


def test_evaluate_measures_the_split_beside_baselines(run):
    out, trained = run
    again = unrolled("evaluate", out).stdout.decode()
    for predictor in ("parameters", "5-gram", "bz2"):
        assert bits_of(again, predictor) == bits_of(trained, predictor)
    assert "4,785 symbols of the test split" in again
    assert "the first 86,156 symbols train, the next 4,786 validate, the last 4,786 test" in again
    assert bits_of(unrolled("evaluate", out, "--split", "train").stdout.decode(), "uniform") == "6.000"


def test_evaluate_on_other_data_counts_baselines_in_the_model_s_own(run, tmp_path):
    """The same text as the test split gets the same bits from every predictor."""
    out, trained = run
    (tmp_path / "other.txt").write_text(sonnets()[-4786:])
    shown = unrolled("evaluate", out, tmp_path / "other.txt").stdout.decode()
    assert f"4,785 symbols of {tmp_path / 'other.txt'}\n" in shown
    for predictor in ("parameters", "unigram", "5-gram", "xz", "bz2"):
        assert bits_of(shown, predictor) == bits_of(trained, predictor)


def test_evaluate_takes_the_split_there_is_and_refuses_data_that_changed(tmp_path):
    (tmp_path / "data.txt").write_text("the quick brown fox\n" * 30)
    done = unrolled("train", "data.txt", "--out", "run", *SMALL, "--validation", "0.1", "--test", "0", cwd=tmp_path)
    assert "symbols of the validation split" in done.stdout.decode(), done.stderr.decode()
    run = tmp_path / "run"
    assert "symbols of the validation split" in unrolled("evaluate", run).stdout.decode()  # from another folder
    assert "in split 'test'; it has train, validation" in refusal(1, "evaluate", run, "--split", "test")
    (tmp_path / "data.txt").write_text("the quick brown dog\n" * 30)
    assert "data.txt: changed since the model was trained on it" in refusal(1, "evaluate", run)
    (tmp_path / "other.txt").write_text("brown fox " * 9)
    (tmp_path / "data.txt").unlink()
    assert "data.txt: no such file" in refusal(1, "evaluate", run, tmp_path / "other.txt")
    assert "90 symbols" not in refusal(1, "evaluate", run)
    assert "89 symbols of" in unrolled("evaluate", run, tmp_path / "other.txt", "--no-baselines").stdout.decode()


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


def test_generate_sets_words_apart_and_tells_of_unknown_symbols(lines_file, tmp_path):
    out = tmp_path / "run"
    assert unrolled("train", lines_file, "--out", out, "--kind", "symbols", "--lines", *SMALL).returncode == 0
    done = unrolled("generate", out, "a q", "--max-length", "3", "--seed", "1")
    assert "that the model does not know, read as UNK: 1" in done.stderr.decode()
    assert re.fullmatch(r"a q( [ab])*\s*", done.stdout.decode())


def test_score_of_a_file_reads_it_as_training_did(run, lines_file, tmp_path):
    out, _ = run
    (tmp_path / "text.txt").write_bytes(b"\xef\xbb\xbfShall I\r\n")
    assert "8 symbols" in unrolled("score", out, "--file", tmp_path / "text.txt").stdout.decode()
    (tmp_path / "text.txt").write_bytes(b"Shall\xff")
    assert "text.txt: byte 5 (line 1) is 0xff" in refusal(1, "score", out, "--file", tmp_path / "text.txt")
    assert "the text to score is empty" in refusal(1, "score", out, "")


def test_score_in_bits_is_one_line_a_symbol(run):
    out, _ = run
    lines = [line.split("\t") for line in unrolled("score", out, "a\nb", "--bits").stdout.decode().splitlines()]
    assert [symbol for _, symbol in lines] == ["a", "⏎", "b"]
    total = re.search(r"3 symbols, ([\d.]+) bits", unrolled("score", out, "a\nb").stdout.decode()).group(1)
    assert sum(float(bits) for bits, _ in lines) == pytest.approx(float(total), abs=0.06)


def test_sequences_report_exact_strings_and_stop_at_eos(lines_file, tmp_path):
    out = tmp_path / "run"
    done = unrolled(
        "train", lines_file, "--out", out, "--kind", "symbols", "--lines", *SMALL[:4], "--max-steps", "60",
        "--learning-rate", "0.02", "--validation", "0.2", "--test", "0",
    )  # fmt: skip
    assert "exact strings" in done.stdout.decode(), done.stderr.decode()
    assert unrolled("generate", out, "a", "--max-length", "100", "--strategy", "greedy").returncode == 0


def test_config_file_holds_the_options_and_flags_go_on_top(tmp_path):
    toml = tmp_path / "run.toml"
    toml.write_text(
        '[model]\ncell = "rnn"\nhidden_size = 5\n[data]\nvalidation = 0.1\n'
        "[training]\nmax_steps = 3\nlearning_rate = 1e-3\n"
    )
    done = unrolled("train", "sonnets", "--out", tmp_path / "run", "--config", toml, "--hidden-size", "6")
    assert done.returncode == 0, done.stderr.decode()
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["model"]["cell"], config["model"]["hidden_size"]) == ("rnn", 6)
    assert (config["data"]["validation"], config["training"]["max_steps"]) == (0.1, 3)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[model]\nhiden_size = 5\n", "unknown key 'hiden_size' in [model]; did you mean hidden_size?"),
        ("[modle]\nhidden_size = 5\n", "unknown key 'modle' at the top level; did you mean model?"),
        ("[model]\nhidden_size = -5\n", "hidden_size is -5"),
        ('[model]\nhidden_size = "5"\n', "Expected `int`, got `str` - at `$.model.hidden_size`"),
        ("[model\n", "Expected ']'"),
    ],
)
def test_config_file_with_a_mistake_is_wrong_use(toml, message, tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text(toml)
    error = refusal(2, "train", "sonnets", "--out", tmp_path / "run", "--config", path)
    assert error.startswith(str(path))
    assert message in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], 'Did you mean "train"?'),
        (["train", "sonnets", "--out", "x", "--hiden-size", "3"], "Did you mean --hidden-size?"),
        (["train", "sonnets"], "--out"),
        (["train", "sonnets", "--out", "x", "--hidden-size", "0"], "hidden_size is 0; it must be a whole number"),
        (["train", "sonnets", "--out", "x", "--hidden-size", "big"], "big"),
        (["train", "sonnets", "--out", "x", "--cell", "gro"], 'Did you mean "gru"?'),
        (
            ["train", "sonnets", "--out", "x", "--validation", "0.7", "--test", "0.5"],
            "it must leave a share to train on",
        ),
        (["train", "sonnets", "--out", "x", "--config", "none.toml"], "none.toml"),
        (["train", "--resume", "--out", "nowhere"], "nowhere: no config.json, so there is no run to resume"),
        (["generate", "x", "--top-p", "0"], "top_p is 0.0; it must be a number in (0, 1]"),
        (["generate", "x", "--max-length", "0"], "max_length is 0"),
        (["generate", "x", "--count", "0"], '"0" for --count'),
        (["generate", "x", "--count", "2", "--strategy", "beam"], "beam finds the same text each time"),
        (["evaluate", "x", "--split", "tset"], 'Did you mean "test"?'),
        (["evaluate", "x", "y.txt", "--split", "test"], "other data is measured whole"),
        (["score", "x"], "give one text to score"),
        (["score", "x", "text", "--file", "y.txt"], "give one text to score"),
        (["train", "--out", "x"], "no data to learn from; name files"),
        (["train", "sonnets", "--out", "x", "--format", "text", "--column", "c"], "only format = 'csv' has columns"),
    ],
)
def test_wrong_use_is_one_sentence_and_code_2(arguments, message, tmp_path):
    assert message in refusal(2, *arguments, cwd=tmp_path)
    assert not list(tmp_path.iterdir())


def test_standard_input_trains_and_binary_is_read_as_bytes(tmp_path):
    done = unrolled("train", "-", "--out", tmp_path / "run", "--kind", "bytes", *SMALL, stdin=bytes(range(256)) * 4)
    assert done.returncode == 0, done.stderr.decode()


def test_divergence_fails_and_says_what_to_do(tmp_path):
    error = refusal(
        1, "train", "sonnets", "--out", tmp_path / "run", *SMALL[2:], "--cell", "rnn", "--nonlinearity", "relu",
        "--optimiser", "sgd", "--learning-rate", "1e30", "--clip-norm", "0",
    )  # fmt: skip
    assert re.search(r"diverged at step \d+, batch \d+ of epoch 1: loss \S+ nats", error)
    assert "Lower learning_rate" in error


def test_ctrl_c_saves_and_resume_goes_on(tmp_path):
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


def test_info_names_core_and_extras():
    shown = unrolled("info").stdout.decode()
    for expected in ("unrolled", "python", "threads", "[torch]", "[plot]"):
        assert expected in shown


def test_version_is_the_package_version():
    from unrolled import __version__

    assert unrolled("--version").stdout.decode().strip() == __version__


def test_quick_demo_shows_all_parts_and_makes_what_it_names(tmp_path):
    pytest.importorskip("matplotlib", reason="the demo draws; the extra [plot] is not installed")
    done = unrolled("demo", "--quick", "--out", tmp_path / "demo")
    shown = done.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    for part in ("vocabulary", "rnn.weight_ih_l0", "loss before", "bits/symbol", "bigram", "Try next:"):
        assert part in shown, part
    made = re.findall(r"made (\S+)", shown)
    assert len(made) == 3
    for path in made:
        assert os.path.exists(path), path
    assert shown.count("  unrolled ") == 3
