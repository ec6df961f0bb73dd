"""`unrolled train`: the result it shows, the data it takes, and how a run ends."""

import json
import re
import shlex

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


def test_run_that_ends_while_its_loss_falls_prints_the_command_that_goes_on(tmp_path):
    flags = [*SMALL[:-2], "--validate-every", "5", "--learning-rate", "0.001"]
    constant = [*flags, "--schedule", "constant", "--max-steps", "20"]
    shown = unrolled("train", "sonnets", "--out", tmp_path / "a b", *constant).stdout.decode()
    command = re.search("the validation loss was still falling; go on with: (.*)", shown).group(1)
    assert command == f"unrolled train --resume --out '{tmp_path}/a b' --max-steps 40"
    assert "after 40 steps" in unrolled(*shlex.split(command)[1:]).stdout.decode()
    shown = unrolled("train", "--resume", "--out", tmp_path / "a b", "--max-steps", "7").stdout.decode()
    assert "go on with" not in shown or "--max-steps 80\n" in shown  # not 14, which are behind it
    for name, finished in {"cosine": ["20"], "one validation": ["4", "--schedule", "constant"]}.items():
        shown = unrolled("train", "sonnets", "--out", tmp_path / name, *flags, "--max-steps", *finished).stdout.decode()
        assert "wrote" in shown
        assert "still falling" not in shown


def test_model_too_large_for_memory_is_refused_with_the_size_it_needs(tmp_path):
    large = ["--hidden-size", "200000"]
    error = refusal(1, "train", "sonnets", "--out", tmp_path / "run", *large)
    number = r"160,0\d\d,\d{3},\d{3} parameters take, with what training keeps for each, 5,1\d\d\.\d GB"
    assert re.match(rf"{number}, and \S+ [GM]B are free; lower --hidden-size \(now 200,000\)$", error)
    assert not (tmp_path / "run").exists()
    deep = ["--num-layers", "1000000", "--cell", "rnn", "--hidden-size", "256", "--batch-size", "256"]
    layers = refusal(1, "train", "sonnets", "--out", tmp_path / "run", *deep)
    lower = r"lower --num-layers \(now 1,000,000\), --batch-size \(now 256\)"
    assert re.match(rf"a batch of 16,384 symbols takes \S+ [GM]B in all layers, .* {lower}$", layers)
    for other in (["explain", "--symbols", "a b", "a"], ["picture", "lags"], ["picture", "vanishing"]):
        assert "GB are free; lower --hidden-size (now 200,000)" in refusal(1, *other, *large, cwd=tmp_path)
    assert "GB are free; lower --units, --batch-size" in refusal(2, "lab", "anbn", "--units", "200000")


def test_divergence_fails_and_says_what_to_do(tmp_path):
    error = refusal(
        1, "train", "sonnets", "--out", tmp_path / "run", *SMALL[2:], "--cell", "rnn", "--nonlinearity", "relu",
        "--optimiser", "sgd", "--learning-rate", "1e9", "--clip-norm", "0",
    )  # fmt: skip
    assert re.search(r"diverged at step \d+, batch \d+ of epoch 1: loss \S+ nats", error)
    assert "Lower --learning-rate (now 1e+09) or clip gradients with --clip-norm" in error


@pytest.mark.parametrize("word", ["anbn", "sonnets"])
def test_word_for_data_of_the_package_may_name_the_run_too(word, tmp_path):
    (tmp_path / word).mkdir()
    assert unrolled("train", word, "--out", word, *SMALL, cwd=tmp_path).returncode == 0
    done = unrolled("train", "--resume", "--out", word, "--max-steps", "13", cwd=tmp_path)
    assert "after 13 steps" in done.stdout.decode(), done.stderr.decode()
    assert unrolled("train", word, "--out", "other", *SMALL, cwd=tmp_path).returncode == 0


def test_word_for_data_of_the_package_names_a_file_of_the_user_where_there_is_one(tmp_path):
    (tmp_path / "anbn").write_text("its own text\n" * 50)
    done = unrolled("train", "anbn", "--out", "run", *SMALL, cwd=tmp_path)
    assert "V 12," in done.stdout.decode(), done.stderr.decode()
    (tmp_path / "elsewhere").mkdir()
    assert unrolled("evaluate", "../run", cwd=tmp_path / "elsewhere").returncode == 0


def test_data_of_the_package_stays_what_it_is_when_a_file_takes_its_name(tmp_path):
    assert unrolled("train", "anbn", "--out", "run", *SMALL, cwd=tmp_path).returncode == 0
    (tmp_path / "anbn").write_text("its own text\n" * 50)
    assert "exact strings" in unrolled("evaluate", "run", cwd=tmp_path).stdout.decode()


def test_pattern_of_files_without_a_folder_is_said_to_have_no_effect(tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("one.txt", "data/two.txt"):
        (tmp_path / name).write_text("abcab\n" * 60)
    for name, said in (("one.txt", True), ("data", False)):
        done = unrolled("train", name, "--include", "*.txt", "--out", f"run-{said}", *SMALL, cwd=tmp_path)
        assert done.returncode == 0
        assert ("--include '*.txt' has no effect: it chooses the files of a folder" in done.stderr.decode()) == said


def test_byte_pairs_train_resume_and_are_measured_by_the_character(tmp_path):
    (tmp_path / "a.txt").write_text("so long as men can breathe or eyes can see, déjà vu\n" * 60)
    flags = ["--kind", "bpe", "--vocabulary-size", "280", *SMALL]
    done = unrolled("train", "a.txt", "--out", "run", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    for expected in (" char ", " byte ", "V 280"):  # under "bits/"
        assert expected in done.stdout.decode()
    assert (tmp_path / "run" / "vocabulary.json").read_text().count('"kind": "bpe"') == 1
    (tmp_path / "a.txt").rename(tmp_path / "b.txt")  # nothing but the folder is needed to write and to score
    assert unrolled("generate", "run", "so", "--seed", "1", cwd=tmp_path).returncode == 0
    scored = json.loads(unrolled("score", "run", "so löng 😀", "--json", cwd=tmp_path).stdout)
    assert scored["unknown"] == 0
    again = unrolled("train", "b.txt", "--resume", "--out", "run", "--max-steps", "14", cwd=tmp_path)
    assert "after 14 steps" in again.stdout.decode(), again.stderr.decode()


def test_words_and_marks_train_score_write_and_stop(tmp_path):
    (tmp_path / "a.txt").write_text('"So long," he said, (lives) this. Don\'t!\n' * 60)
    flags = ["--kind", "words-and-marks", "--vocabulary-size", "17"]
    learns = ["--cell", "gru", "--hidden-size", "32", "--batch-size", "4", "--bptt", "16", "--max-steps", "400"]
    planned = unrolled("train", "a.txt", "--out", "run", *flags, "--minutes", "1", "--dry-run", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr.decode()
    done = unrolled("train", "a.txt", "--out", "run", *flags, *learns, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    for expected in ("bits/symbol", "bits/char", "V 17", "words-and-marks"):
        assert expected in done.stdout.decode()
    written = unrolled("generate", "run", '"So long', "--strategy", "greedy", "--max-length", "10", cwd=tmp_path)
    assert written.stdout.decode() == '"So long," he said, (lives) this.\n'
    stopped = unrolled("generate", "run", '"So', "--strategy", "greedy", "--stop", " (", "--json", cwd=tmp_path)
    assert json.loads(stopped.stdout)["text"] == ' long," he said,'
    several = unrolled("generate", "run", "he said,", "--count", "2", "--top-k", "1", "--max-length", "3", cwd=tmp_path)
    assert several.stdout.decode() == "he said, (lives)\n\nhe said, (lives)\n"
    scored = json.loads(unrolled("score", "run", "he said, (lives", "--bits", "--json", cwd=tmp_path).stdout)
    assert scored["pieces"] == ["he", " said", ",", " (", "lives"]
    assert scored["unknown"] == 0
    assert '"bits_per_char"' in unrolled("evaluate", "run", "--json", cwd=tmp_path).stdout.decode()
    prepared = unrolled("prepare", "a.txt", "--out", "corpus", *flags, cwd=tmp_path)
    assert prepared.returncode == 0, prepared.stderr.decode()
    again = unrolled("train", "corpus", "--out", "again", *SMALL, cwd=tmp_path)
    assert again.returncode == 0, again.stderr.decode()
    vocabularies = [(tmp_path / name / "vocabulary.json").read_bytes() for name in ("run", "again")]
    assert vocabularies[0] == vocabularies[1]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["--kind", "bpe", "--vocabulary-size", "100"],
            "--vocabulary-size is 100; of --kind bpe it must be 258 or more",
        ),
        (["--kind", "bpe", "--tokenizer", "none.json"], "none.json: cannot read: No such file or directory"),
        (["--tokenizer", "x.json"], "--tokenizer x.json needs --kind bpe"),
    ],
)
def test_vocabulary_that_cannot_be_made_is_refused(flags, said, tmp_path):
    assert said in refusal(1, "train", "sonnets", "--out", "run", *flags, *SMALL, cwd=tmp_path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--momentum", "0.5"], "--momentum 0.5 has no effect: adamw has none"),
        (["--rank-timeout", "5"], "--rank-timeout 5.0 has no effect: torchrun has started no other process"),
        (["--plateau-factor", "0.3"], "--plateau-factor 0.3 has no effect: only --schedule plateau has one"),
        (["--split-by", "block", "--split-seed", "3"], "--split-seed 3 has no effect: a stream is split in its order"),
        (["--lines", "--split-by", "block", "--split-seed", "3"], "the data is split in its order"),
        (["--optimiser", "sgd", "--learning-rate", "1", "--momentum", "0.5"], None),
    ],
)
def test_options_without_an_effect_are_noted(arguments, said, tmp_path):
    (tmp_path / "t.txt").write_text("abc " * 500)
    done = unrolled("train", "t.txt", *SMALL, *arguments, "--out", "r", cwd=tmp_path)
    assert done.returncode == 0
    assert (said or "") in done.stderr.decode()
    assert ("has no effect" in done.stderr.decode()) == (said is not None)
