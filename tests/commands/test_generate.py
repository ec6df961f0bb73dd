"""`unrolled generate` obeys its options and tells of symbols that the model does not know."""

import json
import re
from itertools import chain, product

import pytest
import torch

from tests.commands.command_line import SMALL, refusal, unrolled
from tests.views.small_models import small
from unrolled.runtime.unknown import never_written
from unrolled.saved.vocabulary import Vocabulary


def test_generate_obeys_prompt_length_and_seed(run):
    out, _ = run
    first, again, other = (
        unrolled("generate", out, "Shall I\\n", "--max-length", "30", "--seed", seed).stdout.decode() for seed in "112"
    )
    assert first == again != other
    assert first.startswith("Shall I\n")
    assert len(first) <= len("Shall I\n") + 30 + 1


def test_generate_separates_words_and_notes_unknown_symbols(lines_file, tmp_path):
    out = tmp_path / "run"
    assert unrolled("train", lines_file, "--out", out, "--kind", "symbols", "--lines", *SMALL).returncode == 0
    done = unrolled("generate", out, "a q", "--max-length", "3", "--seed", "1")
    assert "the model does not know 1 of 2 symbols and reads it as UNK" in done.stderr.decode()
    assert re.fullmatch(r"a q( [ab])*\s*", done.stdout.decode())
    for stop, said in (
        ("aab", "'aab'; its symbols stand apart: did you mean 'a a b'?"),
        ("a q", "'a q'"),
        (" a b", ""),
    ):
        noted = unrolled("generate", out, "a", "--max-length", "3", "--stop", stop).stderr.decode()
        assert noted == (said and f"unrolled: note: --stop ends no text: the model never writes {said}\n")


@pytest.mark.parametrize("symbols", [["ab", "b", "ba"], ["a", "bc", "c"]])
def test_what_is_said_to_be_never_written_is_in_no_text(symbols):
    vocabulary = Vocabulary(symbols, "symbols")
    written = [" ".join(text) for n in range(1, 5) for text in product(vocabulary.symbols, repeat=n)]
    for stop in map("".join, chain.from_iterable(product("abc ", repeat=n) for n in range(1, 5))):
        if "  " not in stop:
            assert bool(never_written(vocabulary, stop)) is not any(stop in text for text in written), stop


def test_generate_without_a_seed_writes_another_text_each_time(run):
    texts = {unrolled("generate", run[0], "--max-length", "40").stdout for _ in range(3)}
    assert len(texts) == 3
    described = unrolled("generate", "--help").stdout.decode().partition("--seed")[2].partition("--stop")[0]
    assert "[default: chosen]" in " ".join(described.replace("│", " ").split())


def test_several_texts_are_told_apart_and_are_exact_as_json(run, lines_file, tmp_path):
    flags = ["--count", "3", "--max-length", "30", "--seed", "5"]
    lines = unrolled("generate", run[0], "a", *flags, "--json").stdout.decode().splitlines()
    found = [json.loads(line) for line in lines]
    assert [(each["prompt"], each["seed"], each["number"]) for each in found] == [("a", 5, k) for k in range(3)]
    shown = unrolled("generate", run[0], "a", *flags).stdout.decode()
    assert shown == "\n".join(f"a{each['text']}\n" for each in found)
    without = unrolled("generate", run[0], "a", *flags, "--json", "--no-prompt").stdout.splitlines()
    assert [{"prompt": "a"} | json.loads(line) for line in without] == found
    assert "prompt" not in json.loads(without[0])
    assert (
        unrolled("train", lines_file, "--out", tmp_path / "run", "--kind", "symbols", "--lines", *SMALL).returncode == 0
    )
    assert unrolled("generate", tmp_path / "run", "a", *flags).stdout.count(b"\n") == 3


def test_generate_refuses_more_texts_than_fit_into_memory(run):
    said = refusal(1, "generate", run[0], "the", "--count", "2000000000", "--max-length", "1")
    assert re.search(r"writing 2,000,000,000 texts at once takes about .* GB are free; lower --count", said)
    said = refusal(1, "generate", run[0], "the", "--strategy", "beam", "--beam-width", "2000000000")
    assert "lower --beam-width (now 2,000,000,000)" in said


def test_text_ends_before_what_it_is_to_stop_at(run):
    flags = ["--seed", "3", "--max-length", "300"]
    for count in ("1", "3"):
        whole, cut = (
            unrolled("generate", run[0], "Shall\\n", *flags, "--count", count, "--json", *more).stdout.decode()
            for more in ([], ["--stop", "e"])
        )
        for long, short in zip(whole.splitlines(), cut.splitlines(), strict=True):
            assert json.loads(short)["text"] == json.loads(long)["text"].partition("e")[0]
    shown = unrolled("generate", run[0], "Shall", *flags, "--stop", "\\n").stdout.decode()
    assert shown.count("\n") == 1
    assert shown.startswith("Shall")
    ended = [unrolled("generate", run[0], "Shall", *flags, *stop).stdout for stop in (["--stop", "-"], ["--stop=-"])]
    assert ended[0] == ended[1] != b""  # and no standard input


def test_prompt_comes_from_a_file_or_standard_input(run, tmp_path):
    (tmp_path / "prompt.txt").write_text("Shall I")
    typed, read, piped = (
        unrolled("generate", run[0], *given, "--seed", "1", "--max-length", "20", stdin=b"Shall I").stdout
        for given in (["Shall I"], ["--file", tmp_path / "prompt.txt"], ["-"])
    )
    assert typed == read == piped
    assert "--file" in refusal(2, "generate", run[0], "a", "--file", tmp_path / "prompt.txt")


def test_model_of_sequences_goes_on_with_each_line_of_a_file(tmp_path):
    small("gru", dtype=torch.float32).save_pretrained(tmp_path / "model")
    (tmp_path / "prompts.txt").write_text("a\nbb\nc\n")
    flags = ["--file", tmp_path / "prompts.txt", "--seed", "1", "--max-length", "9"]
    lines = unrolled("generate", tmp_path / "model", *flags, "--json").stdout.decode().splitlines()
    assert [json.loads(line)["prompt"] for line in lines] == ["a", "bb", "c"]
    assert "--count is 2, but there are 3 prompts" in refusal(2, "generate", tmp_path / "model", *flags, "--count", "2")


def test_text_is_written_to_a_file_with_or_without_its_prompt(run, tmp_path):
    flags = ["--seed", "1", "--max-length", "20"]
    shown = unrolled("generate", run[0], "Shall I", *flags).stdout.decode()
    done = unrolled("generate", run[0], "Shall I", *flags, "--out", tmp_path / "text.txt")
    assert done.stdout.decode() == f"made {tmp_path / 'text.txt'}\n"
    assert (tmp_path / "text.txt").read_text() == shown
    assert "Shall I" + unrolled("generate", run[0], "Shall I", *flags, "--no-prompt").stdout.decode() == shown
    refused = refusal(1, "generate", run[0], *flags, "--out", tmp_path / "no" / "text.txt")
    assert str(tmp_path / "no" / "text.txt") in refused


def test_options_without_an_effect_are_noted(run):
    for arguments, said in (
        (["--strategy", "greedy", "--temperature", "0.5"], "--temperature 0.5 has no effect: greedy draws nothing"),
        (["--strategy", "beam", "--top-k", "3"], "--top-k 3 has no effect: beam draws nothing"),
        (["--beam-width", "3"], "--beam-width 3 has no effect: only --strategy beam keeps several texts"),
    ):
        assert said in unrolled("generate", run, "a", "--max-length", "3", *arguments).stderr.decode()
    assert b"no effect" not in unrolled("generate", run, "a", "--max-length", "3", "--temperature", "0.5").stderr


@pytest.mark.parametrize(("kind", "prompt"), [("bytes", b"A\xff"), ("bpe", b"A")])
def test_bytes_that_are_no_text_go_to_a_file_and_a_pipe_as_they_are(kind, prompt, tmp_path):
    text = bytes([65, 255, 66, 240, 159, 10]) * 50
    symbols = Vocabulary.build(text, kind, size=300).symbols
    (tmp_path / "prompt").write_bytes(prompt)
    small("gru", symbols=symbols, kind=kind, framed=False).float().save_pretrained(tmp_path / "model")
    flags = ["--file", "prompt", "--seed", "3", "--max-length", "30"]
    piped = unrolled("generate", "model", *flags, cwd=tmp_path).stdout
    assert unrolled("generate", "model", *flags, "--out", "made", cwd=tmp_path).returncode == 0
    assert piped.startswith(prompt)
    assert piped == (tmp_path / "made").read_bytes()
    shown = json.loads(unrolled("generate", "model", *flags, "--json", cwd=tmp_path).stdout)
    assert piped.decode(errors="replace") == shown["prompt"] + shown["text"] + "\n"
    assert "\ufffd" in shown["text"]
    assert "\ufffd".encode() not in piped
    several = unrolled("generate", "model", *flags, "--count", "2", cwd=tmp_path).stdout
    assert several.startswith(piped)
