"""The command line: registers the commands and reports their errors.  `--help` imports neither torch nor numpy.

Exit codes: 0 done, 1 the run failed, 2 wrong use.  An error is one sentence on standard error.
"""

from __future__ import annotations

import keyword
import logging
import os
import re
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from io import TextIOWrapper
from typing import Any, TextIO, cast

from cyclopts import App, CycloptsError, Parameter

from unrolled import __version__
from unrolled.commands import WrongUse
from unrolled.commands.arguments import WrappedHelp, check_numbers, plainly
from unrolled.commands.console import StandardOutput, printable
from unrolled.config.launch import speaks_for_all, speaks_for_its_machine
from unrolled.config.options import named_as_flags
from unrolled.extras import remedy
from unrolled.words import sized

FAILED, WRONG_USE = 1, 2
#: Columns from which a width is obeyed, and up to which.
NARROW, WIDE = 20, 1000

app = App(
    name="unrolled",
    version=__version__,
    help="Train an RNN, LSTM or GRU on symbol sequences, measure it, and generate new sequences.",
    help_epilogue="Start with: unrolled demo",
    help_format="plaintext",
    default_parameter=Parameter(negative_iterable=""),
    config=check_numbers,
    help_formatter=WrappedHelp(),
)
#: In the order of the help; where a name is a word of Python, an underscore follows it in that of its file.
for name in (
    *("train", "sweep", "prepare", "evaluate", "generate", "score", "view", "picture", "explain", "serve"),
    *("export", "import", "lab", "info", "demo"),
):
    app.command(f"unrolled.commands.{name}{'_' * keyword.iskeyword(name)}:app", name=name)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; the entry point of `unrolled`."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code.

    >>> run(["--version"])
    0.1.0
    0
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a console that lacks a character shows its escape, and goes on
            stream.reconfigure(errors="backslashreplace")
    _widen()
    output = StandardOutput(sys.stdout)
    with named_as_flags(), warnings.catch_warnings(), redirect_stdout(cast(TextIO, output)):
        warnings.showwarning = _note
        logging.getLogger("matplotlib").setLevel(logging.ERROR)  # which tells of the folders that it would rather have
        warnings.filterwarnings("default", category=UserWarning)  # notes, whatever PYTHONWARNINGS makes of warnings
        try:
            code = _run(arguments)
        except KeyboardInterrupt:
            code = _complain("interrupted", FAILED)
        try:
            output.flush()
        except Exception as error:  # of what is still held back; one that the command met itself is told already
            output.abandon()
            if not isinstance(error, BrokenPipeError):
                code = code or _complain(error, FAILED)
        return code


def _widen() -> None:
    """Forget a size that is no number, or in which no table has room for its words; of a terminal, too."""
    for name, least in (("COLUMNS", NARROW), ("LINES", 1)):
        size = os.environ.get(name, "")
        if not re.fullmatch("[0-9]{1,6}", size) or int(size) < least:
            os.environ.pop(name, None)
        elif int(size) > WIDE:
            os.environ[name] = str(WIDE)
    if 0 < next(filter(None, map(_columns, range(3))), 0) < NARROW:
        os.environ.setdefault("COLUMNS", str(NARROW))


def _columns(stream: int) -> int:
    """Return the width of the terminal that a standard stream is; 0 if it is none, or does not know."""
    try:
        return os.get_terminal_size(stream).columns
    except OSError:
        return 0


def _run(arguments: Sequence[str]) -> int:
    try:
        _refuse_undecoded(arguments)
        if not {*arguments[:1]} - {*app.help_flags}:
            app.resolved_commands()  # so that the list shows the help of each
        command, bound, _ = app.parse_args(_standard_input_last(arguments), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return _complain_once(plainly(error, arguments), WRONG_USE)
    except ValueError as error:
        return _complain_once(error, WRONG_USE)
    except Exception as error:  # of a file that options come from
        if not _is_plain(error):
            raise
        return _complain_once(error, FAILED)
    try:
        command(*bound.args, **bound.kwargs)
    except ModuleNotFoundError as error:
        said = remedy(error.name)
        if said is None:
            raise
        return _complain(said, FAILED)
    except WrongUse as error:
        return _complain(error, WRONG_USE)
    except BrokenPipeError:  # the reader of the output has closed it
        return 0
    except Exception as error:
        if not _is_plain(error):
            raise
        return _complain(error, FAILED)
    return 0


def _refuse_undecoded(arguments: Sequence[str]) -> None:
    """Refuse an argument that is not UTF-8: Python passes its bytes on as surrogates."""
    for argument in arguments:
        if any("\ud800" <= character <= "\udfff" for character in argument):
            raise ValueError(f"{argument!r} is not UTF-8; rename the file, or give the text as a file")


def _standard_input_last(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with a lone - after a --, for the parser takes it for an option elsewhere.

    One that follows an option which takes a value is that value.

    >>> _standard_input_last(["train", "-", "--out", "runs/x"])
    ['train', '--out', 'runs/x', '--', '-']
    >>> _standard_input_last(["train", "--lines", "-", "--separator", "-"])
    ['train', '--lines', '--separator=-', '--', '-']
    """
    if "-" not in arguments or "--" in arguments:
        return list(arguments)
    valued, kept, read = _options_with_values(arguments), list[str](), False
    for each in arguments:
        if each != "-":
            kept.append(each)
        elif kept and kept[-1] in valued:
            kept[-1] += "=-"
        else:
            read = True
    return kept + ["--", "-"] * read


def _options_with_values(arguments: Sequence[str]) -> set[str]:
    """Return the names of the options of the command that is called which are no flags."""
    _, commands, _ = app.parse_commands([*arguments])
    found = commands[-1].assemble_argument_collection()
    return {name for each in found if each.hint is not bool for name in each.names if name.startswith("-")}


def _note(message: Warning | str, *_: Any, **__: Any) -> None:
    """Print a warning on one line, in the first of several processes."""
    if speaks_for_all():
        _say(f"note: {message}")


def _say(text: str) -> None:
    """Print one line on standard error; what cannot be printed there ends nothing."""
    with suppress(OSError, AttributeError):  # a process without one has None there
        print("unrolled:", *printable(text, sys.stderr).split(), file=sys.stderr)


def _complain_once(error: Exception | str, code: int) -> int:
    """Print an error that all processes of a machine have, in the first of them; return the exit code."""
    return _complain(error, code) if speaks_for_its_machine() else code


def _complain(error: Exception | str, code: int) -> int:
    """Print an error on one line; return the exit code."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:  # without the number that Python puts before the words
        text = ": ".join(str(part) for part in (error.filename, error.strerror) if part)
    refused = re.search(r"DefaultCPUAllocator: .* you tried to allocate (\d+) bytes", text)
    if refused or not text:  # torch's allocator says where in its source; a MemoryError of Python says nothing
        asked = f": {sized(int(refused[1]))} were asked for at once" if refused else ""
        text = f"out of memory{asked}; take a smaller model, batch or vocabulary"
    _say(": ".join([*getattr(error, "__notes__", []), text]))  # the name of a process, of several
    return code


def _is_plain(error: Exception) -> bool:
    """Return whether an error's message is meant for the user: our own, or one of the values and files given."""
    return isinstance(error, (ValueError, RuntimeError, OSError, MemoryError)) or type(error).__module__.startswith(
        "unrolled."
    )


if __name__ == "__main__":
    main()
