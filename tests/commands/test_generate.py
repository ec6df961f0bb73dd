"""`unrolled generate` obeys its options and tells of symbols that the model does not know."""

import re

from tests.commands.command_line import SMALL, unrolled


def test_generate_obeys_prompt_length_and_seed(run):
    out, _ = run
    first, again, other = (
        unrolled("generate", out, "Shall I\\n", "--max-length", "30", "--seed", seed).stdout.decode() for seed in "112"
    )
    assert first == again != other
    assert first.startswith("Shall I\n")
    assert len(first) <= len("Shall I\n") + 30 + 1
    several = unrolled("generate", out, "a", "--count", "3", "--max-length", "5").stdout.decode()
    assert several.count("\n") >= 3


def test_generate_separates_words_and_notes_unknown_symbols(lines_file, tmp_path):
    out = tmp_path / "run"
    assert unrolled("train", lines_file, "--out", out, "--kind", "symbols", "--lines", *SMALL).returncode == 0
    done = unrolled("generate", out, "a q", "--max-length", "3", "--seed", "1")
    assert "the model does not know 1 of 2 symbols and reads it as UNK" in done.stderr.decode()
    assert re.fullmatch(r"a q( [ab])*\s*", done.stdout.decode())
