"""`unrolled evaluate` measures beside baselines, on the model's own data or on other data."""

import json
import os
import re
import subprocess

import pytest

from tests.commands.command_line import SMALL, refusal, unrolled
from unrolled.corpus.sonnets import sonnets


def bits_of(shown, predictor):
    return re.search(rf"{predictor}\s+│\s+([\d.]+)", shown).group(1)


def test_evaluate_measures_the_split_beside_baselines(run):
    out, trained = run
    again = unrolled("evaluate", out).stdout.decode()
    for predictor in ("parameters", "5-gram", "mixture", "bz2"):
        assert bits_of(again, predictor) == bits_of(trained, predictor)
    assert "4,785 symbols of the test split" in again
    assert "the first 86,156 symbols train, the next 4,786 validate, the last 4,786 test" in again
    on_training = unrolled("evaluate", out, "--split", "train").stdout.decode()
    assert bits_of(on_training, "uniform") == "6.000"
    assert "trained on these symbols; --split chooses what was held out: validation and test" in on_training


def test_evaluate_on_other_data_fits_baselines_on_the_models_own(run, tmp_path):
    """The same text as the test split gets the same bits from every predictor."""
    out, trained = run
    (tmp_path / "other.txt").write_text(sonnets()[-4786:])
    shown = unrolled("evaluate", out, tmp_path / "other.txt").stdout.decode()
    assert f"4,785 symbols of {tmp_path / 'other.txt'}\n" in shown
    for predictor in ("parameters", "unigram", "5-gram", "mixture", "xz", "bz2"):
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
    assert "data.txt: no such file" in refusal(1, "evaluate", run)
    done = unrolled("evaluate", run, tmp_path / "other.txt")
    assert "data.txt: no such file" in done.stderr.decode()
    assert "measured without baselines" in done.stderr.decode()
    assert done.stdout == unrolled("evaluate", run, tmp_path / "other.txt", "--no-baselines").stdout
    assert "89 symbols of" in done.stdout.decode()


@pytest.fixture(scope="session")
def records_run(tmp_path_factory):
    """A model of symbols that learned JSON lines from a file whose name does not say so."""
    folder = tmp_path_factory.mktemp("records")
    (folder / "tokens.data").write_text('["c4", "e4", "g4"]\n["c4", "g4"]\n' * 30)
    done = unrolled("train", "tokens.data", "--format", "jsonl", "--out", "run", *SMALL, cwd=folder)
    assert done.returncode == 0, done.stderr.decode()
    return folder / "run"


def test_other_data_is_read_as_the_model_was_trained_or_as_the_options_say(records_run, tmp_path):
    (tmp_path / "other.data").write_text('["c4", "e4"]\n')
    (tmp_path / "other.csv").write_text("tune\nc4 e4\n")
    (tmp_path / "other.txt").write_text("c4 e4\n")
    plain = unrolled("evaluate", records_run, tmp_path / "other.data", "--no-baselines").stdout.decode()
    for name, options in (("other.csv", ["--column", "tune"]), ("other.txt", ["--format", "text"])):
        shown = unrolled("evaluate", records_run, tmp_path / name, "--no-baselines", *options).stdout.decode()
        assert shown == plain.replace("other.data", name)
    assert "2 symbols of" in plain


@pytest.mark.parametrize("command", ["score", "view"])
def test_file_is_read_as_the_model_was_trained_or_as_the_options_say(command, records_run, tmp_path):
    (tmp_path / "other.data").write_text('["c4", "e4"]\n')
    (tmp_path / "other.txt").write_text("c4 e4\n")
    one = unrolled(command, records_run, "--file", tmp_path / "other.data")
    assert (one.returncode, one.stderr) == (0, b"")
    assert one.stdout == unrolled(command, records_run, "--file", tmp_path / "other.txt", "--format", "text").stdout


def test_prepared_data_is_measured_whole_or_says_how_to_prepare_it(run, tmp_path):
    text = tmp_path / "a.txt"
    text.write_text("abcab" * 300)
    unrolled("train", text, "--out", tmp_path / "run", "--hidden-size", "3", "--max-steps", "1")
    unrolled("prepare", text, "--out", tmp_path / "split")
    said = refusal(1, "evaluate", tmp_path / "run", tmp_path / "split")
    assert (
        "prepared with --validation 0.05 --test 0.05, but other data is measured whole; prepare it again with" in said
    )
    unrolled("prepare", text, "--out", tmp_path / "whole", *said.split("prepare it again with ")[1].split())
    measured = unrolled("evaluate", tmp_path / "run", tmp_path / "whole", "--no-baselines")
    assert "1,499 symbols of" in measured.stdout.decode()


def test_data_that_the_model_mostly_does_not_know_is_refused(records_run, run, tmp_path):
    (tmp_path / "other.data").write_text('["c4", "e4"]\n' * 9)
    said = refusal(1, "evaluate", records_run, tmp_path / "other.data", "--format", "text")
    assert "the model knows only 0% of its symbols" in said
    assert "--lines, --format, --column" in said
    said = refusal(1, "evaluate", run[0], tmp_path / "other.data", "--lines")
    assert "read as sequences that each end with EOS, but the model learned one stream" in said
    (tmp_path / "some.txt").write_text("Shall I €\n")
    done = unrolled("evaluate", run[0], tmp_path / "some.txt", "--no-baselines")
    assert "10.0% of the symbols are unknown to the model and read as UNK" in done.stderr.decode()
    assert "name it after the model" in refusal(2, "evaluate", run[0], "--lines")


def test_evaluation_beside_baselines_is_of_so_many_symbols_at_most(run, monkeypatch):
    monkeypatch.setattr("unrolled.commands.evaluate.COMPARED", 1000)
    shown = unrolled("evaluate", run[0]).stdout.decode()
    assert "999 symbols of the first 1,000 of the test split" in shown
    for split, note in (
        ("validation", "are the best on the end of training"),
        ("train", "was trained on these symbols"),
    ):
        shown = unrolled("evaluate", run[0], "--split", split).stdout.decode()
        assert f"999 symbols of the first 1,000 of the {split} split" in shown
        assert note in shown
    assert "4,785 symbols of the test split" in unrolled("evaluate", run[0], "--no-baselines").stdout.decode()


def test_evaluation_of_words_is_per_character_too(tmp_path):
    (tmp_path / "data.txt").write_text("the quick brown fox\n" * 39 + "the quick brown cat\n")
    done = unrolled("train", "data.txt", "--kind", "words", "--out", "run", "--max-steps", "3", cwd=tmp_path)
    shown = done.stdout.decode()
    assert re.search(r"bits/symbol ┃ bits/char ┃\s+nats", shown), done.stderr.decode()
    [row] = re.findall(r"uniform +│ +([\d.]+) │ +([\d.]+)", shown)
    symbols, characters = map(float, row)
    assert characters == pytest.approx(symbols / 4, abs=0.1)  # 20 characters of 5 words, the line end included
    assert "symbols read as UNK: 10.00 %; their spelling is not predicted, which flatters bits/char" in shown


def test_evaluate_of_a_few_strings_shows_what_means_something(tmp_path):
    (tmp_path / "anbn.txt").write_text("".join("a " * n + "b " * n + "\n" for n in range(1, 6)))
    made = ["--cell", "rnn", "--lines", "--kind", "symbols", "--validation", "0", "--test", "0"]
    done = unrolled("train", "anbn.txt", "--out", "run", *made, "--max-steps", "3", cwd=tmp_path)
    shown = done.stdout.decode()
    assert "RNN, V 4" in shown, done.stderr.decode()
    assert "RNN_TANH" not in shown
    assert "xz" not in shown  # a file of 35 bytes is mostly its header
    assert re.search(r"exact strings .*\d %, of 20.0 % at most", shown)


def test_run_that_diverges_to_finite_numbers_is_reported(tmp_path):
    (tmp_path / "t.txt").write_text("The cat sat. A dog ran [away].\nYes or no?\n" * 40)
    flags = (
        "--max-steps",
        "20",
        "--hidden-size",
        "8",
        "--learning-rate",
        "1e6",
        "--clip-norm",
        "0",
        "--weight-decay",
        "0",
    )
    shown = unrolled("train", "t.txt", *flags, "--out", "o", cwd=tmp_path).stdout.decode()
    assert "over 1e300" in shown
    assert "over 1e300" in unrolled("evaluate", "o", cwd=tmp_path).stdout.decode()


def test_model_trained_from_a_pipe_records_no_file_to_read_again(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = subprocess.Popen(["bash", "-c", "printf 'ab%.0s' {1..300} > pipe"], cwd=tmp_path)
    unrolled("train", "pipe", *SMALL, "--out", "o", cwd=tmp_path)
    writer.wait()
    assert "records no files that it was trained on" in refusal(1, "evaluate", "o", cwd=tmp_path)


def test_evaluation_as_json_says_what_the_table_says(run):
    found = json.loads(unrolled("evaluate", run[0], "--json").stdout)
    table = unrolled("evaluate", run[0]).stdout.decode()
    assert f"{found['symbols']:,} symbols of {found['of']}" in table
    assert f"{found['bits']:.3f}" in table
    for name, baseline in found["baselines"].items():
        assert re.search(rf"{name} +│ +{baseline['bits']:.3f}", table), name
    assert json.loads(unrolled("evaluate", run[0], "--json", "--no-baselines").stdout)["baselines"] == {}


def test_evaluation_as_json_has_every_number_of_every_row(tmp_path):
    """Baselines had bits/symbol alone, and a copy that learns no perplexity: models of words could not be compared."""
    (tmp_path / "text.txt").write_text("sun rose café night\n" * 99)
    unrolled("train", "text.txt", "--kind", "words", "--out", "run", *SMALL, cwd=tmp_path)
    found = json.loads(unrolled("evaluate", "run", "--dynamic", "--json", cwd=tmp_path).stdout)
    table = unrolled("evaluate", "run", "--dynamic", cwd=tmp_path).stdout.decode()
    for name, row in {"GRU": found, "a copy": found["dynamic"], **found["baselines"]}.items():
        columns = ("bits", "bits_per_char", "bits_per_byte", "nats", "perplexity")
        shown = [f"{row[column]:.{digits}f}" for column, digits in zip(columns, (3, 3, 3, 4, 2), strict=True)]
        assert re.search(rf"{name}\b.* │ +{' +│ +'.join(shown)} │", table), (name, shown)
    assert "…" not in table


def test_characters_are_those_of_the_symbols_that_each_row_is_of(tmp_path):
    """A model predicts all but the first of each line, a long label; a compressor writes these too."""
    lines = [f"internationalization{k % 9} {'ab'[k * k % 7 % 2]}" for k in range(900)]
    (tmp_path / "lines.txt").write_text("\n".join(lines))
    flags = ["--kind", "words", "--lines", "--split-by", "block", "--test", "0.2"]
    unrolled("train", "lines.txt", *flags, "--out", "run", *SMALL, cwd=tmp_path)
    found = json.loads(unrolled("evaluate", "run", "--json", cwd=tmp_path).stdout)
    held = lines[-180:]
    predicted, written = sum(len(" b") + 1 for _ in held), sum(len(line) + 1 for line in held)
    of_first = {"xz", "bz2"} & found["baselines"].keys()
    assert of_first
    for name, row in {"model": found, **found["baselines"]}.items():
        symbols, characters = (3 * len(held), written) if name in of_first else (2 * len(held), predicted)
        assert row["bits_per_char"] == pytest.approx(row["bits"] * symbols / characters), name


@pytest.mark.parametrize(
    ("name", "data", "flags"),
    [
        ("tunes.abc", "X:1\nabc\n\nX:2\ncab\n\n\n" * 20, ["--separator", "\\n\\n"]),
        ("objects.jsonl", '{"id": 7, "text": "ab ba"}\n{"id": 8, "text": "abba"}\n' * 20, ["--column", "text"]),
        ("cells.csv", "1;ab\n2;ba\n" * 20, ["--column", "2", "--no-header", "--delimiter", ";"]),
        (
            "cells.dat",
            "ab\tba\nba\tab\n" * 20,
            ["--column", "1", "--no-header", "--delimiter", "tab", "--format", "csv"],
        ),
    ],
)
def test_other_data_is_read_by_the_options_of_the_training_data(name, data, flags, tmp_path):
    (tmp_path / name).write_text(data)
    done = unrolled("train", name, "--out", "run", *flags, *SMALL, cwd=tmp_path)
    assert "Corpus(40 sequences of characters" in done.stdout.decode(), done.stderr.decode()
    whole = json.loads(unrolled("evaluate", "run", name, "--json", cwd=tmp_path).stdout)
    assert whole["exact_strings"] is not None
    assert whole["unk_rate"] == 0
    lines = unrolled("score", "run", "--file", name, "--json", cwd=tmp_path).stdout.splitlines()
    assert len(lines) == 40
    assert json.loads(unrolled("evaluate", "run", "--json", cwd=tmp_path).stdout)["symbols"] < whole["symbols"]


@pytest.mark.parametrize(
    ("name", "data", "flags"),
    [
        ("notes.jsonl", '["c4", "e4"]\n["g4"]\n' * 30, []),
        ("names.json", json.dumps(["anna", "hanna"] * 30), []),
        ("cells.tsv", "id\ttext\n" + "1\tab ba\n" * 40, ["--column", "text"]),
    ],
)
def test_other_data_whose_name_says_nothing_is_read_as_the_name_of_the_training_data_said(name, data, flags, tmp_path):
    (tmp_path / name).write_text(data)
    (tmp_path / "other").write_text(data)
    assert unrolled("train", name, "--out", "run", *flags, *SMALL, cwd=tmp_path).returncode == 0

    def shown(*given, **how):
        done = unrolled(*given, **how, cwd=tmp_path)
        return [json.loads(line) | {"of": ""} for line in done.stdout.splitlines()] or done.stderr.decode()

    plain = shown("evaluate", "run", name, "--json")
    assert plain == shown("evaluate", "run", "other", "--json")
    assert plain == shown("evaluate", "run", "-", "--json", stdin=data.encode())
    scored = shown("score", "run", "--file", name, "--json")
    assert scored == shown("score", "run", "--file", "other", "--json")
    assert scored == shown("score", "run", "-", "--json", stdin=data.encode())


def test_encoding_holds_for_other_data_unless_another_is_named(tmp_path):
    (tmp_path / "a.txt").write_bytes("gr\u00fc\u00dfe\n".encode("latin-1") * 60)
    (tmp_path / "b.txt").write_bytes("gr\u00fc\u00dfe\n".encode() * 60)
    assert unrolled("train", "a.txt", "--encoding", "latin-1", "--out", "run", *SMALL, cwd=tmp_path).returncode == 0
    latin = json.loads(unrolled("evaluate", "run", "a.txt", "--json", cwd=tmp_path).stdout)
    utf8 = json.loads(unrolled("evaluate", "run", "b.txt", "--encoding", "utf-8", "--json", cwd=tmp_path).stdout)
    assert latin | {"of": ""} == utf8 | {"of": ""}
    assert latin["unk_rate"] == 0


def test_dynamic_evaluation_is_said_apart(run):
    out, _ = run
    shown = unrolled("evaluate", out, "--dynamic", "--no-baselines").stdout.decode()
    assert "a copy that learns as it reads" in shown
    found = json.loads(unrolled("evaluate", out, "--dynamic", "--json", "--no-baselines").stdout)
    assert found["dynamic"]["bits"] < found["bits"]
    assert "dynamic" not in json.loads(unrolled("evaluate", out, "--json", "--no-baselines").stdout)


def test_evaluation_on_what_the_model_was_trained_on_says_so(tmp_path):
    """By its name, and by what is in it; a stream and sequences.  Text that was held out is none."""
    lines = [f"so long lives {k} and this gives {k * k % 97}" for k in range(200)]
    (tmp_path / "data.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "copy.txt").write_text("\n".join(lines[20:120]) + "\n")
    (tmp_path / "new.txt").write_text("\n".join(f"{line[::-1]}" for line in lines[:99]) + "\n")
    for out, options in (("stream", []), ("lines", ["--lines"])):
        assert unrolled("train", "data.txt", "--out", out, *options, *SMALL, cwd=tmp_path).returncode == 0
        for name, given, said in (
            ("data.txt", [], True),
            ("data.txt", ["--no-baselines"], True),
            ("copy.txt", [], True),
            ("new.txt", [], False),
        ):
            done = unrolled("evaluate", out, name, *given, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            assert (f"{name}: the model was trained on this, or on most of it" in done.stderr.decode()) == said


def test_evaluation_on_validation_says_that_the_weights_were_chosen_by_it(run):
    shown = unrolled("evaluate", run[0], "--split", "validation", "--no-baselines").stdout.decode()
    assert "the saved weights are those that were best on these symbols" in shown
    assert "were best on these" not in unrolled("evaluate", run[0], "--no-baselines").stdout.decode()
