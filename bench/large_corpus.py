"""A text larger than memory: encoding it, the start of training on it, and its training beside a text in memory.

    python bench/large_corpus.py                     10 GB: some minutes, and 30 GB of disk, which it frees
    python bench/large_corpus.py --folder FOLDER     the same command, interrupted, goes on with the next row
    python bench/large_corpus.py --quick             seconds; the numbers mean nothing

Encoding and training are the commands `unrolled prepare` and `unrolled train`, with the peak of memory of each process,
mapped files included.  The encoding of the whole text is killed half-way, and the same command, given again, goes on;
then every id is compared with the text.  The start is that of a training run in Python, from after its imports to the
end of its first step.  A run that reads the folder and one that has a text in memory take turns, so that only one of
them computes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import DiffersError, Report, interleave, parser
from parallel import PAUSE, Side, Turns

from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.prepared import is_prepared
from unrolled.corpus.splitting import blocks
from unrolled.lm.callbacks import Callback
from unrolled.lm.model import SequenceModel
from unrolled.lm.training import train
from unrolled.words import counted

GB, MB = 10**9, 10**6
#: Bytes of text that are made once and then repeated, each time under another title, and of the text in memory.
PIECE, IN_MEMORY = 64 * MB, 256 * MB
WORDS, LONGEST = 20_000, 12
#: Small files, and the bytes of each.
FILES, FILE = 100_000, 700
#: Aims: bytes of memory, s, MB/s a core, and times the speed from memory.
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


def inner(*words: object) -> str:
    """Run a part of this bench, one of INNER, in a process of its own; return what it prints.

    Otherwise the memory of this process would count as that of the commands that it starts.
    """
    command = [sys.executable, __file__, *map(str, words)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    os.sync()  # what it has written would go to the disk while the next is measured
    return said


def text_of(size: int, file: Path) -> Path:
    """Return a text of this many bytes, written if it is not there yet."""
    if not file.exists() or file.stat().st_size != size:
        inner("--write", file, size)
    return file


def write_text(file: str, size: str) -> None:
    """Write a text of this many bytes."""
    left, number = int(size), 0
    text = piece(min(PIECE, left))
    with Path(file).open("wb") as stream:
        while left:
            number += 1
            left -= stream.write((b"\n\nBOOK %d\n\n" % number + text)[:left])


def measured(command: list[str], log: Path, stop: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Run `unrolled`, and kill it when told to; return its seconds and the largest peak of memory of its processes."""
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
            if not killed and stop():
                os.killpg(process.pid, 9)
                killed = True
            time.sleep(0.05)
    if status and not killed:
        raise SystemExit(log.read_text())
    return {"seconds": time.perf_counter() - began, "peak": usage.ru_maxrss * 1024}


def once(file: Path, row: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return a row from its file if an earlier call has measured it, else measure it."""
    if not file.exists():
        file.write_text(json.dumps(row()))
    return json.loads(file.read_text())  # type: ignore[no-any-return]


def encode(text: Path, folder: Path, log: Path, processes: int, kind: str = "characters") -> dict[str, Any]:
    """Encode a text; return what that costs."""
    found = measured(encoding(text, folder, processes, "--kind", kind), log)
    size = text.stat().st_size
    name = f"encoding {size / GB:g} GB of {kind}, {counted(processes, 'process')}"
    return {"name": name, **found, "rate": size / MB / found["seconds"]}


def encode_again(text: Path, folder: Path, log: Path, processes: int) -> dict[str, Any]:
    """Encode a text, killed half-way and begun again; return what both calls cost, once every id is right."""
    command = encoding(text, folder, processes)
    calls = [measured(command, log, lambda: done(folder) >= 0.5)]
    if is_prepared(folder):
        raise SystemExit("the encoding ended before it was killed; take more gigabytes")
    reached = done(folder)
    calls.append(measured(command, log))
    if wrong := inner("--compare", text, folder).strip():
        raise DiffersError(wrong)
    seconds, size = sum(call["seconds"] for call in calls), text.stat().st_size
    return {
        "name": f"encoding {size / GB:g} GB, {counted(processes, 'process')}, killed at {reached:.0%} and gone on with",
        "seconds": seconds,
        "rate": size / MB / seconds,
        "peak": max(call["peak"] for call in calls),
    }


def encoding(text: Path, folder: Path, processes: int, *options: str) -> list[str]:
    """Return the command that encodes a text into a folder."""
    return ["prepare", str(text), "--out", str(folder), "--processes", str(processes), *options]


def done(folder: Path) -> float:
    """Return the share of the stretches of a text that are encoded."""
    plan = folder / "unfinished" / "plan.json"
    if not plan.exists():
        return 0.0
    return len([*plan.parent.glob("0*.json")]) / len(json.loads(plan.read_text())["stretches"])


def compare(text: str, folder: str) -> None:
    """Compare every id with the byte of the text that it stands for; print the names of splits where one differs."""
    corpus = Corpus.read(folder)
    symbols = corpus.vocabulary.symbols
    id_of = np.full(256, corpus.vocabulary.unk_id, np.uint8)
    id_of[[*map(ord, symbols)]] = range(len(symbols))
    with Path(text).open("rb") as stream:
        for name, part in corpus.splits.items():
            if not all(
                np.array_equal(id_of[np.frombuffer(stream.read(len(ids)), np.uint8)], ids) for ids in blocks(part.ids)
            ):
                print(name)


def encode_files(scratch: Path, files: int, log: Path, processes: int) -> dict[str, Any]:
    """Encode many small files; return what that costs."""
    inner("--write-files", scratch / "files", files)
    found = measured(encoding(scratch / "files", scratch / "of_files", processes), log)
    return {"name": f"encoding {files:,} files of {FILE} bytes, {counted(processes, 'process')}", **found}


def write_files(folder: str, files: str) -> None:
    """Write this many small files."""
    text = piece(int(files) * FILE)
    for k in range(int(files)):
        file = Path(folder, f"{k // 1000:03}", f"{k:06}.txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text[k * FILE : (k + 1) * FILE])


def first_steps(folder: Path, scratch: Path, log: Path) -> dict[str, Any]:
    """Train by the command, and in a process that says when its first step is done."""
    shutil.rmtree(scratch / "run", ignore_errors=True)
    sizes = ["--hidden-size", str(H), "--batch-size", str(B), "--bptt", str(T), "--max-steps", str(STEPS)]
    found = measured(["train", str(folder), "--out", str(scratch / "run"), *sizes], log)
    return {"name": f"training, {STEPS} steps, and its report", **found, "start": float(inner("--start", folder))}


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
        "start": "first step after {:.2f} s", "ratio": "{:.3f}x the speed from memory",
    }  # fmt: skip
    return f"{row['name']:30} " + ", ".join(words.format(row[key]) for key, words in said.items() if key in row)


#: Parts that run in a process of their own, by the word that starts them.
INNER: dict[str, Callable[..., None]] = {
    "--write": write_text,
    "--write-files": write_files,
    "--compare": compare,
    "--start": lambda folder: train_on(folder, FirstStep(), 1),
    "--work": lambda data: train_on(data, Turns()),
}


def main() -> int:
    """Run all rows; returns the exit code."""
    if sys.argv[1:] and sys.argv[1] in INNER:
        INNER[sys.argv[1]](*sys.argv[2:])
        return 0
    options = parser(__doc__, seconds=20)
    options.add_argument("--gigabytes", type=float, default=10.0)
    options.add_argument("--folder", type=Path, help="where the text and the corpus lie; a temporary one by default")
    arguments = options.parse_args()
    size = 200 * MB if arguments.quick else int(arguments.gigabytes * GB)
    report = Report("large_corpus", arguments)
    scratch = arguments.folder or Path(tempfile.mkdtemp())
    scratch.mkdir(parents=True, exist_ok=True)
    text, folder, log = text_of(size, scratch / "text.txt"), scratch / "corpus", scratch / "log"
    beginning, files = (
        text if size < GB else text_of(GB, scratch / "part.txt"),
        FILES // 100 if arguments.quick else FILES,
    )
    for name, row in {
        "characters": lambda: encode(beginning, scratch / "characters", log, 1),
        "bytes": lambda: encode(beginning, scratch / "bytes", log, 1, "bytes"),
        "killed": lambda: encode_again(text, folder, log, arguments.threads),
        "files": lambda: encode_files(scratch, files, log, arguments.threads),
        "training": lambda: first_steps(folder, scratch, log),
        "beside memory": lambda: beside_memory(folder, text, scratch, 1.0 if arguments.quick else arguments.seconds),
    }.items():
        report.add(lambda name=name, row=row: once(scratch / f"{name}.row", row), line)  # type: ignore[misc]
    shutil.rmtree(scratch)
    return report.finish(goals=GOALS)


if __name__ == "__main__":
    raise SystemExit(main())
