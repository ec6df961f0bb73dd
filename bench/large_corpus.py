"""A text larger than memory: encoding it, the start of training on it, and its training beside a text in memory.

    python bench/large_corpus.py                     10 GB: some minutes, and 30 GB of disk, which it frees
    python bench/large_corpus.py --gigabytes 1 --folder FOLDER
    python bench/large_corpus.py --stop-after 120    kills the encoding after 120 s; the same command goes on
    python bench/large_corpus.py --quick             seconds; the numbers mean nothing

Encoding and training are the commands `unrolled prepare` and `unrolled train`, with the peak of memory of each process.
The start is that of a training run in Python, from after its imports to the end of its first step.  A run that reads
the folder and one that has a text in memory take turns, so that only one of them computes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import Report, interleave, parser
from parallel import PAUSE, Side, Turns

from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.corpus.corpus import Corpus
from unrolled.lm.callbacks import Callback
from unrolled.lm.model import SequenceModel
from unrolled.lm.training import train
from unrolled.words import counted

GB, MB = 10**9, 10**6
#: Bytes of text that are made once and then repeated, each time under another title, and of the text in memory.
PIECE, IN_MEMORY = 64 * MB, 256 * MB
WORDS, LONGEST = 20_000, 12
#: What is asked for: bytes of memory, s, MB/s a core, and times the speed from memory.
GOALS = {"peak": 1e9, "start": 2.0, "rate": 50.0, "ratio": 0.98}
#: The run whose steps are measured.
B, T, H, STEPS = 64, 64, 256, 20


def piece(size: int) -> bytes:
    """Return text of about this many bytes: words that are as frequent as those of a language, in lines."""
    rng = np.random.default_rng(0)
    letters = np.frombuffer(b"etaoinshrdlucmfwypvbgkjqxz", np.uint8)
    likely = 1 / np.arange(1, len(letters) + 1)
    words = [bytes(rng.choice(letters, length, p=likely / likely.sum())) for length in rng.integers(1, LONGEST, WORDS)]
    ranks = np.minimum(rng.zipf(1.2, size // 5), WORDS) - 1
    lines = np.split(ranks, np.arange(11, len(ranks), 11))
    return b"\n".join(b" ".join(words[k] for k in line) for line in lines)[:size]


def text_of(size: int, file: Path) -> Path:
    """Return a text of this many bytes, made unless it is there: by another process, whose memory is not counted."""
    if not file.exists() or file.stat().st_size != size:
        subprocess.run([sys.executable, __file__, "--write", str(file), str(size)], check=True)
    return file


def write_text(file: Path, size: int) -> None:
    """Write a text of this many bytes."""
    text, left, number = piece(min(PIECE, size)), size, 0
    with file.open("wb") as stream:
        while left:
            number += 1
            left -= stream.write((b"\n\nBOOK %d\n\n" % number + text)[:left])


def measured(command: list[str], log: Path, stop_after: float | None = None) -> dict[str, Any]:
    """Run `unrolled`; return its seconds, the largest peak of memory of its processes, and whether it was killed."""
    began = time.perf_counter()
    with log.open("a") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "unrolled", *command], stdout=said, stderr=said, process_group=0
        )
        killed = False
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if stop_after and time.perf_counter() - began > stop_after and not killed:
                os.killpg(process.pid, 9)
                killed = True
            time.sleep(0.05)
    if status and not killed:
        raise SystemExit(log.read_text())
    return {"seconds": time.perf_counter() - began, "peak": usage.ru_maxrss * 1024, "killed": killed}


def encode(text: Path, folder: Path, log: Path, processes: int, stop_after: float | None) -> dict[str, Any]:
    """Encode a text, and go on where an earlier call was killed; return what all calls have cost."""
    kept = folder.with_suffix(".encoding.json")
    calls = json.loads(kept.read_text()) if kept.exists() else []
    if not calls or calls[-1]["killed"]:
        command = ["prepare", str(text), "--out", str(folder), "--processes", str(processes)]
        calls.append(measured(command, log, stop_after))
        kept.write_text(json.dumps(calls))
    if calls[-1]["killed"]:
        raise SystemExit("killed, as was asked; the same command goes on from there")
    seconds, size = sum(call["seconds"] for call in calls), text.stat().st_size
    return {
        "name": f"encoding {size / GB:g} GB, {counted(processes, 'process')}",
        "seconds": seconds,
        "rate": size / MB / seconds,
        "peak": max(call["peak"] for call in calls),
        "killed": len(calls) - 1,
    }


def first_steps(folder: Path, scratch: Path, log: Path) -> dict[str, Any]:
    """Train by the command, and in a process that says when its first step is done."""
    shutil.rmtree(scratch / "run", ignore_errors=True)
    sizes = ["--hidden-size", str(H), "--batch-size", str(B), "--bptt", str(T), "--max-steps", str(STEPS)]
    found = measured(["train", str(folder), "--out", str(scratch / "run"), *sizes], log)
    inner = [sys.executable, __file__, "--start", str(folder)]
    start = float(subprocess.run(inner, check=True, capture_output=True, text=True).stdout)
    return {"name": f"training, {STEPS} steps", "seconds": found["seconds"], "peak": found["peak"], "start": start}


def beside_memory(folder: Path, text: Path, scratch: Path, seconds: float) -> dict[str, Any]:
    """Return the steps that a run on the folder takes for one on the beginning of the text, in memory."""
    beginning = scratch / "beginning.txt"
    with text.open("rb") as stream:
        beginning.write_bytes(stream.read(IN_MEMORY))
    sides = {
        name: Side(1, 2, [sys.executable, __file__, "--work", str(path)])
        for name, path in (("memory", beginning), ("prepared", folder))
    }
    try:
        times = interleave(sides, seconds, PAUSE)
    finally:
        for side in sides.values():
            side.close()
    return {
        "name": "training beside memory",
        "tokens": {name: 1e3 * B * T / times.ms(name) for name in sides},
        "ratio": times.ratio("memory", "prepared"),
        "quartiles": times.quartiles("memory", "prepared"),
        "rounds": times.rounds,
    }


def train_on(data: str, callback: Callback, steps: int = 2**31 - 1) -> None:
    """Train on data, whichever it is; the callback hears of each step."""
    corpus = Corpus.read(data)
    torch.manual_seed(0)
    model = SequenceModel(ModelConfig(hidden_size=H, embedding_size=H), corpus.vocabulary, framed=False)
    never = {"validate_every": 2**31 - 1, "checkpoint_every": 2**31 - 1, "max_epochs": 0}
    config = TrainingConfig(batch_size=B, bptt=T, log_every=1, max_steps=steps, **never)
    train(model, corpus, config, callbacks=[callback])


class FirstStep(Callback):
    """Prints the seconds from when it is made to the end of the first step."""

    def __init__(self) -> None:
        self.made = time.perf_counter()

    def on_log(self, run: Any, line: dict[str, Any]) -> None:
        print(time.perf_counter() - self.made)


def line(row: dict[str, Any]) -> str:
    """Return a row for the terminal."""
    said = {
        "seconds": "{:.1f} s", "rate": "{:.0f} MB/s", "peak": "peak {:,.0f} bytes",
        "killed": "killed {} times", "start": "first step after {:.2f} s", "ratio": "{:.3f}x the speed from memory",
    }  # fmt: skip
    return f"{row['name']:30} " + ", ".join(words.format(row[key]) for key, words in said.items() if key in row)


def main() -> int:
    """Run all rows; returns the exit code."""
    if sys.argv[1:2] == ["--start"]:
        train_on(sys.argv[2], FirstStep(), 1)
        return 0
    if sys.argv[1:2] == ["--write"]:
        write_text(Path(sys.argv[2]), int(sys.argv[3]))
        return 0
    if sys.argv[1:2] == ["--work"]:
        train_on(sys.argv[2], Turns())
        return 0
    options = parser(__doc__, seconds=20)
    options.add_argument("--gigabytes", type=float, default=10.0)
    options.add_argument("--folder", type=Path, help="where the text and the corpus lie; a temporary one by default")
    options.add_argument("--stop-after", type=float, help="kill the encoding after so many seconds")
    arguments = options.parse_args()
    size = 4 * MB if arguments.quick else int(arguments.gigabytes * GB)
    report = Report("large_corpus", arguments)
    scratch = arguments.folder or Path(tempfile.mkdtemp())
    scratch.mkdir(parents=True, exist_ok=True)
    text, folder, log = text_of(size, scratch / "text.txt"), scratch / "corpus", scratch / "log"
    for processes, part, name in ((1, min(size, GB), "one"), (arguments.threads, size, "corpus")):
        beginning = text if part == size else text_of(part, scratch / "part.txt")
        report.add(lambda p=processes, b=beginning, n=name: encode(b, scratch / n, log, p, arguments.stop_after), line)  # type: ignore[misc]
    report.add(lambda: first_steps(folder, scratch, log), line)
    report.add(lambda: beside_memory(folder, text, scratch, 1.0 if arguments.quick else arguments.seconds), line)
    shutil.rmtree(scratch)
    return report.finish(goals=GOALS)


if __name__ == "__main__":
    raise SystemExit(main())
