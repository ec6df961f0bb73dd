"""Words to V 100,000: the softmax over all, on a sample, and torch's adaptive one, in the same minutes.

    python bench/large_vocabulary.py TEXT              a row for each; --minutes 5, --vocabulary-size 100000
    python bench/large_vocabulary.py TEXT --only sampled

Each row is a run of its own process, whose peak of memory is that of the whole command: reading, training, checkpoints,
the report at the end.  The adaptive softmax has the same layers, batches and rates, is trained by autograd, and is
measured on the same symbols.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from unrolled.config.training import TrainingConfig
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.splitting import beginning, counts
from unrolled.lm.evaluation import affordable
from unrolled.lm.loader import BatchLoader, one_epoch
from unrolled.lm.model import SequenceModel
from unrolled.lm.recipe import NOMINAL, Facts, choose
from unrolled.lm.schedule import Schedule

WAYS = ("full", "sampled", "adaptive")
SAMPLES, CUTOFFS, DIVISOR = 4096, (2000, 20000), 4.0


def run(way: str, text: str, V: int, H: int, minutes: float) -> dict[str, float]:
    """Return what one way costs and learns, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        sizes = ["--vocabulary-size", str(V), "--hidden-size", str(H), "--minutes", str(minutes)]
        if way == "adaptive":
            command = [sys.executable, __file__, text, "--inner", *sizes]
        else:
            samples = ["--softmax-samples", str(SAMPLES if way == "sampled" else 0)]
            command = [
                sys.executable,
                "-m",
                "unrolled",
                "train",
                text,
                "--kind",
                "words",
                "--out",
                f"{folder}/run",
                *sizes,
            ]
            command += samples
        with Path(folder, "log").open("w+") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
            _, status, usage = os.wait4(process.pid, 0)
            log.seek(0)
            said = log.read()
        if status:
            raise SystemExit(said)
        peak = usage.ru_maxrss * 1024
        if way == "adaptive":
            return json.loads(said.splitlines()[-1]) | {"peak": peak}
        print(said, file=sys.stderr)
        lines = [json.loads(line) for line in Path(folder, "run", "metrics.jsonl").read_text().splitlines()]
        last = [line for line in lines if "nats" in line][-1]
        bits = json.loads(Path(folder, "run", "evaluation.json").read_text())["bits"]
        return {"bits": bits, "symbols": last["symbols"], "rate": last["symbols"] / last["seconds"], "peak": peak}


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
    head = torch.nn.AdaptiveLogSoftmaxWithLoss(H, len(often), [*CUTOFFS], div_value=DIVISOR)
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


def main() -> None:
    """Print a row for each way."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("text")
    options.add_argument("--only", choices=WAYS)
    options.add_argument("--vocabulary-size", type=int, default=100_000)
    options.add_argument("--hidden-size", type=int, default=256)
    options.add_argument("--minutes", type=float, default=5)
    options.add_argument("--inner", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    sizes = given.text, given.vocabulary_size, given.hidden_size, given.minutes
    if given.inner:
        print(json.dumps(adaptive(*sizes)))
        return
    print("| softmax | symbols/s | symbols read | bits/symbol of the test split | peak, GB |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for way in [given.only] if given.only else WAYS:
        row = run(way, *sizes)
        numbers = f"{row['rate']:,.0f} | {row['symbols']:,} | {row['bits']:.3f} | {row['peak'] / 1e9:.2f}"
        print(f"| {way} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
