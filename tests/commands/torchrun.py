"""Commands in several processes, as torchrun starts them."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.commands.command_line import ENVIRONMENT, UNROLLED

ROOT = Path(__file__).parents[2]
LOCAL = "127.0.0.1"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]


def free_port():
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(*arguments, processes=2, options=("--standalone",), module="unrolled", prefix=()):
    """Start a module in several processes by torchrun; standard output and error are pipes."""
    return _started([*prefix, *TORCHRUN, *options, f"--nproc-per-node={processes}", "-m", module, *arguments])


def start_ranks(*each, prefixes=((), ()), address=LOCAL, port=None):
    """Start a process with these arguments for each rank, as torchrun would, without the seconds that it takes itself.

    Args: each: the arguments of each rank; prefixes: words before each command; address: of the first one, where each
        is on another machine.
    """
    port, started, here = port or free_port(), [], address == LOCAL
    for rank, (arguments, prefix) in enumerate(zip(each, prefixes, strict=True)):
        place = {"RANK": rank, "WORLD_SIZE": len(each), "MASTER_ADDR": address, "MASTER_PORT": port}
        place |= {"LOCAL_RANK": rank if here else 0, "LOCAL_WORLD_SIZE": len(each) if here else 1}
        started.append(_started([*prefix, *UNROLLED, *arguments], place))
    return started


def _started(command, environment=()):
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT), ENVIRONMENT.get("PYTHONPATH", "")])
    environment = {name: str(value) for name, value in dict(environment).items()}
    return subprocess.Popen(
        [*map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**ENVIRONMENT, "PYTHONPATH": paths, **environment},
        start_new_session=True,
    )


def ended(process, timeout=120):
    """Return exit code, standard output, and what this package has written to standard error: torchrun writes more."""
    try:
        out, error = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, out, [line for line in error.splitlines() if line.startswith("unrolled: ")], error


def together(*arguments, **options):
    """Run a module in several processes to its end."""
    return ended(start(*arguments, **options))


def workers(process, count, timeout=60):
    """Return the process ids of the ranks that a torchrun has started, in their order."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        found = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal() and (rank := _rank(folder, process.pid)) is not None:
                found[rank] = int(folder.name)
        if len(found) == count:
            return [found[rank] for rank in sorted(found)]
        time.sleep(0.05)
    raise TimeoutError(f"{count} workers of process {process.pid} did not come")


def _rank(folder, parent):
    """Return the rank of a process, if it is a worker of this torchrun."""
    try:
        if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) != parent:
            return None
        words = dict(word.partition("=")[::2] for word in (folder / "environ").read_text().split("\0"))
        return int(words["RANK"])
    except (OSError, KeyError):
        return None
