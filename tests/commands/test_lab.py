"""`unrolled lab`: refusals in one sentence, tables, plots and models in a folder."""

import json
import re

import pytest

from tests.commands.command_line import unrolled
from unrolled.cli import run as command_line
from unrolled.languages import registry
from unrolled.saved.lock import only_writer


def lab_command(*arguments):
    return command_line(["lab", *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["anbm"], "similar names: anbn"),
        (["anbn", "--lengths", "uniform:9"], "'9' is not a range"),
        (["anbn", "--lengths", "uniform:0-4"], "anbn has no string of size 0"),
        (["dyck-1", "--lengths", "uniform:0-4"], "the string of size 0 is empty"),
        (["anbn", "--seeds", "100000000"], "GB are free; lower --units"),
        (["anbn", "--limit", "2000000000"], "trying every size up to 2,000,000,000 takes about"),
        (["anbn", "--samples", "2000000000"], "GB are free; lower --samples"),
        (["anbn", "--gain", "0.1"], "gain is 0.1"),
        (["anbn", "--optimiser", "sgd"], "it must be one of adam, rmsprop"),
        (["anbn", "--cell", "gru", "--from-golden"], "gru"),
        (["reproduce", "suzgun"], "similar names: suzgun2019"),
        (["reproduce", "gers2001", "--seeds", "-3"], "seeds is -3"),
    ],
)
def test_wrong_use_is_one_sentence(arguments, said, capsys):
    assert lab_command(*arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from-golden", "--units", 9], "--units 9 has no effect: exact weights are set by hand"),
        (
            ["--from-golden", "--loss", "sets"],
            "--loss sets has no effect: exact weights are trained with softmax, and the last are kept",
        ),
        (["--cell", "gru", "--forget-bias", 3], "--forget-bias 3.0 has no effect: gru has no forget gate"),
        (["--forget-bias", 3], ""),
    ],
)
def test_option_without_effect_is_noted(arguments, said, capsys):
    assert lab_command("anbn", "--seeds", 1, "--steps", 2, "--limit", 3, *arguments) == 0
    assert capsys.readouterr().err == (f"unrolled: note: {said}\n" if said else "")


def test_folder_that_cannot_be_written_is_refused_before_training(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for command in (["anbn"], ["reproduce", "gers2001"]):
        assert lab_command(*command, "--out", tmp_path / "file" / "inside") == 1
        assert "cannot write" in capsys.readouterr().err


def test_folder_with_a_writer_is_refused_a_second(tmp_path, capsys):
    with only_writer(tmp_path):
        for command in (["anbn"], ["anbn", "--from-golden"], ["reproduce", "gers2001"]):
            assert lab_command(*command, "--out", tmp_path) == 1
            assert "is writing to this folder" in capsys.readouterr().err


def test_command_writes_tables_plots_and_models_and_shows_them_again(tmp_path, capsys):
    arguments = ["anbn", "--seeds", 2, "--steps", 5, "--limit", 60, "--lengths", "uniform:1-9", "--out", tmp_path / "o"]
    assert lab_command(*arguments) == 0
    shown = capsys.readouterr().out
    there = {str(path.relative_to(tmp_path / "o")) for path in (tmp_path / "o").rglob("*")}
    assert {"result.json", "seeds.md", "summary.csv", "right.png", "models/seed-1/config.json"} <= there
    assert "misleading" in shown
    before = (tmp_path / "o" / "result.json").stat().st_mtime_ns
    assert lab_command(*arguments) == 0
    assert (tmp_path / "o" / "result.json").stat().st_mtime_ns == before
    assert lab_command(*arguments, "--gain", 2) == 1
    assert "other settings (gain)" in capsys.readouterr().err


def test_drift_starts_exact(tmp_path, capsys):
    assert lab_command("anbn", "--seeds", 2, "--steps", 50, "--limit", 60, "--from-golden", "--out", tmp_path) == 0
    assert (tmp_path / "drift.png").stat().st_size > 1000
    assert (tmp_path / "drift.csv").read_text().splitlines()[1].startswith("0,> 60")


@pytest.mark.parametrize("language", registry.names())
def test_every_language_of_the_list_runs_with_its_default_sizes(language, capsys):
    """In a short setting: the same sizes, fewer steps, models and larger sizes."""
    assert lab_command(language, "--seeds", 2, "--steps", 3, "--samples", 50, "--limit", 20) == 0
    shown = capsys.readouterr().out
    assert "first failing n" in shown
    assert ("lacks some sizes" in shown) == (language in {"anbmcnm", "tomita-2", "tomita-5", "tomita-6"})


def test_command_says_beforehand_what_will_take_more_than_a_minute(capsys, monkeypatch):
    monkeypatch.setattr("unrolled.commands.lab.PATIENCE", 0)
    assert lab_command("parity", "--seeds", 2, "--steps", 50, "--limit", 60) == 0
    assert re.search(r"training takes about \d+ s, measuring up to \d+ s; --steps", capsys.readouterr().out)


def test_result_as_json_stands_alone_on_standard_output(tmp_path):
    flags = ["--seeds", "2", "--steps", "3", "--limit", "5"]
    done = unrolled("lab", "anbn", *flags, "--json")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1)
    found = json.loads(done.stdout)
    assert len(found["seeds"]) == 2
    assert "per-symbol accuracy is misleading" in done.stderr.decode()
    assert json.loads(unrolled("lab", "anbn", *flags, "--from-golden", "--json").stdout)["probe"]
