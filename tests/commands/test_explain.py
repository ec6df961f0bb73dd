"""`unrolled explain` prints its paper, or writes it in the format that is asked for."""

import pytest

from tests.commands.command_line import refusal, unrolled


@pytest.mark.parametrize("name", ["p.png", "p.tex", "p"])
def test_explanation_in_a_format_that_it_lacks_is_refused(name, folders, tmp_path):
    said = refusal(2, "explain", folders["lstm"], "aab", "--out", name, cwd=tmp_path)
    assert f"--out {name}: its name must end in .md, .html, .txt, or give --format" in said
    assert unrolled("explain", folders["lstm"], "aab", "--out", name, "--format", "text", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("name", "head"), [("p.md", "# "), ("p.html", "<!doctype html>"), ("p.txt", "“a a b” on paper")]
)
def test_explanation_is_written_in_the_format_of_its_extension(name, head, folders, tmp_path):
    done = unrolled("explain", folders["lstm"], "aab", "--out", name, cwd=tmp_path)
    assert (done.returncode, done.stdout.decode()) == (0, f"made {name}\n")
    assert (tmp_path / name).read_text().startswith(head)


def test_explanation_is_printed(folders):
    shown = unrolled("explain", folders["rnn"], "aab", "--columns", "3").stdout.decode()
    assert "The gradients: dW_hh (7, 7), rows 0 to 6 of weight_hh_l0" in shown
    large = unrolled("explain", "--symbols", "a b", "--hidden-size", "256", "a a b").stdout.decode()
    assert "--columns 256 shows all" in " ".join(large.split())
    assert large.count("\n") < 250


def test_options_may_stand_between_the_model_and_its_text(folders):
    asked = [folders["rnn"], "aab", "--columns", "3"]
    first, *others = unrolled("explain", *asked), unrolled("explain", asked[0], *asked[2:], asked[1])
    assert first.returncode == 0
    assert [done.stdout for done in others] == [first.stdout]


def test_new_model_needs_no_folder_and_is_the_same_each_time():
    asked = ["explain", "--cell", "rnn", "--hidden-size", "3", "--symbols", "a b", "a a b"]
    done = unrolled(*asked)
    assert "RNN, V 4, H 3" in done.stdout.decode(), done.stderr.decode()
    assert unrolled(*asked).stdout == done.stdout
    assert unrolled(*asked, "--seed", "1").stdout != done.stdout
    exercise = unrolled(*asked, "--blank").stdout.decode()
    assert exercise.count("______") > 50


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a a b"], "or --symbols and a text"),
        (["--symbols", "a b", "folder", "a a b"], "give the text alone"),
        (["folder", "a a b", "--cell", "gru"], "--cell belongs to a new model"),
    ],
)
def test_model_and_symbols_exclude_each_other(arguments, said):
    assert said in refusal(2, "explain", *arguments)
