"""Every number that a command takes has bounds, and no text in its place is rounded or ends in a traceback."""

import re
from pathlib import Path
from typing import get_args

import pytest

from tests.commands.command_line import refusal, unrolled
from unrolled.cli import app
from unrolled.config.checks import number_in

#: Each command with arguments that end it before it does any work.
COMMANDS = {
    "train": ["missing.txt", "--out", "x"],
    "sweep": ["missing.toml"],
    "prepare": ["missing.txt", "--out", "x"],
    "evaluate": ["missing"],
    "generate": ["missing"],
    "score": ["missing", "a"],
    "view": ["missing", "a"],
    "picture": ["missing"],
    "explain": ["missing", "a"],
    "serve": ["missing"],
    "export": ["missing", "--to", "flax"],
    "import": ["missing.npz", "--out", "x"],
    "lab": ["missing"],
    "lab reproduce": ["missing"],
}
#: What no number of a command may be, by its kind: all of it for the first one of each command, some for every one.
BEYOND = {
    float: ["", "nan", "inf", "x", "1e10", "-1e10"],
    int: ["", "1.5", "nan", "inf", "half", "0x10", str(2**63), str(-(2**63)), "9" * 5000, "x" * 100_000],
}
SOME_BEYOND = {float: ["nan", "1e10", "-1e10"], int: ["1.5", str(2**63), str(-(2**63))]}
ODD_TEXTS = ["", "x" * 100_000, "[red]\\n{}%s"]


def options(command):
    found = app
    for name in command.split():
        found = found[name]
    return [each for each in found.assemble_argument_collection() if each.name.startswith("--") and each.parse]


def test_walk_meets_every_command():
    there = {name for name in app if not name.startswith("-")}
    assert there - {name.split()[0] for name in COMMANDS} == {"info", "demo"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_number_has_bounds_and_refuses_what_is_beyond(command, tmp_path):
    left = dict(BEYOND)
    for each in options(command):
        number = number_in(each.field_info.annotation)
        if number is None:
            assert not {"int", "float"} & {*re.findall(r"\w+", str(each.hint))}, f"{each.name} has no bounds"
            continue
        for value in left.pop(number.kind, SOME_BEYOND[number.kind]):
            said = refusal(2, *command.split(), *COMMANDS[command], f"{each.name}={value}", cwd=tmp_path)
            assert said.startswith(f"{each.name} is "), said
            assert len(said) < 300
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", COMMANDS)
def test_text_of_any_option_ends_in_a_sentence(command, tmp_path):
    for each in options(command):
        for value in ODD_TEXTS:
            done = unrolled(*command.split(), *COMMANDS[command], f"{each.name}={value}", cwd=tmp_path)
            assert done.returncode in (1, 2)
            assert done.stderr.startswith(b"unrolled: ")
            assert b"Traceback" not in done.stderr


def test_prompt_may_begin_with_a_hyphen_after_two(run):
    shown = unrolled("generate", run[0], "--max-length", "3", "--", "-x").stdout.decode()
    assert shown.startswith("-x")


@pytest.mark.parametrize("command", COMMANDS)
def test_empty_path_is_refused(command):
    """An empty variable of a shell; pathlib makes the working folder of it."""
    for argument in options(command):
        if Path in (argument.hint, *get_args(argument.hint)):
            others = COMMANDS[command][:1] if argument.name in COMMANDS[command] else COMMANDS[command]
            said = refusal(2, *command.split(), *others, argument.name, "")
            assert f"{argument.name} is empty; give a path" in said


def test_empty_name_of_a_model_or_of_data_is_refused(tmp_path):
    for command in ("generate", "evaluate", "serve"):
        assert "is empty; give a path, or ." in refusal(2, command, "")
    said = refusal(1, "train", "", "--out", "run", cwd=tmp_path)
    assert said.startswith("the name of a file is empty; give its path")
    assert not list(tmp_path.iterdir())
