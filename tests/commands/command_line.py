"""The command line as a user meets it: arguments, standard input and a folder in; an exit code and bytes out.

Commands run in this process, which has torch loaded already; what only a process has (signals, limits, what is
imported) is tested in one of its own.
"""

import io
import logging
import os
import subprocess
import sys
import warnings
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from unittest import mock

import torch

from unrolled.cli import run

UNROLLED = [sys.executable, "-m", "unrolled"]
BRIEF = ["--cell", "gru", "--hidden-size", "8", "--batch-size", "4", "--max-steps", "12"]
SMALL = [*BRIEF[:6], "--bptt", "16", *BRIEF[6:]]  # for a stream
OURS = {"OMP_NUM_THREADS": "1", "COLUMNS": "120", "NO_COLOR": "1"}
ENVIRONMENT = os.environ | OURS


def in_own_process(*arguments, stdin=None, cwd=None, before=None):
    """Run a command in a process of its own, in which `before` is called first."""
    command = [*UNROLLED, *map(str, arguments)]
    return subprocess.run(
        command, input=stdin, capture_output=True, cwd=cwd, env=ENVIRONMENT, preexec_fn=before, check=False
    )


def unrolled(*arguments, stdin=None, cwd=None, before=None, encoding="utf-8", onto=None, **environment):
    """Run a command, with more in its environment; in a process of its own if something is to be done `before`.

    What it prints and its errors go onto a stream, if one is given.
    """
    arguments = [*map(str, arguments)]
    if before:
        return in_own_process(*arguments, stdin=stdin, cwd=cwd, before=before)
    given, out, error = (io.TextIOWrapper(io.BytesIO(data), encoding) for data in (stdin or b"", b"", b""))
    surroundings = _as_a_fresh_process(cwd, OURS | environment)
    with surroundings, mock.patch("sys.stdin", given), redirect_stdout(onto or out), redirect_stderr(onto or error):
        code = run(arguments)
        out.flush()
        error.flush()
    return subprocess.CompletedProcess(arguments, code, out.buffer.getvalue(), error.buffer.getvalue())


@contextmanager
def _as_a_fresh_process(cwd, environment):
    """Give a command the surroundings of a new process, and restore what it leaves changed."""
    folder, threads, root = os.getcwd(), torch.get_num_threads(), logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    handlers_of_others = mock.patch.object(
        logging, "_handlerList", []
    )  # uvicorn closes all, and absl's closes a stream
    with (
        warnings.catch_warnings(),
        mock.patch.dict(os.environ, environment),
        torch.random.fork_rng(devices=[]),
        handlers_of_others,
    ):
        warnings.resetwarnings()  # pytest makes errors of them
        for unseen in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", unseen)
        os.chdir(cwd or folder)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            os.chdir(folder)
            torch.set_num_threads(threads)
            root.setLevel(level)
            root.handlers[:] = handlers


def contents(folder):
    """Every file below a folder and what is in it."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(code, *arguments, stdin=None, cwd=None, before=None):
    """Run a command that must fail with this exit code; return its one sentence."""
    done = unrolled(*arguments, stdin=stdin, cwd=cwd, before=before)
    error = done.stderr.decode()
    assert done.returncode == code, (done.returncode, error)
    lines = [line for line in error.splitlines() if not line.startswith("unrolled: note:")]
    assert len(lines) == 1, error
    assert lines[0].startswith("unrolled: ")
    assert "Traceback" not in error
    return lines[0].removeprefix("unrolled: ")
