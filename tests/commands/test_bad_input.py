"""Bad input through the command line: one sentence, the exit code, and nothing overwritten or left half-made."""

import ctypes
import os
import resource
import shutil
import subprocess
import sys

import pytest

from tests.commands.command_line import ENVIRONMENT, SMALL, UNROLLED, contents, refusal, unrolled

BAD_DATA = {
    "empty": (b"", [], "empty, no symbols to learn from"),
    "one symbol": (b"a", [], "1 symbol only"),
    "one sequence": (b"ab\n", ["--lines"], "expected at least 1"),
    "sequences of one symbol": (b"a\n", ["--lines", "--kind", "words", "--test", "0"], "expected at least 1"),
    "invalid utf-8": (b"ab\ncd\xff\xfe\n", [], "byte 5 (line 2) is 0xff, which is not UTF-8"),
    "utf-16": ("ab".encode("utf-16"), [], "byte 0 starts a UTF-16 text"),
    "binary": (b"\x89PNG\r\n\x1a\n\0", [], "byte 8 (line 3) is NUL, so this is no text; read it as bytes"),
    "too small to split": (b"abcdefgh", [], "expected at least 2"),
    "no such column": (b"x,y\n1,2\n", ["--column", "z"], "of 'x', 'y'"),
    "no column": (b"x,y\n1,2\n", ["--format", "csv"], "no column was named; name the one that holds the sequences"),
    "not json lines": (b"{]\n", ["--format", "jsonl"], "line 1"),
    "not a json array": (b'{"a": 1}', ["--format", "json"], "expected an array of sequences"),
    "no sequences to split": (b"abc" * 99, ["--split-by", "sequence"], "a stream has no sequences to split"),
    "too few files to split": (b"abc" * 99, ["--split-by", "file"], "validation 0.05 of 1 files is 0"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data_is_one_sentence_and_code_1(name, tmp_path):
    data, flags, message = BAD_DATA[name]
    (tmp_path / "data.txt").write_bytes(data)
    error = refusal(1, "train", tmp_path / "data.txt", "--out", tmp_path / "run", *flags, *SMALL)
    assert message in error
    assert "data.txt" in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("data", "note", "V"),
    [
        (b"a" * 500, "the vocabulary is 'a', with nothing to tell apart there is nothing to learn", 3),
        (b"ab\r\n" * 100, None, 5),
        (b"\xef\xbb\xbfab\n" * 100, None, 6),  # a mark is left out at the start only
    ],
)
def test_odd_but_usable_data_trains(data, note, V, tmp_path):
    (tmp_path / "data.txt").write_bytes(data)
    done = unrolled("train", tmp_path / "data.txt", "--out", tmp_path / "run", *SMALL)
    assert done.returncode == 0, done.stderr.decode()
    assert f"V {V}," in done.stdout.decode()
    notes = [line for line in done.stderr.decode().splitlines() if line]
    assert (len(notes) == 1 and note in notes[0] and notes[0].startswith("unrolled: note: ")) if note else not notes


def test_one_repeated_sequence_of_one_symbol_is_a_vocabulary_of_one(tmp_path):
    (tmp_path / "data.txt").write_text("aa\n" * 40)
    done = unrolled("train", tmp_path / "data.txt", "--lines", "--out", tmp_path / "run", *SMALL)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "V 3," in done.stdout.decode()


def test_a_hundred_thousand_kinds_of_symbols_are_told_what_they_cost(tmp_path):
    (tmp_path / "data.txt").write_text("".join(map(chr, range(0x10000, 0x10000 + 100_000))))
    flags = ["--cell", "gru", "--hidden-size", "1", "--batch-size", "2", "--bptt", "2", "--max-steps", "1"]
    flags += ["--validation", "0.00002", "--test", "0.00002"]
    done = unrolled("train", tmp_path / "data.txt", "--out", tmp_path / "run", *flags)
    assert done.returncode == 0, done.stderr.decode()
    (note,) = done.stderr.decode().splitlines()
    assert "V is 99,998, which takes a model of words: at H 256" in note
    assert " GB; use kind words, raise min_count or embed" in note


PEAK = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=sys.stderr)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""


def peak_memory(blocks, *arguments):
    """Run a command that reads so many megabytes of one line; return exit code, peak of its memory in bytes, errors."""
    command = [sys.executable, "-c", PEAK, *UNROLLED, *map(str, arguments)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=ENVIRONMENT, **pipes) as process:
        for _ in range(blocks):
            process.stdin.write(b"abcdefgh" * (1 << 17))
        shown, said = process.communicate()
    return process.returncode, int(shown) * 1024, said.decode()


def test_a_sequence_without_end_is_refused_in_bounded_memory(tmp_path):
    """One line of 48 MB beside one of 17 MB: two bytes a symbol and some room to grow; its text alone takes four."""
    flags = ["train", "-", "--lines", "--validation", "0", "--test", "0", "--out", tmp_path / "run"]
    _, short, _ = peak_memory(17, *flags)
    code, long, said = peak_memory(48, *flags)
    assert code == 1
    assert said.startswith("unrolled: standard input: the longest sequence has 50,331,649 symbols, expected 16,777,216")
    assert long - short < 3 * (31 << 20)
    assert not (tmp_path / "run").exists()


def test_existing_folder_is_left_alone(run):
    out, _ = run
    before = contents(out)
    assert "the folder is not empty" in refusal(1, "train", "sonnets", "--out", out, *SMALL)
    assert contents(out) == before


def no_rights_of_root():
    """Give up root's right to write where the permissions forbid it; a command that is not root has none."""
    PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1
    if os.geteuid() == 0:
        ctypes.CDLL(None, use_errno=True).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)


@pytest.mark.parametrize("place", ["run", "deep/run"])
def test_folder_that_cannot_be_written_is_named(place, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    probe = subprocess.run(["touch", str(closed / "probe")], preexec_fn=no_rights_of_root, stderr=subprocess.PIPE)
    if probe.returncode == 0:
        pytest.skip("this user may write anywhere, and may not give that up")
    error = refusal(1, "train", "sonnets", "--out", closed / place, *SMALL, before=no_rights_of_root)
    assert error.startswith(f"{closed / place}: cannot write: Permission denied; name a folder that you can write to")
    assert not list(closed.iterdir())


def test_file_in_the_place_of_the_folder_is_named_and_kept(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        assert refusal(1, "train", "sonnets", "--out", place, *SMALL).startswith(f"{place}: cannot write: ")
    assert (tmp_path / "file").read_text() == "in the way"


def disk_of(size):
    """Refuse to write any file beyond this size, as a full disk does; a real one needs a mount, and so root."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("size", [0, 5000])
def test_full_disk_leaves_no_trace_of_a_run_that_could_not_begin(size, tmp_path):
    """No file fits, or some do: weights of 9 KB and the state of the optimiser of 28 KB do not."""
    error = refusal(1, "train", "sonnets", "--out", tmp_path / "run", *SMALL, before=disk_of(size))
    assert "cannot write: File too large; raise the limit on file sizes" in error
    assert not (tmp_path / "run").exists()


def test_full_disk_in_mid_run_keeps_the_last_checkpoint(run, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(run[0], out)
    before = contents(out)
    latest = (
        out / "checkpoints" / (out / "checkpoints" / "latest").read_text().split('"checkpoint": "')[1].split('"')[0]
    )
    size = (latest / "training.safetensors").stat().st_size - 1
    go_on = ["train", "--resume", "--out", out, "--max-steps", "16", "--checkpoint-every", "2"]
    assert "cannot write: File too large" in refusal(1, *go_on, before=disk_of(size))
    assert contents(out) == before
    assert unrolled(*go_on).returncode == 0


@pytest.fixture
def copied(run, tmp_path):
    """A copy of the trained model that may be spoilt."""
    out = tmp_path / "run"
    shutil.copytree(run[0], out)
    return out


def test_resume_of_another_corpus_model_or_training_is_refused(copied, tmp_path):
    before = contents(copied)
    (tmp_path / "other.txt").write_text("another text altogether\n" * 100)
    resume = ["train", "--resume", "--out", copied]
    assert "this run began with other data" in refusal(1, "train", tmp_path / "other.txt", *resume[1:])
    assert "this run began with other data" in refusal(1, *resume, "--validation", "0.1")
    assert "hidden_size was 8 when this run began and is 9 now" in refusal(1, *resume, "--hidden-size", "9")
    assert "seed was 0 when this run began and is 1 now" in refusal(1, *resume, "--seed", "1")
    assert contents(copied) == before


@pytest.mark.parametrize(
    ("file", "spoil", "says"),
    [
        ("training.safetensors", lambda data: data[:-5], "training.safetensors: damaged"),
        ("training.json", lambda data: data.replace(b'"step": ', b'"step": 1'), "training.json: damaged"),
        ("latest", lambda data: b'{"format_version": 99}', "latest: format version 99; this release reads 1"),
    ],
)
def test_resume_of_a_damaged_or_foreign_checkpoint_is_refused(file, spoil, says, copied):
    (path,) = copied.rglob(file)
    path.write_bytes(spoil(path.read_bytes()))
    before = contents(copied)
    assert says in refusal(1, "train", "--resume", "--out", copied, "--max-steps", "16")
    assert contents(copied) == before


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
