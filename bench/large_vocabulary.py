"""Words to V 100,000: the softmax over all, on a sample, and torch's adaptive one, in the same seconds.

    python bench/large_vocabulary.py                    on the sources of Python's standard library; five minutes
    python bench/large_vocabulary.py --text TEXT --seconds 300
    python bench/large_vocabulary.py --quick            seconds; the numbers mean nothing

Each row is a run of its own process, whose peak of memory is that of the whole command: reading, training, checkpoints,
the report at the end.  The adaptive softmax has the same layers, batches and rates, is trained by autograd, and is
measured on the same symbols.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import Report, parser

from unrolled.config.training import TrainingConfig
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.splitting import beginning, counts
from unrolled.lm.evaluation import affordable
from unrolled.lm.loader import BatchLoader, one_epoch
from unrolled.lm.model import SequenceModel
from unrolled.lm.recipe import NOMINAL, Facts, choose
from unrolled.lm.schedule import Schedule

SAMPLES, CUTOFFS, DIVISOR = 4096, (2000, 20000), 4.0
WAYS = {
    "full": "over all",
    "sampled": f"on a sample of {SAMPLES:,}",
    "adaptive": "torch's `AdaptiveLogSoftmaxWithLoss`, at 5 times the rate",
}
#: Characters of the text with --quick.
QUICK = 1_000_000
#: Aim: bytes of memory.
GOALS = {"peak": 4e9}


def sources(folder: Path, most: int | None) -> Path:
    """Return a file of the sources of Python's standard library, of at most this many characters."""
    library, text = Path(sysconfig.get_path("stdlib")), folder / "sources.txt"
    files = sorted(file for file in library.rglob("*.py") if "site-packages" not in file.parts)
    whole = "\n".join(file.read_bytes().decode("utf-8", "ignore") for file in files)
    text.write_text(whole[:most], encoding="utf-8")
    return text


def run(way: str, text: Path, V: int, H: int, minutes: float, scratch: Path) -> dict[str, Any]:
    """Return what one way costs and learns, in a process of its own."""
    out, log = scratch / way, scratch / f"{way}.log"
    sizes = ["--vocabulary-size", str(V), "--hidden-size", str(H), "--minutes", str(minutes)]
    samples = ["--softmax-samples", str(SAMPLES if way == "sampled" else 0), "--log-every", "1"]
    command = ["-m", "unrolled", "train", str(text), "--kind", "words", "--out", str(out), *sizes, *samples]
    if way == "adaptive":
        command = [__file__, INNER, str(text), str(V), str(H), str(minutes)]
    with log.open("w") as said:
        process = subprocess.Popen([sys.executable, *command], stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(log.read_text())
    about = {"name": WAYS[way], "peak": usage.ru_maxrss * 1024}
    if way == "adaptive":
        return about | json.loads(log.read_text().splitlines()[-1])
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    last = [line for line in lines if "nats" in line][-1]
    bits = json.loads((out / "evaluation.json").read_text())["bits"]
    return about | {"bits": bits, "symbols": last["symbols"], "rate": last["symbols"] / last["seconds"]}


def adaptive(text: str, V: int, H: int, minutes: float) -> dict[str, float]:
    """Train with torch's adaptive softmax on the batches and at the rates of the sampled one."""
    corpus = Corpus.read(text, kind="words", vocabulary_size=V)
    often = counts(corpus.train.ids, len(corpus.vocabulary))
    rank = torch.empty(len(often), dtype=torch.int64)
    rank[torch.from_numpy(np.argsort(-often, kind="stable"))] = torch.arange(len(often))
    plan = choose(Facts.of(corpus), NOMINAL, {"hidden_size": H, "max_minutes": minutes, "softmax_samples": 0})
    config: TrainingConfig = plan.training
    torch.manual_seed(config.seed)
    model = SequenceModel(plan.model, corpus.vocabulary, framed=False).train()
    del model.head
    cutoffs = [cutoff for cutoff in CUTOFFS if cutoff < len(often)]
    head = torch.nn.AdaptiveLogSoftmaxWithLoss(H, len(often), cutoffs, div_value=DIVISOR)
    parameters = [*model.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, config.learning_rate, weight_decay=config.weight_decay, fused=True)
    loader = BatchLoader(corpus.train, True, config.batch_size, config.bptt, config.seed)
    schedule, state, began, symbols, step = Schedule(config, 0), None, time.monotonic(), 0, 0
    while (seconds := time.monotonic() - began) < 60 * minutes:
        batch = loader.next()
        x, after = model.outputs(batch.ids, None if batch.reset else state)
        wanted = batch.targets.flatten() >= 0
        loss = head(x.flatten(0, 1)[wanted], rank[batch.targets.flatten()[wanted]]).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm)
        optimiser.param_groups[0]["lr"] = schedule.rate(step, seconds)
        optimiser.step()
        optimiser.zero_grad()
        state, symbols, step = tuple(s.detach() for s in after), symbols + batch.N, step + 1
    return {"bits": measured(model.eval(), head, rank, corpus), "symbols": symbols, "rate": symbols / seconds}


@torch.inference_mode()
def measured(model: SequenceModel, head: torch.nn.Module, rank: torch.Tensor, corpus: Corpus) -> float:
    """Return the bits per symbol on the symbols of the test split that `unrolled train` measures."""
    part, nats, N, state = beginning(corpus.test, affordable(model, 1 << 21)), 0.0, 0, None
    for batch in one_epoch(part, True, max(1, min(64, len(part.ids) // 2000)), 512):
        x, state = model.outputs(batch.ids, None if batch.reset else state)
        wanted = batch.targets.flatten() >= 0
        nats -= float(head(x.flatten(0, 1)[wanted], rank[batch.targets.flatten()[wanted]]).output.double().sum())
        N += batch.N
    return nats / N / float(np.log(2))


#: The word that starts the adaptive softmax in a process of its own.
INNER = "--adaptive"


def line(row: dict[str, Any]) -> str:
    """Return a row for the terminal."""
    form = "{name:58} {rate:,.0f} symbols/s, {symbols:,} read, {bits:.3f} bits/symbol, peak {peak:,} bytes"
    return form.format(**row)


def main() -> int:
    """Run all rows; returns the exit code."""
    if sys.argv[1:2] == [INNER]:
        text, V, H, minutes = sys.argv[2:]
        print(json.dumps(adaptive(text, int(V), int(H), float(minutes))))
        return 0
    options = parser(__doc__, seconds=60)
    options.add_argument("--text", type=Path, help="by default the sources of Python's standard library")
    options.add_argument("--vocabulary-size", type=int, default=100_000)
    options.add_argument("--hidden-size", type=int, default=256)
    arguments = options.parse_args()
    V, H, seconds = arguments.vocabulary_size, arguments.hidden_size, arguments.seconds
    if arguments.quick:
        V, H, seconds = 10_000, 16, 2.0
    report = Report("large_vocabulary", arguments)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        text = arguments.text or sources(scratch, QUICK if arguments.quick else None)
        for way in WAYS:
            report.add(lambda way=way: run(way, text, V, H, seconds / 60, scratch), line)  # type: ignore[misc]
        size = text.stat().st_size
    return report.finish(goals=GOALS, V=V, H=H, each=seconds, text=size)


if __name__ == "__main__":
    raise SystemExit(main())
