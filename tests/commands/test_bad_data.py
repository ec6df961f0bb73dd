"""Data that cannot be learned from: one sentence, code 1, and no folder left; odd data that can is learned from."""

import gzip
import json
import subprocess
import sys

import pytest

from tests.commands.command_line import BRIEF, ENVIRONMENT, SMALL, UNROLLED, refusal, unrolled
from unrolled.corpus.anbn import anbn

BAD_DATA = {
    "empty": (b"", [], "empty, it holds no symbols"),
    "one symbol": (b"a", [], "1 symbol only"),
    "invalid utf-8": (b"ab\ncd\xff\xfe\n", [], "byte 5 (line 2) is 0xff, which is not UTF-8"),
    "utf-16": ("ab".encode("utf-16"), [], "byte 0 starts UTF-16LE text, expected UTF-8; convert it (iconv -f UTF-16LE"),
    "gzip that ends early": (gzip.compress(b"ab" * 99)[:-9], [], "the gzip data ends early; fetch the file again"),
    "binary": (
        b"\x89PNG\r\n\x1a\n\0",
        [],
        "byte 8 (line 3) is NUL, so it is not text; only a model that is trained with --kind bytes",
    ),
    "no such column": (b"x,y\n1,2\n", ["--column", "z"], "of 'x', 'y'"),
    "no column": (b"x,y\n1,2\n", ["--format", "csv"], "no column was named; name the one that holds the sequences"),
    "not json lines": (b"{]\n", ["--format", "jsonl"], "line 1"),
    "objects": (
        b'{"text": "ab"}\n',
        ["--format", "jsonl"],
        "line 1: found an object; expected a string or a list",
    ),
    "not a json array": (b'{"a": 1}', ["--format", "json"], "expected an array of sequences"),
    "no sequences to split": (b"abc" * 99, ["--split-by", "sequence"], "a stream has no sequences to split"),
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
        (b"a" * 500, "the vocabulary is 'a', so there is nothing to learn", 3),
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
    done = unrolled("train", tmp_path / "data.txt", "--lines", "--out", tmp_path / "run", *BRIEF)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "V 3," in done.stdout.decode()


def test_a_vocabulary_of_a_hundred_thousand_gets_a_note_on_its_memory(tmp_path):
    (tmp_path / "data.txt").write_text("".join(map(chr, range(0x10000, 0x10000 + 100_000))))
    flags = ["--cell", "gru", "--hidden-size", "1", "--batch-size", "2", "--bptt", "2", "--max-steps", "1"]
    flags += ["--validation", "0.00002", "--test", "0.00002"]
    done = unrolled("train", tmp_path / "data.txt", "--out", tmp_path / "run", *flags)
    assert done.returncode == 0, done.stderr.decode()
    (note,) = done.stderr.decode().splitlines()
    assert "V is 99,998: at H 256 and E 128, the rows of embedding and head take 1.2 GB" in note
    assert "--vocabulary-size keeps the most frequent symbols, and --kind bpe spells words in fewer" in note


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
    """One line of 48 MB beside one of 17 MB: two bytes a symbol and some room to grow; text alone would take four."""
    flags = ["train", "-", "--lines", "--validation", "0", "--test", "0", "--out", tmp_path / "run"]
    _, short, _ = peak_memory(17, *flags)
    code, long, said = peak_memory(48, *flags)
    assert code == 1
    assert said.startswith("unrolled: standard input: the longest sequence has 50,331,649 symbols, expected 16,777,216")
    assert long - short < 3 * (31 << 20)
    assert not (tmp_path / "run").exists()


def test_five_strings_train_with_nothing_held_out_and_say_so(tmp_path):
    (tmp_path / "anbn.jsonl").write_text("".join(json.dumps(string) + "\n" for string in anbn()))
    shown = []
    for data in ("anbn.jsonl", "anbn"):
        done = unrolled("train", data, "--out", f"run-{data}", *BRIEF, cwd=tmp_path)
        assert done.returncode == 0
        (note,) = done.stderr.decode().splitlines()
        assert note.endswith(
            "--validation 0.05 and --test 0.05 (sequences: 5); nothing is held out for validation and test"
        )
        assert "the model was trained on these symbols; nothing was held out" in done.stdout.decode()
        shown.append(done.stdout.decode().splitlines()[1])
    assert shown[0] == shown[1]


def test_folder_of_text_and_other_files_is_read_without_the_others(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.py").write_text("import this\n" * 40)
    (tmp_path / "data" / "b.pyc").write_bytes(b"\xa7\r\r\n\0\0")
    (tmp_path / "data" / "c.gz").write_bytes(gzip.compress(b"\0\1"))
    done = unrolled("train", "data", "--out", "run", *SMALL, cwd=tmp_path)
    assert done.returncode == 0
    assert (
        done.stderr
        == b"unrolled: note: not text, and so skipped: data/b.pyc and 1 more; --include chooses files by a pattern\n"
    )
    done = unrolled("train", "data", "--out", "other", "--include", "*.py", *SMALL, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "holds no file *.txt" in refusal(1, "train", "data", "--include", "*.txt", "--out", "none", cwd=tmp_path)
    assert "not text, and so skipped: data/b.pyc; nothing is left" in refusal(
        1, "train", "data", "--include", "*.pyc", "--out", "none", cwd=tmp_path
    )
