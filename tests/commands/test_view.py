"""`unrolled view` writes every picture to the file it names; wrong use and missing parts get one sentence."""

import csv
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.commands.command_line import refusal, unrolled
from tests.views.small_models import small
from unrolled.commands.view import PICTURES
from unrolled.lm import ModelConfig, SequenceModel, Vocabulary
from unrolled.views.terminal import sparkline
from unrolled.views.traces import trace

TEXT = "abcacbbac"


@pytest.mark.parametrize("picture", [name for name, row in PICTURES.items() if row.extension == ".png"])
def test_every_picture_is_written_to_the_file_that_is_named(picture, folders, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra [plot] is not installed")
    (folders["gru"] / "metrics.jsonl").write_text('{"symbols": 3, "bits": 2.0}\n{"symbols": 6, "bits": 1.0}\n')
    beside = ["--beside", folders["rnn"]] if picture == "gradient" else []
    done = unrolled("view", folders["gru"], TEXT, "--picture", picture, *beside, cwd=tmp_path)
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, f"made {picture}.png\n", b"")
    assert (tmp_path / f"{picture}.png").read_bytes()[:4] == b"\x89PNG"


def test_terminal_needs_no_picture_library(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    shown = unrolled("view", folders["lstm"], TEXT).stdout.decode()
    assert re.search(r"coloured by c0\[\d\], -", shown)
    assert TEXT in shown
    for signal in "ifgoch":
        assert f"{signal}[6]" in shown


def test_bars_stand_below_their_symbols_and_the_caption_fits_the_quantity(folders):
    shown = unrolled("view", folders["gru"], TEXT, "--signal", "z", "--unit", "3").stdout.decode()
    assert "coloured by z0[3], 0           1\n" in shown  # a gate is never below 0
    text, bars = shown.splitlines()[-2:]
    assert text == " " * 8 + TEXT
    read = trace(small("gru", dtype=torch.float32, framed=False), TEXT)
    assert bars == "z[3]".ljust(8) + sparkline(read.values("z")[:, 3], 0, 1)
    assert "h[" not in shown


OPTIONS = {
    "signal": "h",
    "layer": "0",
    "unit": "3",
    "by": "count:a-b",
    "beside": "rnn",
    "position": "2",
    "clusters": "2",
    "lags": "3",
}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("picture", PICTURES)
def test_every_option_is_obeyed_or_refused(picture, option, folders, two_layers, tmp_path):
    """Obeyed: the picture is another one than without it."""
    value = folders["rnn"] if option == "beside" else OPTIONS[option]
    asked = ["view", two_layers, TEXT, "--picture", picture]
    asked += ["--by", "position"] if picture == "units" else []
    if option not in PICTURES[picture].options.split():
        assert f"--{option} does nothing for --picture {picture}" in refusal(2, *asked, f"--{option}", value)
        return
    if PICTURES[picture].extension == ".png":
        pytest.importorskip("matplotlib", reason="the extra [plot] is not installed")
    if option == "by" and picture == "units":
        asked = asked[:-2]
    if picture == "saturation" and option == "signal":
        value = "f"
    made = []
    for arguments in ([], [f"--{option}", value]):
        with_out = ["--out", "made.svg"] if PICTURES[picture].extension else []
        done = unrolled(*asked, *arguments, *with_out, cwd=tmp_path)
        if picture != "units" or option != "by" or arguments:
            assert done.returncode == 0, done.stderr.decode()
        written = (tmp_path / "made.svg").read_text("utf-8") if with_out else done.stdout.decode()
        made.append(re.sub(r"<dc:date>.*|id=\"\w+\"|#\w+", "", written))
    assert made[0] != made[1]


def test_units_are_ranked(folders):
    shown = unrolled("view", folders["lstm"], TEXT, "--picture", "units", "--by", "count:a-b").stdout.decode()
    assert "c0[" in shown


def test_table_holds_the_trace(folders, tmp_path):
    unrolled("view", folders["gru"], TEXT, "--picture", "table", "--signal", "z", "--out", "t.csv", cwd=tmp_path)
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    read = trace(small("gru", dtype=torch.float32, framed=False), TEXT)
    assert [row["symbol"] for row in rows] == list(TEXT)
    np.testing.assert_allclose([float(row["z0[2]"]) for row in rows], read.values("z")[:, 2], rtol=1e-5)
    assert "h0[2]" not in rows[0]


def test_report_is_a_page(folders, tmp_path):
    assert unrolled("view", folders["rnn"], "abc", "--picture", "report", cwd=tmp_path).stdout == b"made report.html\n"
    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("cell", "arguments", "code", "said"),
    [
        ("gru", [""], 1, "the text is empty"),
        ("gru", [], 2, "give one text"),
        ("gru", ["ab", "--file", "x"], 2, "give one text"),
        ("gru", ["--file", "missing.txt"], 1, "missing.txt"),
        ("gru", ["ab", "--picture", "text", "--signal", "f"], 1, "GRU has no gate or state 'f'; it has r, z, n, h"),
        ("rnn", ["ab", "--picture", "saturation"], 1, "an RNN has no gates"),
        ("gru", ["ab", "--picture", "portrait"], 2, "portrait"),
        ("gru", ["ab", "--picture", "text", "--unit", "7"], 2, "--unit is 7; the layer has units 0 to 6"),
        ("gru", ["ab", "--layer", "1"], 1, "layer is 1; the model has layers 0 to 0"),
        ("gru", ["ab", "--picture", "units"], 2, "name one with --by"),
        ("gru", ["ab", "--picture", "units", "--by", "taste"], 2, "no feature 'taste'"),
        ("gru", ["ab", "--picture", "gradient", "--position", "5"], 1, "position is 5, expected 0 to 1"),
        ("gru", ["ab", "--out", "x.png"], 2, "printed, not written"),
        (
            "gru",
            ["ab", "--picture", "gates", "--out", "x.html"],
            1,
            "x.html: a picture cannot be written as .html; end",
        ),
        ("lstm", ["--picture", "learning"], 1, "holds no metrics.jsonl"),
    ],
)
def test_wrong_use_is_one_sentence(cell, arguments, code, said, folders, tmp_path):
    assert said in refusal(code, "view", folders[cell], *arguments, cwd=tmp_path)


def test_unseen_symbols_and_long_texts_are_noted(folders, tmp_path):
    (tmp_path / "long.txt").write_text("abc?" * 5_500)
    done = unrolled("view", folders["gru"], "--file", tmp_path / "long.txt")
    assert done.returncode == 0
    assert "22,000 symbols; all are read, but only one step in 2 is kept" in done.stderr.decode()
    assert "the model does not know 5,500 of 22,000 symbols and reads them as UNK" in done.stderr.decode()
    assert "one step in 2 is shown" in done.stdout.decode()
    for picture, needs in (("states", "clusters of states need"), ("automaton", "clusters of states need")):
        said = refusal(1, "view", folders["gru"], "--file", tmp_path / "long.txt", "--picture", picture)
        assert f"one step in 2 was traced, but {needs} all; take a shorter text" in said


def test_more_clusters_than_states_are_noted(folders, tmp_path):
    for asked, said in (("1000000000", True), ("2", False)):
        arguments = ["--picture", "states", "--clusters", asked, "--out", tmp_path / "states.png"]
        done = unrolled("view", folders["gru"], "abc", *arguments)
        assert done.returncode == 0
        note = f"the text has only 4 different states, fewer than --clusters {asked}"
        assert (note in done.stderr.decode()) == said


def test_one_sequence_is_shown_of_a_model_of_sequences(tmp_path):
    (tmp_path / "names.txt").write_text("Anna\nBela\n" * 9)
    unrolled("train", "names.txt", "--lines", "--max-steps", "2", "--hidden-size", "4", "--out", "o", cwd=tmp_path)
    said = refusal(2, "view", "o", "--file", "names.txt", cwd=tmp_path)
    assert "names.txt has 18 sequences, and one is shown; give that one as the text" in said
    assert "the text has 2 sequences" in refusal(2, "view", "o", "Anna\\nBela", cwd=tmp_path)
    assert unrolled("view", "o", "Anna\\n", cwd=tmp_path).returncode == 0


def test_states_are_those_of_every_sequence_read_from_its_start(folders, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra [plot] is not installed")
    from unrolled.commands.pictures import Scene

    for picture in ("states", "automaton"):
        done = unrolled("view", folders["rnn"], "abc\\nab\\n\\nba", "--picture", picture, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, b"")
    alone, other = (Scene(folders["rnn"], [each]).read_each() for each in ("abc", "ab"))
    both = Scene(folders["rnn"], ["abc", "", "ab"]).read_each()
    assert [each.symbols for each in both] == [tuple("abc"), tuple("ab")]
    for read, own in zip(both, [*alone, *other], strict=True):
        np.testing.assert_array_equal(read.values("h"), own.values("h"))


@pytest.mark.parametrize("picture", [name for name, row in PICTURES.items() if row.reads])
def test_every_picture_notes_symbols_that_the_model_does_not_know(picture, folders, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra [plot] is not installed")
    by = ["--by", "position"] if picture == "units" else []
    said = unrolled("view", folders["gru"], "ab?", "--picture", picture, *by, cwd=tmp_path).stderr.decode()
    assert said == "unrolled: note: the model does not know 1 of 3 symbols and reads it as UNK\n"


def test_model_beside_that_does_not_know_the_text_is_named(folders, tmp_path):
    pytest.importorskip("matplotlib", reason="the extra [plot] is not installed")
    SequenceModel(ModelConfig(hidden_size=3), Vocabulary("xyz", "characters")).save_pretrained(tmp_path / "other")
    done = unrolled("view", folders["gru"], "abc", "--picture", "gradient", "--beside", "other", cwd=tmp_path)
    said = "unrolled: note: other: the model does not know 3 of 3 symbols and reads them as UNK\n"
    assert (done.returncode, done.stderr.decode()) == (0, said)


@pytest.mark.parametrize("text", ["", "\\n"])
def test_empty_text_for_a_model_of_lines_is_said(text, tmp_path):
    (tmp_path / "names.txt").write_text("Anna\nBela\n" * 9)
    unrolled("train", "names.txt", "--lines", "--max-steps", "2", "--hidden-size", "4", "--out", "o", cwd=tmp_path)
    assert "the text is empty" in refusal(1, "view", "o", text, cwd=tmp_path)


def test_models_of_one_name_have_lines_of_their_own(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="the extra [plot] is not installed")
    from matplotlib.text import Text

    from unrolled.commands.pictures import Scene, make_gradient

    for k, other in enumerate("ab"):
        small("gru", dtype=torch.float32, framed=False, seed=k).save_pretrained(tmp_path / other / "run")
    monkeypatch.chdir(tmp_path / "a" / "run")
    figure = make_gradient(Scene(Path("."), [TEXT], beside=[Path("../../b/run")]))
    shown = {text.get_text() for text in figure.findobj(Text)}
    assert {"GRU run", "GRU run-2"} <= {each.partition(",")[0] for each in shown}, shown


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"symbols": 9, "bits": "abc"}', "Expected `int | float`, got `str`"),
        ('{"symbols": "many", "bits": 1}', "Expected `int | float`, got `str`"),
        ('{"symbols": 9, "bits": null}', "Expected `int | float`, got `null`"),
        ('{"symbols": 9, "validation_bits": {}}', "Expected `int | float`, got `object`"),
        ('{"symbols": true, "bits": false}', "Expected `int | float`, got `bool`"),
        ('{"bits": 1.5}', "it has no symbols"),
        ('{"symbols": 9}', "neither bits nor validation_bits"),
        ('{"symbols": 9, "bits": 1e999}', "Number out of range"),
        ('{"symbols": ' + "9" * 400 + ', "bits": 1}', "out of range"),
        ('{"\udcff": 9}', "invalid start byte"),
        ("[1, 2]", "Expected `object`, got `array`"),
    ],
)
def test_line_of_metrics_that_holds_something_else_is_named(line, said, folders):
    pytest.importorskip("matplotlib", reason="the extra [plot] is not installed")
    log = '{"symbols": 3, "bits": 2.0}\n' + line + "\n"
    (folders["gru"] / "metrics.jsonl").write_bytes(log.encode(errors="surrogateescape"))
    try:
        told = refusal(1, "view", folders["gru"], "--picture", "learning")
    finally:
        (folders["gru"] / "metrics.jsonl").unlink()
    assert "metrics.jsonl: line 2 is damaged, or written by something else: " in told
    assert said in told


def test_feature_that_never_changes_is_refused(folders):
    said = refusal(1, "view", folders["lstm"], TEXT, "--picture", "units", "--by", "count:Q")
    assert said == "--by count:Q stays 0 throughout this text, so no unit can follow it"
