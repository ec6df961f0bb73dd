"""`unrolled generate` obeys its options and tells of symbols that the model does not know."""

import json
import re

from tests.commands.command_line import SMALL, refusal, unrolled


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


def test_generate_without_a_seed_writes_another_text_each_time(run):
    texts = {unrolled("generate", run[0], "--max-length", "40").stdout for _ in range(3)}
    assert len(texts) == 3


def test_several_texts_are_told_apart_and_are_exact_as_json(run, lines_file, tmp_path):
    flags = ["--count", "3", "--max-length", "30", "--seed", "5"]
    lines = unrolled("generate", run[0], "a", *flags, "--json").stdout.decode().splitlines()
    found = [json.loads(line) for line in lines]
    assert [(each["prompt"], each["seed"], each["number"]) for each in found] == [("a", 5, k) for k in range(3)]
    shown = unrolled("generate", run[0], "a", *flags).stdout.decode()
    assert shown == "\n".join(f"a{each['text']}\n" for each in found)
    assert (
        unrolled("train", lines_file, "--out", tmp_path / "run", "--kind", "symbols", "--lines", *SMALL).returncode == 0
    )
    assert unrolled("generate", tmp_path / "run", "a", *flags).stdout.count(b"\n") == 3


def test_generate_refuses_more_texts_than_fit_into_memory(run):
    said = refusal(1, "generate", run[0], "the", "--count", "2000000000", "--max-length", "1")
    assert re.search(r"writing 2,000,000,000 texts at once takes about .* GB are free; lower --count", said)
    said = refusal(1, "generate", run[0], "the", "--strategy", "beam", "--beam-width", "2000000000")
    assert "lower --beam-width (now 2,000,000,000)" in said
