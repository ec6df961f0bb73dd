"""`unrolled explain` prints its paper, or writes it in the format that is asked for."""

import pytest

from tests.commands.command_line import unrolled


@pytest.mark.parametrize(
    ("name", "head"), [("p.md", "# "), ("p.html", "<!doctype html>"), ("p.txt", "“a a b” on paper")]
)
def test_explanation_is_written_in_the_format_of_its_extension(name, head, folders, tmp_path):
    done = unrolled("explain", folders["lstm"], "aab", "--out", name, cwd=tmp_path)
    assert (done.returncode, done.stdout.decode()) == (0, f"made {name}\n")
    assert (tmp_path / name).read_text().startswith(head)


def test_explanation_is_printed(folders):
    shown = unrolled("explain", folders["rnn"], "aab", "--columns", "3").stdout.decode()
    assert "Gradient of rnn.weight_hh_l0 (7, 7)" in shown
