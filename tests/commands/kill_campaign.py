"""Kill `unrolled train` at every operation on files, resume it, and compare the end with an uninterrupted run.

python -m tests.commands.kill_campaign [--kills 2000] [--run stream] [--seed 0]

Processes are forked with torch loaded and killed for good, by SIGKILL from kill_at.c, before an operation or halfway
through a write.  After each kill the model in the folder, if there is one, must generate; then the command that a user
types must be accepted: `train --resume`, or the same `train` again where there is no run yet.  At the end weights,
state and metrics must have the bytes of the uninterrupted run; only the times in them differ.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
SIZE = ["--hidden-size", "5"]
COMMON = ["--max-epochs", "0", "--max-steps", "12", "--log-every", "1", "--test", "0"]

#: Name: the data, and the options of a run that saves often.
RUNS = {
    "stream": (
        "".join(f"line {n % 7} of a text that is read as one stream\n" for n in range(60)),
        [*SIZE, "--cell", "gru", "--embedding-size", "3", "--dropout", "0.2", "--batch-size", "4", "--bptt", "16",
         "--checkpoint-every", "3", "--validate-every", "5", "--validation", "0.2"],
    ),
    "sequences": (
        "".join("a " * n + "b " * n + "\n" for n in range(1, 13)),
        [*SIZE, "--lines", "--kind", "symbols", "--optimiser", "sgd", "--learning-rate", "0.5", "--schedule", "plateau",
         "--plateau-patience", "1", "--accumulate", "2", "--batch-size", "3", "--learned-initial-state",
         "--checkpoint-every", "4", "--validate-every", "2", "--validation", "0.3"],
    ),
    "started": (
        "".join("a " * n + "c " * n + "\n" for n in range(1, 13)),
        ["--batch-size", "3", "--checkpoint-every", "4", "--validate-every", "2", "--validation", "0.3"],
    ),
}  # fmt: skip
#: Of the run that starts from a model: the data of that model, and its options.
BEFORE = ("a b\na a b b\n" * 6, ["--hidden-size", "4", "--lines", "--kind", "symbols", "--validation", "0"])
TIMES = {"seconds", "symbols_per_second", "logged_seconds"}


@dataclass
class Campaign:
    """The kills of one configuration, and what went wrong after them."""

    name: str
    scratch: Path
    shim: ctypes.CDLL
    kills: int = 0
    faults: list[str] = field(default_factory=list)

    def __post_init__(self):
        text, options = RUNS[self.name]
        data = self.scratch / "data.txt"
        data.write_text(text)
        self.out = self.scratch / "run"
        self.train = ["train", str(data), "--out", str(self.out), *COMMON, *options]
        if self.name == "started":
            self.train += ["--from", str(self.model_before())]
        self.resume = ["train", "--resume", "--out", str(self.out)]
        self.warm_up()
        assert self.command(self.train) == 0, self.output()
        self.expected = end(self.out)
        self.operations = int((self.scratch / "operations").read_text())

    def model_before(self):
        """Train the model that the run starts from."""
        from unrolled.cli import run

        text, options = BEFORE
        data, model = self.scratch / "before.txt", self.scratch / "before"
        data.write_text(text)
        with contextlib.redirect_stdout(io.StringIO()):
            assert run(["train", str(data), "--out", str(model), *COMMON, *options]) == 0
        return model

    def warm_up(self):
        """Run the commands once in this process, so that a fork finds loaded what they import."""
        from unrolled.cli import run

        with contextlib.redirect_stdout(io.StringIO()):
            assert run(self.train) == 0
            assert run(["generate", str(self.out), "--max-length", "3"]) == 0
        shutil.rmtree(self.out)

    def command(self, arguments, kill_at=-1, halfway=False):
        """Run a command in a process of its own, which is killed at an operation; return its exit code."""
        child = os.fork()
        if child == 0:
            self.run_here(arguments, kill_at, halfway)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def run_here(self, arguments, kill_at, halfway):
        from unrolled.cli import run

        code = 1
        try:
            with (self.scratch / "output").open("w") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                self.shim.arm(os.fsencode(self.out), ctypes.c_long(kill_at), int(halfway))
                code = run(arguments)
                sys.stdout.flush()
            (self.scratch / "operations").write_text(str(self.shim.operations()))
        finally:
            os._exit(code)

    def output(self):
        return (self.scratch / "output").read_text()

    def kill(self, *moments):
        """Kill the run at a moment, what resumes it at the next, and so on; then let it end, and compare."""
        shutil.rmtree(self.out, ignore_errors=True)
        arguments = self.train
        for at, halfway in moments:
            code = self.command(arguments, at, halfway)
            if code == -signal.SIGKILL:
                self.kills += 1
            elif code:
                self.fault(moments, f"{arguments[1]} refused: {self.output()}")
            self.check_model(moments)
            arguments = self.resume if (self.out / "checkpoints" / "latest").exists() else self.train
        if self.command(arguments):
            self.fault(moments, f"{' '.join(arguments[:2])} refused: {self.output()}")
        elif wrong := differences(end(self.out), self.expected):
            self.fault(moments, "; ".join(wrong))

    def check_model(self, moments):
        """Generate, if a first save has ended."""
        if (self.out / "config.json").exists() and self.command(["generate", str(self.out), "--max-length", "3"]):
            self.fault(moments, f"no whole model: {self.output()}")

    def fault(self, moments, what):
        self.faults.append(f"{self.name}, killed at {moments}: {what.strip()}")


def end(folder):
    """Return all that the folder of a run holds, without the times in it."""
    latest = json.loads((folder / "checkpoints" / "latest").read_text())["checkpoint"]
    state = json.loads((folder / "checkpoints" / latest / "training.json").read_text())["state"]
    state.pop("metrics", None)  # its bytes, in which the times count
    found = {path.name: path.read_bytes() for path in folder.glob("*") if path.is_file()}
    found["metrics.jsonl"] = [untimed(json.loads(line)) for line in found["metrics.jsonl"].splitlines()]
    found["weights and optimiser"] = (folder / "checkpoints" / latest / "training.safetensors").read_bytes()
    found["state"] = {key: untimed(value) if key == "clock" else value for key, value in state.items()}
    found["checkpoints"] = len(list((folder / "checkpoints").iterdir()))
    return found


def untimed(values):
    return {key: value for key, value in values.items() if key not in TIMES}


def differences(found, expected):
    return [f"{name} differs" for name in sorted(found.keys() | expected) if found.get(name) != expected.get(name)]


def moments(operations, kills, seed):
    """Yield moments: `kills` of the operations, before each and halfway, then without end two in a row at random."""
    once = [[(at, halfway)] for at in range(operations) for halfway in (False, True)]
    if kills < len(once):
        step = len(once) / kills
        once = [once[int(k * step)] for k in range(kills)]
    yield from once
    draw = random.Random(seed)
    while True:
        yield [(draw.randrange(operations), draw.random() < 0.5), (draw.randrange(operations), draw.random() < 0.5)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--run", choices=RUNS, action="append")
    parser.add_argument("--seed", type=int, default=0, help="of the moments at random")
    chosen = parser.parse_args()
    names = chosen.run or list(RUNS)
    fast = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # no disk is needed to be killed
    with tempfile.TemporaryDirectory(dir=fast) as scratch:
        shim = Path(scratch) / "kill_at.so"
        if "KILL_AT" not in os.environ:
            subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", shim, HERE / "kill_at.c", "-ldl"], check=True)
            environment = os.environ | {
                "LD_PRELOAD": str(shim), "KILL_AT": str(shim), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
            }  # fmt: skip
            command = [sys.executable, "-m", "tests.commands.kill_campaign", *sys.argv[1:]]
            sys.exit(subprocess.run(command, env=environment).returncode)
        sys.exit(campaign(names, chosen.kills, chosen.seed, Path(scratch)))


def campaign(names, kills, seed, scratch):
    import torch

    torch.set_num_threads(1)
    shim, faults = ctypes.CDLL(os.environ["KILL_AT"]), []
    for name in names:
        (scratch / name).mkdir()
        began, one = time.monotonic(), Campaign(name, scratch / name, shim)
        for done, each in enumerate(moments(one.operations, kills // len(names), seed), 1):
            one.kill(*each)
            if one.kills >= kills // len(names):
                break
            if done % 100 == 0:
                print(f"{name}: {one.kills:,} kills, {len(one.faults)} faults so far", file=sys.stderr, flush=True)
        faults += one.faults
        took = time.monotonic() - began
        found = f"{one.operations} operations, {one.kills:,} kills, {len(one.faults)} faults"
        print(f"{name}: {found}, {took:.0f} s", flush=True)
    for fault in faults:
        print(" ".join(fault.split()))
    return bool(faults)


if __name__ == "__main__":
    main()
