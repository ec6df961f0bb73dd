import io

from rich.console import Console

from tests.commands.command_line import SMALL, refusal, unrolled
from unrolled.commands import prepare

TEXT = "so long as men can breathe or eyes can see\n" * 90


def test_prepared_folder_trains_resumes_and_evaluates_as_the_data_would(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT)
    done = unrolled("prepare", "a.txt", "--out", "corpus", "--processes", "1", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"made corpus, 6 kB; train on it with: unrolled train corpus" in done.stdout
    for data, out in (("corpus", "x"), ("a.txt", "y")):
        assert unrolled("train", data, "--out", out, *SMALL, cwd=tmp_path).returncode == 0
    weights = [(tmp_path / out / "model.safetensors").read_bytes() for out in "xy"]
    assert weights[0] == weights[1]
    assert unrolled("train", "a.txt", "--resume", "--out", "x", cwd=tmp_path).returncode == 0
    assert unrolled("evaluate", "x", cwd=tmp_path).returncode == 0


def test_prepare_refuses_what_it_cannot_do_in_one_sentence(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT)
    assert "sonnets and anbn are small" in refusal(2, "prepare", "sonnets", "--out", "x", cwd=tmp_path)
    assert "no such file" in refusal(1, "prepare", "none.txt", "--out", "x", cwd=tmp_path)
    assert unrolled("prepare", "a.txt", "--out", "corpus", cwd=tmp_path).returncode == 0
    assert "already there" in refusal(1, "prepare", "a.txt", "--out", "corpus", cwd=tmp_path)
    assert "prepared with --no-lines, not with --lines" in refusal(
        1, "train", "corpus", "--lines", "--out", "y", *SMALL, cwd=tmp_path
    )
    assert "read on its own" in refusal(1, "train", "corpus", "a.txt", "--out", "y", *SMALL, cwd=tmp_path)


def test_prepare_says_how_far_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "EVERY", 0.0)
    (tmp_path / "a.txt").write_text(TEXT)
    done = unrolled("prepare", "a.txt", "--out", "corpus", cwd=tmp_path)
    assert b"4 kB of 4 kB encoded, about 0 s left\n" in done.stdout


def test_terminal_shows_a_bar_of_what_is_encoded():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with prepare._shown(console) as progress:
        progress(1_000_000, 4_000_000)
    shown = console.file.getvalue()
    assert "encoding" in shown
    assert "1.0/4.0 MB" in shown
