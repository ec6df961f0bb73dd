"""`unrolled score` reads a text as the model's training data was read, and says what each symbol costs."""

import json
import re
import tarfile
import tracemalloc

import numpy as np
import pytest
import torch

from tests.commands.command_line import SMALL, refusal, unrolled
from tests.views.small_models import small
from unrolled import nn
from unrolled.commands.score import AT_A_TIME, _shade
from unrolled.runtime.scoring import Score
from unrolled.views.colours import contrast, luminance, on, surprise


def test_score_names_symbols_bits_and_the_mean(run):
    out, _ = run
    shown = unrolled("score", out, "Shall I").stdout.decode()
    assert re.search(r"7 symbols, [\d.]+ bits, [\d.]+ bits/symbol", shown), shown
    from_stdin = unrolled("score", out, "-", stdin=b"Shall I").stdout.decode()
    assert from_stdin == shown


def test_score_of_a_file_reads_it_as_training_did(run, lines_file, tmp_path):
    out, _ = run
    (tmp_path / "text.txt").write_bytes(b"\xef\xbb\xbfShall I\r\n")
    assert "8 symbols" in unrolled("score", out, "--file", tmp_path / "text.txt").stdout.decode()
    (tmp_path / "text.txt").write_bytes(b"Shall\xff")
    assert "text.txt: byte 5 (line 1) is 0xff" in refusal(1, "score", out, "--file", tmp_path / "text.txt")
    assert "the text to score is empty" in refusal(1, "score", out, "")


def test_score_skips_records_without_a_symbol_as_training_does(run, tmp_path):
    (tmp_path / "texts.jsonl").write_text('"Shall I"\n""\n"thee"\n')
    done = unrolled("score", run[0], "--file", tmp_path / "texts.jsonl", "--json")
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == ["Shall I", "thee"]
    assert "note: 1 record without a symbol skipped" in done.stderr.decode()
    (tmp_path / "texts.jsonl").write_text('""\n""\n')
    assert "empty" in refusal(1, "score", run[0], "--file", tmp_path / "texts.jsonl")


def test_score_shades_can_be_read_on_every_terminal_and_darken_with_surprise():
    grounds = [surprise(bits) for bits in np.linspace(0, 12, 200)]
    for ground in grounds:
        ink, below = (tuple(map(int, re.findall(r"\d+", each))) for each in on(ground).split(" on "))
        assert below == ground
        assert contrast(ink, below) >= 4.5
    brightness = [luminance(ground) for ground in grounds]
    assert brightness == sorted(brightness, reverse=True)  # so the order is the same for every kind of colour vision
    assert brightness[0] == 1


def test_shading_a_long_line_takes_memory_for_a_part_of_it(capsys):
    def taken(T):
        scored = Score(("a", "b", "\t", " ") * (T // 4), np.ones(T), 0)
        tracemalloc.start()
        _shade([scored])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak, capsys.readouterr().out

    few, many = taken(AT_A_TIME), taken(3 * AT_A_TIME)
    assert many[1].startswith(few[1].split("bits per symbol")[0].rstrip("\n"))
    assert len(many[1].splitlines()) == len(few[1].splitlines()) == 3
    assert many[0] < 1.5 * few[0]


def test_score_in_bits_is_one_line_a_symbol(run):
    out, _ = run
    lines = [line.split("\t") for line in unrolled("score", out, "a\nb", "--bits").stdout.decode().splitlines()]
    assert [symbol for _, symbol in lines] == ["a", "⏎", "b"]
    total = re.search(r"3 symbols, ([\d.]+) bits", unrolled("score", out, "a\nb").stdout.decode()).group(1)
    assert sum(float(bits) for bits, _ in lines) == pytest.approx(float(total), abs=0.06)


@pytest.fixture(scope="session")
def bytes_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bytes")
    (folder / "text.txt").write_text("né " * 100, "utf-8")
    done = unrolled("train", "text.txt", "--kind", "bytes", "--out", "run", *SMALL, cwd=folder)
    assert done.returncode == 0, done.stderr.decode()
    return folder / "run"


def test_model_of_bytes_scores_every_way_and_shows_whole_characters(bytes_run, tmp_path):
    (tmp_path / "text.txt").write_text("né€", "utf-8")
    shown = unrolled("score", bytes_run, "né€").stdout.decode()
    assert shown.startswith("né€\n")
    assert "6 symbols, " in shown
    assert unrolled("score", bytes_run, "--file", tmp_path / "text.txt").stdout.decode() == shown
    lines = unrolled("score", bytes_run, "né€", "--bits").stdout.decode().splitlines()
    assert [line.split("\t")[1] for line in lines] == ["n", "", "é", "", "", "€"]


def test_symbols_that_cannot_be_seen_are_told_apart_in_a_list(tmp_path):
    signs = "\u2028\xa0\u3000\u200d\xad\x85\u202e\t\n "
    (tmp_path / "signs.txt").write_text(f"ab{signs}" * 40, "utf-8", newline="")
    (tmp_path / "text").write_text(signs, "utf-8", newline="")
    assert unrolled("train", "signs.txt", "--out", "run", *SMALL, cwd=tmp_path).returncode == 0
    listed = unrolled("score", "run", "--file", "text", "--bits", cwd=tmp_path).stdout.decode()
    found = [line.partition("\t")[2] for line in listed.split("\n")[: len(signs)]]
    assert found == [r"\u2028", r"\xa0", r"\u3000", r"\u200d", r"\xad", r"\x85", r"\u202e", "␉", "⏎", " "]


def test_line_end_is_typed_in_one_way_everywhere(run):
    out, _ = run
    assert unrolled("score", out, "a\\nb").stdout == unrolled("score", out, "a\nb").stdout
    written = [unrolled("generate", out, prompt, "--seed", "1").stdout for prompt in ("a\\nb", "a\nb")]
    assert written[0] == written[1]


@pytest.mark.parametrize("command", ["generate", "score", "explain", "view"])
def test_symbols_typed_without_spaces_get_a_hint(command, tmp_path):
    small("lstm", dtype=torch.float32, kind="symbols").save_pretrained(tmp_path / "run")
    done = unrolled(command, tmp_path / "run", "aab")
    assert "its symbols stand apart: did you mean 'a a b'?" in done.stderr.decode()


def test_costs_of_a_model_without_measure_are_short_and_no_library_speaks(tmp_path):
    model = small("gru", framed=False, dtype=torch.float32)
    with torch.no_grad():
        model.head.weight.mul_(1e36)
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "text").write_text("abacab" * 30)
    for command in (["score", "--bits"], ["score"], ["evaluate", "--no-baselines"], ["explain"], ["view"]):
        given = tmp_path / "text" if command[0] == "evaluate" else "abac"
        done = unrolled(command[0], tmp_path / "model", given, *command[1:])
        assert (done.returncode, done.stderr) == (0, b""), command
        assert not re.search(rb"\d{7}|-0\.0+\b", done.stdout), command
        assert re.search(rb"\de\+3\d", done.stdout) or command == ["view"], command


def test_score_as_json_is_a_line_for_each_line_of_a_file(run, tmp_path):
    (tmp_path / "lines.txt").write_text("Shall I\n\nthee \u00a7\n", "utf-8")
    flags = ["--file", tmp_path / "lines.txt", "--lines", "--json"]
    found = [json.loads(line) for line in unrolled("score", run[0], *flags).stdout.decode().splitlines()]
    assert [(each["number"], each["text"], each["symbols"], each["unknown"]) for each in found] == [
        (0, "Shall I", 7, 0),
        (1, "thee \u00a7", 6, 1),
    ]
    total = re.search(r"7 symbols, ([\d.]+) bits", unrolled("score", run[0], "Shall I").stdout.decode()).group(1)
    assert found[0]["bits"] == pytest.approx(float(total), abs=0.06)
    assert found[0]["bits_per_symbol"] == pytest.approx(found[0]["bits"] / 7)
    first = json.loads(unrolled("score", run[0], *flags, "--bits").stdout.decode().splitlines()[0])
    assert "".join(first["pieces"]) == "Shall I"
    assert sum(first["bits_of_each"]) == pytest.approx(first["bits"])


@pytest.mark.parametrize("command", [("score",), ("generate",)])
def test_network_that_predicts_no_text_is_refused_by_name(command, tmp_path):
    nn.save([nn.LSTM(3, 5), torch.nn.Linear(5, 2)], tmp_path / "layers")
    told = refusal(1, *command, tmp_path / "layers", "so long")
    assert re.search(r"layers: holds layers that .*; run them with unrolled\.runtime\.load|load them with", told), told


def test_score_of_many_sequences_does_not_count_what_stands_between_them(tmp_path):
    (tmp_path / "t.txt").write_text("ab\nba\nab\nbb\n")
    small_run = ["--lines", "--hidden-size", "4", "--max-steps", "1", "--validation", "0", "--test", "0"]
    assert unrolled("train", "t.txt", *small_run, "--out", "m", cwd=tmp_path).returncode == 0
    done = unrolled("score", "m", "--file", "t.txt", "--json", cwd=tmp_path)
    assert [json.loads(line)["unknown"] for line in done.stdout.decode().splitlines()] == [0, 0, 0, 0]
    assert done.stderr == b""
    (tmp_path / "t.txt").write_text("ab\nbx\n")
    said = unrolled("score", "m", "--file", "t.txt", "--json", cwd=tmp_path).stderr.decode()
    assert "the model does not know 1 of 4 symbols" in said


@pytest.mark.parametrize("kind", ["characters", "bytes"])
def test_archive_and_folder_are_scored_as_evaluate_measures_them(kind, tmp_path):
    """A model of bytes scored the headers of a tar, which it had not been trained on."""
    (tmp_path / "texts").mkdir()
    for name in "ab":
        (tmp_path / "texts" / f"{name}.txt").write_text(f"sun rose {name} night\n" * 40)
    with tarfile.open(tmp_path / "texts.tar", "w") as archive:
        archive.add(tmp_path / "texts" / "a.txt", "a.txt")
        archive.add(tmp_path / "texts" / "b.txt", "b.txt")
    unrolled("train", "texts.tar", "--kind", kind, "--out", "run", *SMALL, cwd=tmp_path)
    for data in ("texts.tar", "texts"):
        lines = unrolled("score", "run", "--file", data, "--json", cwd=tmp_path).stdout.splitlines()
        assert [json.loads(line)["text"] for line in lines] == [f"sun rose {name} night\n" * 40 for name in "ab"]
        assert [(json.loads(line)["symbols"], json.loads(line)["unknown"]) for line in lines] == [(17 * 40, 0)] * 2


def test_typed_text_has_the_line_ends_of_a_file(tmp_path):
    (tmp_path / "t.txt").write_bytes(b"anna\r\nbela\r\n" * 99)
    small = ["--hidden-size", "4", "--max-steps", "3", "--batch-size", "2"]
    assert unrolled("train", "t.txt", "--lines", *small, "--out", "m", cwd=tmp_path).returncode == 0
    (tmp_path / "s.txt").write_bytes(b"anna\r\nbela\r\n")
    of_file = unrolled("score", "m", "--file", "s.txt", "--json", cwd=tmp_path).stdout
    assert unrolled("score", "m", "anna\r\nbela\r\n", "--json", cwd=tmp_path).stdout == of_file
    written = [unrolled("generate", "m", text, "--seed", "1", cwd=tmp_path) for text in ("an\rna", r"an\nna")]
    assert written[0].stdout == written[1].stdout
    assert [done.stderr for done in written] == [written[0].stderr] * 2
