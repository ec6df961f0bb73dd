"""What is printed: as it is into a pipe, and on a terminal nothing that it would obey."""

import errno
import os
import pty
import re
import subprocess
import sys
import termios
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.commands.command_line import ENVIRONMENT, SMALL, UNROLLED, refusal, unrolled
from tests.saved.disk import unchanged_when_refused
from tests.views.small_models import small
from unrolled.commands.console import printable, write_out
from unrolled.saved.visible import DRAWN

needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a file that is always full")
#: Clears the screen, sets the title, turns the order, goes back, rings.
HOSTILE = "\x1b\x9b\x07\r\x7f\u202ea"


def test_text_that_is_written_leaves_the_file_as_it_was_when_the_disk_refuses(tmp_path):
    (tmp_path / "text").write_text("old")
    unchanged_when_refused(tmp_path, "fsync", errno.ENOSPC, lambda: write_out(tmp_path / "text", "new"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model whose vocabulary is hostile."""
    folder = tmp_path_factory.mktemp("hostile") / "model"
    small("gru", symbols=HOSTILE, framed=False).float().save_pretrained(folder)
    return folder


def all_of(ours):
    """What is written to a terminal until its other end is closed."""
    written = b""
    while True:
        try:
            more = os.read(ours, 4096)
        except OSError:  # the other end is closed
            more = b""
        if not more:
            os.close(ours)
            return written.decode().replace("\r\n", "\n")
        written += more


def on_terminal(*arguments):
    """Run a command whose output is a terminal; return what it wrote to it."""
    ours, theirs = pty.openpty()
    with ThreadPoolExecutor(1) as reader:
        written = reader.submit(all_of, ours)
        with open(theirs, "w") as terminal:
            assert unrolled(*arguments, onto=terminal, TERM="dumb", NO_COLOR="").returncode in (0, 1)
        return written.result()


def on_terminal_of_its_own(*arguments, columns):
    """The same in a process whose terminal has this width, and colours."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    environment = {key: value for key, value in ENVIRONMENT.items() if key != "COLUMNS"} | {"TERM": "xterm"}
    with subprocess.Popen([*UNROLLED, *map(str, arguments)], stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        written = all_of(ours)
    assert process.returncode == 0
    return written


@pytest.mark.parametrize(
    "arguments",
    [
        ("generate", "--max-length", 60),
        ("generate", "--count", 2, "--max-length", 60),
        ("score", HOSTILE),
        ("score", HOSTILE, "--bits"),
        ("view", HOSTILE),
        ("view", HOSTILE, "--picture", "units", "--by", "position"),
        ("explain", HOSTILE),
    ],
    ids=lambda arguments: " ".join(map(repr, arguments)),
)
def test_terminal_gets_nothing_to_obey(arguments, folder):
    command, *rest = arguments
    written = on_terminal(command, folder, *rest)
    assert not {*written} & {chr(k) for k in DRAWN}, ascii(written)
    assert "Traceback" not in written


@pytest.mark.parametrize("command", ["explain --format text", "view --picture table", "picture"])
def test_name_of_a_file_on_a_terminal_has_nothing_to_obey(command, folder, tmp_path):
    command, *options = command.split()
    given = ["cell"] if command == "picture" else [folder, HOSTILE]
    written = on_terminal(command, *given, *options, "--out", tmp_path / f"{HOSTILE[:2]}.svg")
    assert "made " in written
    assert not {*written} & {chr(k) for k in DRAWN}, ascii(written)


@pytest.mark.parametrize("columns", [1, 2, 10])
def test_terminal_that_is_too_narrow_for_words_gets_lines_of_twenty_columns(columns):
    """One of two columns or less waited for ever for a table that fits."""
    shown = re.sub(r"\x1b\[\d*m", "", on_terminal_of_its_own("generate", "--help", columns=columns))
    assert max(map(len, shown.split("\n"))) == 20
    assert "temperature" in shown


def test_error_on_a_terminal_has_nothing_to_obey(tmp_path):
    written = on_terminal("generate", tmp_path / HOSTILE[:3])
    assert "no config.json" in written
    assert "\x1b" not in written


def test_pipe_gets_every_character_as_it_is(folder):
    command = [*UNROLLED, "generate", str(folder), HOSTILE, "--max-length", "9"]
    written = subprocess.run(command, capture_output=True, env=ENVIRONMENT, check=True).stdout.decode()
    assert written.startswith(HOSTILE)


def test_printable_draws_all_that_a_terminal_obeys_and_nothing_else(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    drawn = {k for k in range(0x3000) if printable(chr(k)) != chr(k)}
    assert drawn >= {*range(0x20), *range(0x7F, 0xA0)} - {9, 10}
    assert printable("a\tb\n\u00e9 \u200d \u4e2d") == "a\tb\n\u00e9 \u200d \u4e2d"


@needs_full
@pytest.mark.parametrize(
    "command", ["info", "lab list", "score --bits", "score", "generate", "generate --json", "explain", "view"]
)
def test_full_standard_output_is_one_sentence_and_no_traceback(command, folders):
    given = [] if command in ("info", "lab list") else [str(folders["lstm"]), "ab" * 6]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*UNROLLED, *command.split(), *given], stdout=full, stderr=subprocess.PIPE, env=ENVIRONMENT, check=False
        )
    assert done.returncode == 1
    said = "standard output: cannot write: No space left on device; free some space, or write to another disk"
    assert done.stderr.decode() == f"unrolled: {said}\n"


@pytest.mark.parametrize("command", ["info", "lab list", "score --bits", "score", "explain", "view", "--help"])
def test_reader_that_closes_the_pipe_ends_the_command_in_silence(command, folders):
    given = [str(folders["lstm"]), "ab" * 6] if command.split()[0] in ("score", "explain", "view") else []
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*UNROLLED, *command.split(), *given], stdout=writing, stderr=subprocess.PIPE, env=ENVIRONMENT, check=False
    )
    os.close(writing)
    assert done.stderr == b""


@pytest.mark.parametrize("closed", [1, 2])
def test_command_runs_without_a_standard_stream(closed, folders):
    done = subprocess.run(
        [*UNROLLED, "generate", str(folders["lstm"]), "\u4e2d", "--seed", "1"],
        capture_output=True,
        env=ENVIRONMENT,
        check=False,
        preexec_fn=lambda: os.close(closed),
    )
    assert done.returncode == 0, done.stderr


@needs_full
def test_note_that_cannot_be_written_ends_nothing(folders):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*UNROLLED, "generate", str(folders["lstm"]), "\u4e2d", "--seed", "1"],
            stdout=subprocess.PIPE,
            stderr=full,
            env=ENVIRONMENT,
            check=False,
        )
    assert done.returncode == 0
    assert done.stdout


@needs_full
@pytest.mark.parametrize("command", ["explain", "view --picture table", "view --picture gates", "picture"])
@pytest.mark.parametrize(
    ("out", "why"), [("nowhere/x", "No such file or directory"), ("full", "No space left on device")]
)
def test_file_that_cannot_be_written_is_named(command, out, why, folders, tmp_path):
    (tmp_path / "full.txt").symlink_to("/dev/full")
    (tmp_path / "full.svg").symlink_to("/dev/full")
    given = ["cell"] if command == "picture" else [folders["lstm"], "ab"]
    name = out + (".svg" if command.endswith(("gates", "picture")) else ".txt")
    said = refusal(1, *command.split(), *given, "--out", name, cwd=tmp_path)
    assert said.startswith(f"{name}: cannot write: {why}; ")


@pytest.mark.parametrize("columns", ["0", "1", "19"])
def test_width_in_which_nothing_fits_is_not_obeyed(columns, folder):
    command = [*UNROLLED, "score", folder, "aa"]
    shown = subprocess.run(command, capture_output=True, env=ENVIRONMENT | {"COLUMNS": columns}, check=True)
    assert b"bits/symbol" in shown.stdout


def test_colours_in_a_pipe_are_no_screen(folder, tmp_path):
    """Test machines set FORCE_COLOR, and keep what is printed: a panel that is drawn anew fills their logs."""
    (tmp_path / "a.txt").write_text("so long lives this\n" * 40)
    coloured = {key: value for key, value in ENVIRONMENT.items() if key != "NO_COLOR"} | {"FORCE_COLOR": "1"}
    for command in (["train", "a.txt", "--out", "r", *SMALL], ["prepare", "a.txt", "--out", "p"]):
        done = subprocess.run(
            [*UNROLLED, *command], capture_output=True, env=coloured, cwd=tmp_path, text=True, check=True
        )
        assert not re.search(r"\x1b\[(\?25|\d*[ABK])|\r", done.stdout), command
