"""The command line in a process of its own, as a user meets it."""

import os
import subprocess
import sys

UNROLLED = [sys.executable, "-m", "unrolled.cli"]
SMALL = ["--cell", "gru", "--hidden-size", "8", "--batch-size", "4", "--bptt", "16", "--max-steps", "12"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "120", "NO_COLOR": "1"}


def unrolled(*arguments, stdin=None, cwd=None, before=None):
    """Run a command; `before` is called in its process before it starts."""
    command = [*UNROLLED, *map(str, arguments)]
    return subprocess.run(
        command, input=stdin, capture_output=True, cwd=cwd, env=ENVIRONMENT, preexec_fn=before, check=False
    )


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
