"""What all commands share: `--help` without torch, wrong use in one sentence, and no markup in what a user gives."""

import errno
import json
import shlex
import subprocess
import sys
from functools import cache

import pytest
import torch

from tests.commands.command_line import ENVIRONMENT, OURS, SMALL, UNROLLED, in_own_process, refusal, unrolled
from tests.views.small_models import small
from unrolled import cli
from unrolled.cli import app
from unrolled.lab import protocols
from unrolled.languages import registry

COMMANDS = sorted(name for name in app if not name.startswith("-"))

HELP = """
import sys
sys.modules["torch"] = sys.modules["numpy"] = None
from unrolled.cli import app, run
commands = [name for name in app if not name.startswith("-")]
sys.exit(any([run([*command, "--help"]) for command in ([], *([name] for name in commands))]))
"""


def test_help_needs_neither_torch_nor_numpy():
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, env=ENVIRONMENT, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    shown = done.stdout.decode()
    for name in COMMANDS:
        assert f"Usage: unrolled {name}" in shown


def test_help_says_of_each_command_what_it_does():
    done = in_own_process("--help").stdout.decode()
    for name in COMMANDS:
        assert f"│ {name} " in done
        assert app[name].help.split("\n")[0] in done


@pytest.mark.parametrize(
    "arguments",
    [
        ["trian"],
        ["generate", "RUN", "Shäll I", "--seed", "3", "--max-length", "9"],
        ["score", "RUN", "-", "--bits"],
    ],
)
def test_command_does_the_same_in_this_process_and_in_its_own(arguments, run):
    arguments = [str(run[0]) if argument == "RUN" else argument for argument in arguments]
    here, there = (call(*arguments, stdin="Shäll I".encode()) for call in (unrolled, in_own_process))
    assert (here.returncode, here.stdout, here.stderr) == (there.returncode, there.stdout, there.stderr)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], 'Did you mean "train"?'),
        (["train", "sonnets", "--out", "x", "--hiden-size", "3"], "Did you mean --hidden-size?"),
        (["train", "sonnets", "--out"], "--out needs a value"),
        (["generate"], "generate needs MODEL"),
        (["generate", "x", "so", "long"], "long is more than generate takes; put quotes around a text with spaces"),
        (["generate", "x", "--", "-x", "--seed", "5"], "--seed stands after --, where everything is text"),
        (["evaluate", "x", "--baselines=3"], "--baselines is '3'; it must be true or false"),
        (["generate", "x", "--temperature", "0"], "to take the likeliest symbol each time, use --strategy greedy"),
        (["train", "sonnets", "--out", "x", "--checkpoint-steps", "y"], "or auto"),
        (
            ["train", "sonnets", "--out", "x", "--max-epochs", "0"],
            "--max-steps, --max-epochs and --max-minutes are all 0",
        ),
        (["train", "sonnets", "--out", "x", "--hidden-size", "0"], "--hidden-size is 0; it must be a whole number"),
        (["train", "sonnets", "--out", "x", "--hidden-size", "big"], "big"),
        (["train", "sonnets", "--out", "x", "--cell", "gro"], 'Did you mean "gru"?'),
        (
            ["train", "sonnets", "--out", "x", "--validation", "0.7", "--test", "0.5"],
            "it must leave a share to train on",
        ),
        (["train", "sonnets", "--out", "x", "--config", "none.toml"], "none.toml"),
        (["train", "--resume", "--out", "nowhere"], "nowhere: no checkpoints/latest, so there is no run to resume"),
        (["generate", "x", "--top-p", "0"], "--top-p is 0.0; it must be a number in (0, 1]"),
        (["generate", "x", "--max-length", "0"], "--max-length is 0"),
        (["generate", "x", "--count", "0"], "--count is 0"),
        (["generate", "x", "--count", "2", "--strategy", "beam"], "beam finds the same text each time"),
        (["evaluate", "x", "--split", "tset"], 'Did you mean "test"?'),
        (["evaluate", "x", "y.txt", "--split", "test"], "other data is measured whole"),
        (["score", "x"], "give one text to read"),
        (["score", "x", "text", "--file", "y.txt"], "give one text to read"),
        (["train", "--out", "x"], "no training data; name files"),
        (
            ["train", "sonnets", "--out", "x", "--format", "text", "--column", "c"],
            "CSV has columns, JSON has fields, text has none",
        ),
    ],
)
def test_wrong_use_is_one_sentence_and_code_2(arguments, message, tmp_path):
    assert message in refusal(2, *arguments, cwd=tmp_path)
    assert not list(tmp_path.iterdir())


def test_version_is_the_package_version():
    from unrolled import __version__

    assert unrolled("--version").stdout.decode().strip() == __version__


@pytest.mark.parametrize("name", ["a[/x]", "[red]r", "[link=x]:smile:", "two words; it's"])
def test_name_of_a_folder_is_not_read_as_markup(name, tmp_path):
    (tmp_path / "names.txt").write_text("Anna\nBela\nCleo\n" * 20)
    done = unrolled("train", "names.txt", "--lines", "--out", f"runs/{name}", *SMALL, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    hint = shlex.join(["unrolled", "generate", f"runs/{name}"])
    assert f"wrote runs/{name}; try:\n  {hint} " in done.stdout.decode()


@pytest.mark.parametrize("arguments", [["train", "bad\udcff.txt", "--out", "x"], ["generate", "runs/\udcff"]])
def test_name_that_is_not_utf_8_is_named(arguments, tmp_path):
    assert refusal(2, *arguments, cwd=tmp_path).startswith(f"{arguments[1]!r} is not UTF-8; rename the file")
    assert not list(tmp_path.iterdir())


MISSING = """
import sys
from unrolled.cli import run

class Missing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == missing:
            raise ModuleNotFoundError(name=missing)

sys.meta_path.insert(0, Missing())
for missing, *arguments in map(str.split, sys.argv[1:]):
    print(run(arguments))
"""


def test_missing_extra_is_named(folders):
    cases = {
        f"torch view {folders['gru']} ab": "torch",
        "starlette serve anything": "web",  # before uvicorn, for which it would be imported
        "uvicorn serve anything": "web",
        f"matplotlib view {folders['gru']} ab --picture gates": "plot",
    }
    command = [sys.executable, "-c", MISSING, *cases]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.stdout == "1\n" * len(cases)
    said = "unrolled: {} is not installed; pip install 'unrolled[{}]'\n"
    assert done.stderr == "".join(said.format(case.split()[0], extra) for case, extra in cases.items())


def test_memory_that_torch_does_not_get_is_named_by_its_size(capsys):
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    assert cli._complain(caught.value, cli.FAILED) == 1
    asked = "unrolled: out of memory: 4,000,000.0 GB were asked for at once; take a smaller model, batch"
    assert capsys.readouterr().err == f"{asked} or vocabulary\n"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("command", ["view", "explain", "score", "generate", "lab list"])
def test_console_without_a_character_shows_its_escape(command, encoding, folders):
    given = [folders["lstm"], "ab\u4e2d"] if command != "lab list" else []
    done = unrolled(*command.split(), *given, encoding=encoding)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode(encoding)
    if command == "view":
        poor = ENVIRONMENT | {"PYTHONIOENCODING": encoding}
        there = subprocess.run([*UNROLLED, command, *given], capture_output=True, env=poor, check=False)
        assert there.returncode == 0, there.stderr
        assert there.stdout.decode(encoding)


def test_lines_that_go_to_no_terminal_are_whole(lines_file, tmp_path, monkeypatch):
    monkeypatch.setitem(OURS, "COLUMNS", "40")
    done = unrolled("train", lines_file, "--lines", "--out", tmp_path / "run", *SMALL)
    (ended,) = [line for line in done.stdout.decode().splitlines() if line.startswith("ended by")]
    assert "best validation loss" in ended


def shown_in(columns, *command):
    """The lines that a command prints for a terminal of this width."""
    done = unrolled(*command, COLUMNS=str(columns))
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().split("\n")


@pytest.mark.parametrize("size", ["\u00b2", "9" * 5000, "-5", "x", "0", ""])
def test_size_of_a_terminal_that_is_no_number_is_not_obeyed(size):
    odd = ENVIRONMENT | {"COLUMNS": size, "LINES": size}  # in a process of its own, whose streams are no terminal
    done = subprocess.run([*UNROLLED, "lab", "list"], capture_output=True, env=odd, check=True)
    assert done.stdout.decode().split("\n") == shown_in(80, "lab", "list")


EVERY_HELP = ["", *COMMANDS, "lab list", "lab reproduce"]

PRINT_HELP = """
import sys
from unrolled.cli import run
for name in sys.argv[1:]:
    run([*name.split(), "--help"])
    print(end="\\f")
"""


@cache
def helps_in(columns):
    """The lines of each help for a terminal of this width, printed by one process: the parser keeps its first width."""
    narrow = ENVIRONMENT | {"COLUMNS": str(columns)}
    done = subprocess.run([sys.executable, "-c", PRINT_HELP, *EVERY_HELP], capture_output=True, env=narrow, check=True)
    return dict(zip(EVERY_HELP, [each.split("\n") for each in done.stdout.decode().split("\f")[:-1]], strict=True))


@pytest.mark.parametrize("name", EVERY_HELP)
def test_help_fits_in_80_columns_and_ends_with_its_own_examples(name):
    shown = helps_in(80)[name]
    assert max(map(len, shown)) <= 80
    assert not name or not any("Start with" in line for line in shown)
    if "Examples:" in shown:  # each on a line of its own, as it can be pasted
        assert all(line.startswith("  unrolled ") for line in shown[shown.index("Examples:") + 1 :] if line)


@pytest.mark.parametrize("name", EVERY_HELP)
def test_help_breaks_a_description_nowhere_but_at_the_edge(name):
    assert not [line for line in helps_in(1000)[name] if line.startswith("│      ")]


def test_list_of_languages_fits_in_80_columns_and_cuts_no_name():
    shown = shown_in(80, "lab", "list")
    assert max(map(len, shown)) <= 80
    names = {line.split()[0] for line in shown if line.split()}
    assert names >= {*registry.names(), *protocols.PROTOCOLS}
    assert not any("…" in line for line in shown)


def test_tables_of_results_fit_in_80_columns(folders, tmp_path):
    (tmp_path / "t.txt").write_text("ab\nba\n" * 60)
    for command in (
        ["evaluate", str(folders["gru"]), str(tmp_path / "t.txt")],
        ["lab", "anbn", "--seeds", "2", "--steps", "3"],
    ):
        shown = [line for line in shown_in(80, *command) if {*line} & {*"─│┃"}]
        assert max(map(len, shown)) <= 80
        assert not any("…" in line for line in shown)


def test_error_of_the_system_is_told_in_words_with_its_file(capsys):
    for given in ((errno.ENOSPC, "No space left on device"), (errno.ENOENT, "No such file or directory", "runs/x")):
        assert cli._complain(OSError(*given), cli.FAILED) == 1
    assert capsys.readouterr().err == "unrolled: No space left on device\nunrolled: runs/x: No such file or directory\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("command", ["score --json", "score --bits --json", "generate --json --max-length 9"])
def test_json_is_json_on_a_console_that_lacks_its_characters(command, encoding, tmp_path):
    """The escape that a console shows for what it lacks is none in JSON."""
    text = "a\xe4\u20ac\U0001f600"
    small("gru", symbols=text, framed=False).float().save_pretrained(tmp_path / "model")
    name, *options = command.split()
    poor = ENVIRONMENT | {"PYTHONIOENCODING": encoding}
    arguments = [*UNROLLED, name, str(tmp_path / "model"), text, *options]
    done = subprocess.run(arguments, capture_output=True, env=poor, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.decode(encoding))
    assert said["prompt" if name == "generate" else "text"] == text


@pytest.mark.parametrize("action", ["error", "ignore"])
def test_notes_are_said_whatever_python_makes_of_warnings(action, folders):
    """Test machines often set PYTHONWARNINGS=error, which made a traceback of each note."""
    strict = ENVIRONMENT | {"PYTHONWARNINGS": action}
    command = [*UNROLLED, "score", str(folders["gru"]), "zzz"]
    done = subprocess.run(command, capture_output=True, env=strict, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("unrolled: note: the model does not know")


INTERRUPTED = """
import sys

class Interrupt:
    def find_spec(self, name, *_):
        if name == "cyclopts":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
from unrolled.__main__ import main
main()
"""


def test_interrupt_before_the_command_begins_is_one_sentence():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, env=ENVIRONMENT)
    assert (done.returncode, done.stderr) == (1, "unrolled: interrupted\n")


def test_commands_work_in_a_folder_whose_name_is_not_utf_8(tmp_path):
    """What was trained there could not be saved, and the message was that of a codec."""
    folder = tmp_path / "b\udce9"
    folder.mkdir()
    (folder / "a.txt").write_text("so long lives this\n" * 40)
    done = unrolled("train", "a.txt", "--out", "r", *SMALL, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "is not UTF-8, so the run records only the names in it; resume it from here" in done.stderr.decode()
    for command in (["train", "--resume", "--out", "r", "--max-steps", "14"], ["evaluate", "r"]):
        assert unrolled(*command, cwd=folder).returncode == 0
    assert unrolled("prepare", "a.txt", "--out", "p", cwd=folder).returncode == 0


def test_width_beyond_every_screen_is_that_of_a_thousand_columns():
    """The help of a command was 90 MB of spaces."""

    def shown(columns):  # in a process of its own, for one that has begun keeps its width
        wide = ENVIRONMENT | {"COLUMNS": str(columns)}
        done = subprocess.run([*UNROLLED, "train", "--help"], capture_output=True, env=wide, check=True)
        return done.stdout.decode().split("\n")

    assert shown(999_999) == shown(1000)
    assert max(map(len, shown(1000))) == 1000
