"""`unrolled view` and `unrolled explain` as a user meets them; wrong use and missing parts are said in one sentence."""

import csv
import subprocess
import sys

import numpy as np
import pytest

from tests.views.small_models import small
from unrolled.cli import run
from unrolled.views.traces import trace

TEXT = "abcacbbac"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}
    for name in ("rnn", "lstm", "gru"):
        made[name] = tmp_path_factory.mktemp("runs") / name
        small(name, dtype=__import__("torch").float32, framed=name == "rnn").save_pretrained(made[name])
    (made["gru"] / "metrics.jsonl").write_text('{"symbols": 3, "bits": 2.0}\n{"symbols": 6, "bits": 1.0}\n')
    return made


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


PICTURES = [
    "gates",
    "saturation",
    "counter",
    "text",
    "gradient",
    "reach",
    "connectivity",
    "states",
    "automaton",
    "learning",
]


@pytest.mark.parametrize("picture", PICTURES)
def test_every_picture_is_made_where_it_is_said(picture, folders, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="the extra [plot] is not installed")
    beside = ["--beside", str(folders["rnn"])] if picture == "gradient" else []
    assert run(["view", str(folders["gru"]), TEXT, "--picture", picture, *beside]) == 0
    assert capsys.readouterr().out == f"made {picture}.png\n"
    assert (tmp_path / f"{picture}.png").read_bytes()[:4] == b"\x89PNG"


def test_terminal_needs_no_picture_library(folders, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run(["view", str(folders["lstm"]), TEXT, "--unit", "3"]) == 0
    shown = capsys.readouterr().out
    assert "coloured by c0[3]" in shown
    assert TEXT in shown
    for signal in "ifgoch":
        assert f"{signal}[6]" in shown


def test_units_are_ranked(folders, capsys):
    assert run(["view", str(folders["lstm"]), TEXT, "--picture", "units", "--by", "count:a-b"]) == 0
    assert "c0[" in capsys.readouterr().out


def test_table_holds_the_trace(folders, tmp_path):
    assert run(["view", str(folders["gru"]), TEXT, "--picture", "table", "--signal", "z", "--out", "t.csv"]) == 0
    with open("t.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    read = trace(small("gru", dtype=__import__("torch").float32, framed=False), TEXT)
    assert [row["symbol"] for row in rows] == list(TEXT)
    np.testing.assert_allclose([float(row["z0[2]"]) for row in rows], read.values("z")[:, 2], rtol=1e-5)
    assert "h0[2]" not in rows[0]


@pytest.mark.parametrize(
    ("name", "head"), [("p.md", "# "), ("p.html", "<!doctype html>"), ("p.txt", "“a a b” on paper")]
)
def test_explanation_is_written_as_its_ending_says(name, head, folders, tmp_path):
    assert run(["explain", str(folders["lstm"]), "aab", "--out", name]) == 0
    assert (tmp_path / name).read_text().startswith(head)


def test_explanation_is_printed(folders, capsys):
    assert run(["explain", str(folders["rnn"]), "aab", "--columns", "3"]) == 0
    assert "Gradient of rnn.weight_hh_l0 (7, 7)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cell", "arguments", "code", "said"),
    [
        ("gru", [""], 1, "the text is empty"),
        ("gru", [], 2, "there is no text to read"),
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
        ("lstm", ["--picture", "learning"], 1, "holds no metrics.jsonl"),
    ],
)
def test_wrong_use_is_one_sentence(cell, arguments, code, said, folders, capsys):
    assert run(["view", str(folders[cell]), *arguments]) == code
    complaint = capsys.readouterr().err
    assert said in complaint
    assert "Traceback" not in complaint


#: As if it had never been installed.
WITHOUT_MATPLOTLIB = """
class Nowhere:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
sys.meta_path.insert(0, Nowhere())
"""


def in_a_process_of_its_own(arguments, before="pass"):
    code = f"import sys\n{before}\nfrom unrolled.cli import run; sys.exit(run({list(map(str, arguments))!r}))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_missing_picture_library_is_named(folders):
    done = in_a_process_of_its_own(["view", folders["gru"], "ab", "--picture", "gates"], before=WITHOUT_MATPLOTLIB)
    assert done.returncode == 1
    assert done.stderr == "unrolled: matplotlib is not installed; pip install 'unrolled[plot]'\n"


def test_unseen_symbols_and_long_texts_are_noted(folders, tmp_path):
    (tmp_path / "long.txt").write_text("abc?" * 5_500)
    done = in_a_process_of_its_own(["view", folders["gru"], "--file", tmp_path / "long.txt"])
    assert done.returncode == 0
    assert "22,000 symbols; all are read, but only one step in 2 is kept" in done.stderr
    assert "symbols are new to the model, which reads them as UNK" in done.stderr
    assert "one step in 2 is shown" in done.stdout
