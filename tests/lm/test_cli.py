"""The command line as a user meets it: in a process of its own, with exit codes, and never a traceback."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

UNROLLED = [sys.executable, "-m", "unrolled.cli"]
SMALL = ["--cell", "gru", "--hidden-size", "8", "--batch-size", "4", "--bptt", "16", "--max-steps", "12"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "120", "NO_COLOR": "1"}


def unrolled(*arguments, stdin=None, cwd=None):
    return subprocess.run(
        [*UNROLLED, *map(str, arguments)], input=stdin, capture_output=True, cwd=cwd, env=ENVIRONMENT, check=False
    )


def refusal(code, *arguments, stdin=None, cwd=None):
    """Run a command that must fail with this exit code; return its one sentence."""
    done = unrolled(*arguments, stdin=stdin, cwd=cwd)
    error = done.stderr.decode()
    assert done.returncode == code, (done.returncode, error)
    lines = [line for line in error.splitlines() if not line.startswith("unrolled: note:")]
    assert len(lines) == 1, error
    assert lines[0].startswith("unrolled: ")
    assert "Traceback" not in error
    return lines[0].removeprefix("unrolled: ")


@pytest.fixture(scope="session")
def lines_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "strings.txt"
    path.write_text("".join("a " * n + "b " * n + "\n" for n in range(1, 31)))
    return path


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A model trained on the shipped text for a moment."""
    out = tmp_path_factory.mktemp("runs") / "sonnets"
    done = unrolled("train", "sonnets", "--out", out, *SMALL)
    assert done.returncode == 0, done.stderr.decode()
    return out, done.stdout.decode()


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


def test_evaluate_measures_the_split_or_other_data(run, tmp_path):
    out, trained = run
    again = unrolled("evaluate", out, "--no-baselines").stdout.decode()
    bits = re.search(r"parameters\s+│\s+([\d.]+)", again).group(1)
    assert bits in trained
    (tmp_path / "other.txt").write_text("Thou art more lovely and more temperate:\n" * 3)
    assert "122 symbols" in unrolled("evaluate", out, tmp_path / "other.txt").stdout.decode()


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
    ],
)
def test_wrong_use_is_one_sentence_and_code_2(arguments, message, tmp_path):
    assert message in refusal(2, *arguments, cwd=tmp_path)
    assert not list(tmp_path.iterdir())


BAD_DATA = {
    "empty": (b"", [], "empty, no symbols to learn from"),
    "one symbol": (b"a", [], "1 symbol only"),
    "one sequence": (b"ab\n", ["--lines"], "expected at least 1"),
    "invalid utf-8": (b"ab\ncd\xff\xfe\n", [], "byte 5"),
    "too small to split": (b"abcdefgh", [], "expected at least 2"),
    "no such column": (b"x,y\n1,2\n", ["--format", "csv", "--column", "z"], "z"),
    "not json": (b"{]\n", ["--format", "jsonl"], "line 1"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data_is_one_sentence_and_code_1(name, tmp_path):
    data, flags, message = BAD_DATA[name]
    (tmp_path / "data.txt").write_bytes(data)
    error = refusal(1, "train", tmp_path / "data.txt", "--out", tmp_path / "run", *flags, *SMALL)
    assert message in error
    assert "data.txt" in error
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize("data", [b"a" * 500, b"ab\r\n" * 100, b"\xef\xbb\xbfab\n" * 100])
def test_odd_but_usable_data_trains(data, tmp_path):
    (tmp_path / "data.txt").write_bytes(data)
    done = unrolled("train", tmp_path / "data.txt", "--out", tmp_path / "run", *SMALL)
    assert done.returncode == 0, done.stderr.decode()


def test_standard_input_trains_and_binary_is_read_as_bytes(tmp_path):
    done = unrolled("train", "-", "--out", tmp_path / "run", "--kind", "bytes", *SMALL, stdin=bytes(range(256)) * 4)
    assert done.returncode == 0, done.stderr.decode()


def test_existing_folder_is_left_alone(run):
    out, _ = run
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert "the folder is not empty" in refusal(1, "train", "sonnets", "--out", out, *SMALL)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert str(tmp_path / "file") in refusal(1, "train", "sonnets", "--out", tmp_path / "file" / "run", *SMALL)


@pytest.mark.parametrize("command", ["generate", "score", "evaluate"])
def test_damaged_and_foreign_models_are_refused(command, run, tmp_path):
    out, _ = run
    text = ["a"] if command == "score" else []
    assert "no config.json" in refusal(1, command, tmp_path, *text)
    for file in ("config.json", "vocabulary.json", "model.safetensors"):
        (tmp_path / file).write_bytes((out / file).read_bytes())
    weights = bytearray((tmp_path / "model.safetensors").read_bytes())
    weights[-3] ^= 1
    (tmp_path / "model.safetensors").write_bytes(weights)
    assert "model.safetensors: damaged" in refusal(1, command, tmp_path, *text)
    (tmp_path / "config.json").write_text("{}")
    assert "config.json" in refusal(1, command, tmp_path, *text)


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
