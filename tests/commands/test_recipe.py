"""What `unrolled train` chooses where its user does not say: shown, recorded, obeyed, and ended in time."""

import json
import re
from types import SimpleNamespace

import pytest

from tests.commands.command_line import contents, in_own_process, refusal, unrolled
from unrolled.commands.recipe import note_pace
from unrolled.lm import calibration
from unrolled.lm.recipe import Speed
from unrolled.lm.run import Result

TEXT = "to be, or not to be, that is the question\n" * 60
SECONDS = ["--minutes", "0.01"]


@pytest.fixture
def text(tmp_path):
    (tmp_path / "my text.txt").write_text(TEXT)
    return tmp_path / "my text.txt"


@pytest.fixture
def steady(monkeypatch):
    """A machine whose measured speed is always the same."""
    monkeypatch.setattr(calibration, "measured_speed", lambda *_: Speed(1e-5, 1e-10))


def config(folder):
    return json.loads((folder / "config.json").read_text())


def test_chunk_of_sequences_has_no_effect_and_says_so(text, steady, tmp_path):
    flags = ["train", text, "--max-steps", "9", "--dry-run"]
    said = "--bptt 20 has no effect: sequences are backpropagated through time in full"
    assert said in unrolled(*flags, "--lines", "--bptt", "20", cwd=tmp_path).stderr.decode()
    for other in (["--bptt", "20"], ["--lines"]):
        assert b"no effect" not in unrolled(*flags, *other, cwd=tmp_path).stderr


def test_dry_run_shows_the_choices_with_their_reasons_and_writes_nothing(text, steady, tmp_path):
    before = contents(tmp_path)
    shown = unrolled("train", text, "--minutes", "2", "--dropout", "0.3", "--dry-run", cwd=tmp_path).stdout.decode()
    assert re.search(r"│ hidden size +│ \d+ +│ enough for 2,267 training symbols", shown), shown
    assert "│ dropout" not in shown
    assert "SequenceModel" not in shown
    assert contents(tmp_path) == before


def test_limit_of_memory_adapts_the_run_or_refuses_it_and_says_so(tmp_path):
    """In processes of their own, for what a process has already counts too."""
    (tmp_path / "genome.txt").write_text("acgt" * 110_000)
    flags = ["train", "genome.txt", "--bptt", "100000", "--batch-size", "4", "--hidden-size", "256", "--max-steps", "1",
             "--precision", "float32"]  # fmt: skip
    done = in_own_process(*flags, "--memory", "2GB", "--dry-run", cwd=tmp_path)
    shown = re.sub(r"[ │]*\n│[ │]*", " ", done.stdout.decode())
    assert re.search("checkpoint steps +│ auto +│ the gates of 396,000 symbols would not fit", shown), shown
    assert "memory: about 1." in shown
    done = in_own_process(*flags, "--memory", "600MB", "--out", "run", cwd=tmp_path)
    assert done.returncode == 1
    [said] = done.stderr.decode().splitlines()
    assert re.fullmatch(
        r"unrolled: a batch of \S+ symbols takes \S+ GB in all layers, and \S+ [GM]B are left of --memory; "
        r"lower --bptt \(now 100,000\)",
        said,
    ), said
    assert not (tmp_path / "run").exists()


def test_minutes_bound_the_run_and_the_choices_are_recorded(text, steady, tmp_path):
    done = unrolled("train", text, *SECONDS, "--hidden-size", "9", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    found = config(tmp_path / "runs" / "my text")
    options = found["model"] | found["training"]
    assert options["max_minutes"] == 0.01
    assert options["hidden_size"] == 9
    assert options["schedule"] == "cosine"
    assert "hidden_size" not in found["chosen"]
    for name, reason in found["chosen"].items():
        assert name in options
        assert reason in re.sub(r"[ │]*\n│[ │]*", " ", done.stdout.decode())


def test_folders_are_named_after_the_data_and_none_is_written_twice(text, steady, tmp_path):
    for _ in range(3):
        assert unrolled("train", text, "--max-steps", "1", cwd=tmp_path).returncode == 0
    assert unrolled("train", "-", "--max-steps", "1", cwd=tmp_path, stdin=TEXT.encode()).returncode == 0
    made = {path.name for path in (tmp_path / "runs").iterdir()}
    assert made == {"my text", "my text-2", "my text-3", "stdin"}
    (tmp_path / "books" / "in").mkdir(parents=True)
    (tmp_path / "books" / "a.txt").write_text(TEXT)
    (tmp_path / "link.txt").symlink_to("books/a.txt")
    named = {
        "books/*.txt": (tmp_path, "books"),
        "..": (tmp_path / "books" / "in", "books"),
        "link.txt": (tmp_path, "link"),
    }
    for data, (cwd, name) in named.items():
        assert unrolled("train", data, "--max-steps", "1", cwd=cwd).returncode == 0
        assert (cwd / "runs" / name / "model.safetensors").exists()
    models = {(tmp_path / "runs" / name / "model.safetensors").read_bytes() for name in made - {"stdin"}}
    assert len(models) == 1  # a run of given steps is the same each time


def test_run_that_is_slower_than_planned_ends_in_time_and_says_so(text, monkeypatch, tmp_path):
    monkeypatch.setattr(calibration, "measured_speed", lambda *_: Speed(1e-9, 1e-14))
    done = unrolled("train", text, *SECONDS, "--max-epochs", "1000000", cwd=tmp_path)
    assert "ended by max_minutes" in done.stdout.decode()
    assert re.search(r"note: the machine was slower than when it was measured: [\d,]+ steps? of", done.stderr.decode())


@pytest.mark.parametrize(
    ("steps", "aside", "said"),
    [
        (
            90,
            30.0,
            "validations and saves took .* of .*, so 90 steps of about 200 were done; raise validate_every or",
        ),
        (40, 30.0, "the machine was slower than when it was measured: 40 steps of about 200 in the same time"),
        (90, 2.0, "the machine was slower than when it was measured: 90 steps of about 200"),
    ],
)
def test_time_that_validations_and_saves_took_is_not_called_the_machines(steps, aside, said):
    result = Result(steps, 1, 1.0, None, 60.0, False, "max_minutes", None, aside)
    with pytest.warns(UserWarning, match=said):
        note_pace(SimpleNamespace(steps=200), result)


def test_dry_run_refuses_what_a_run_would_refuse(text, tmp_path):
    refused = ["train", text, "--memory", "1MB"]
    for asked in (refused, [*refused, "--dry-run"]):
        done = unrolled(*asked, cwd=tmp_path)
        assert (done.returncode, "--memory is 1.0 MB, and this process takes" in done.stderr.decode()) == (1, True)
    assert not (tmp_path / "runs").exists() or not [*(tmp_path / "runs").iterdir()]


def test_run_as_fast_as_planned_says_nothing_of_the_speed(text, monkeypatch, tmp_path):
    monkeypatch.setattr(calibration, "measured_speed", lambda *_: Speed(1e-2, 1e-9))
    done = unrolled("train", text, *SECONDS, cwd=tmp_path)
    assert done.returncode == 0
    assert "slower" not in done.stderr.decode()


@pytest.mark.parametrize("data", ["To be, or not to be, that is the question: Whether", "a" * 80, TEXT])
def test_any_text_and_a_second_are_enough(data, tmp_path):
    (tmp_path / "t.txt").write_text(data)
    done = unrolled("train", "t.txt", "--minutes", "0.005", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert unrolled("generate", "runs/t", "--max-length", "3", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--minutes", "0"], 2, "--minutes is 0.0; it must be a number in (0, 1e+09]"),
        (["--minutes", "2", "--max-minutes", "3"], 2, "--minutes 2.0: --max-minutes is given too; leave one out"),
        (["--minutes", "2", "--resume", "--out", "x"], 2, "no run to resume"),
        (["--resume"], 2, "--resume needs --out"),
        (["--minutes", "1", "--hidden-size", "0"], 2, "--hidden-size is 0"),
    ],
)
def test_contradictions_are_named(flags, code, said, text, tmp_path):
    assert said in refusal(code, "train", text, *flags, cwd=tmp_path)
    assert not (tmp_path / "runs").exists()
