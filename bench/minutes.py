"""What one command with default options reaches on six corpora, in a given number of minutes.

    python bench/minutes.py [--rows plays:5,sonnets:1] [--seeds 0,1,2,3,4]

Each row is `unrolled train CORPUS --minutes M` in a process of its own, as anybody would type it; the model's folder is
then measured on the test split beside the baselines of the same split.  The last column is the time from the start
of the command to its end, with reading, calibration and the final report.  `held_out_nats` is the mean over validation
and test, for comparison with others' figures for the last tenth of a text.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from fetch_corpus import CORPORA, fetch
from harness import Report, parser

from unrolled.commands.inputs import read_again
from unrolled.corpus import baselines
from unrolled.lm.evaluation import evaluate
from unrolled.lm.model import SequenceModel
from unrolled.saved.model import SavedModel

#: How each corpus is read, apart from the defaults.
READING = {
    "works": ["--split-by", "file"],
    "python": ["--split-by", "file"],
    "tunes": ["--split-by", "file"],
    "names": ["--lines"],
}
ROWS = (
    "sonnets:1,plays:1,names:1,cmudict:2,plays:5,tunes:5,python:5,sonnets:5,names:5,cmudict:5,works:5,works:10,plays:15"
)


def row(corpus: str, minutes: float, seed: int, threads: int) -> dict[str, Any]:
    """Train for a number of minutes; return what was chosen and what it reached."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        data = str(fetch(corpus)) if corpus in CORPORA else corpus
        command = ["train", data, *READING.get(corpus, []), "--minutes", f"{minutes:g}"]
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "unrolled", *command, "--seed", str(seed), "--out", str(folder)],
            check=True,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        )
        whole = time.perf_counter() - started
        saved, model = SavedModel.load(folder), SequenceModel.from_pretrained(folder)
        read = read_again(folder, saved.origin, saved.vocabulary)
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        config = json.loads((folder / "config.json").read_text())
    held = [evaluate(model, read, split) for split in ("validation", "test")]
    nats = sum(part.nats * part.symbols for part in held) / sum(part.symbols for part in held)
    logged = [line for line in lines if "symbols_per_second" in line]
    beside = {each.name: each.bits_per_symbol for each in baselines.table(read, "test")}
    chosen = {name: (config["model"] | config["training"])[name] for name in config["chosen"]}
    return {
        "corpus": corpus, "minutes": minutes, "seed": seed, "test_bits": held[1].bits, "held_out_nats": nats,
        "baselines": beside, "steps": logged[-1]["step"], "symbols": logged[-1]["symbols"],
        "parameters": sum(p.numel() for p in model.parameters()), "whole_minutes": whole / 60, "chosen": chosen,
    }  # fmt: skip


def line(row: dict[str, Any]) -> str:
    """A row as it is printed."""
    best = min((bits, name) for name, bits in row["baselines"].items())
    chosen, bits = row["chosen"], row["test_bits"]
    return (
        f"{row['corpus']:8} {row['minutes']:>4g} min  seed {row['seed']}  H {chosen.get('hidden_size', '-'):>4}  "
        f"dropout {chosen.get('dropout', 0):.2f}  {row['symbols'] / 1e6:>6.1f} M symbols  test {bits:.3f} bits, "
        f"{bits * math.log(2):.3f} nats (held out {row['held_out_nats']:.3f})  {best[1]} {best[0]:.3f}  "
        f"whole {row['whole_minutes']:.2f} min"
    )


def main() -> int:
    """Run the rows; returns the exit code."""
    options = parser(__doc__, seconds=0)
    options.add_argument("--rows", default=ROWS, help=f"corpus:minutes with commas between; default {ROWS}")
    options.add_argument("--seeds", default="0", help="seeds of each row, with commas between")
    arguments = options.parse_args()
    report = Report("minutes", arguments)
    for name in arguments.rows.split(","):
        corpus, _, minutes = name.partition(":")
        for seed in arguments.seeds.split(","):
            report.add(partial(row, corpus, float(minutes), int(seed), arguments.threads), line)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
