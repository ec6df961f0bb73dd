"""Cost of training ten and a hundred models together, beside one: milliseconds per step, and the ratios.

    python bench/seeds.py [--threads 2] [--repeat 3] [--cells lstm gru rnn]

A step draws the batch, runs forward and backward, clips each model's gradient and takes a step of Adam.  The language
is a^n b^n with n up to 50, so T is at most 104.  The loop column is one model trained the ordinary way:
unrolled.lm.SequenceModel, torch's cross-entropy, clip_grad_norm_ and torch.optim.Adam.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from statistics import median

import torch

from unrolled.config.lab import LabConfig
from unrolled.lab.examples import language_examples
from unrolled.lab.experiment import new_model
from unrolled.lab.training import train
from unrolled.languages import Lengths, get

#: Hidden units and batch size.
SIZES = [(3, 1), (8, 1), (8, 16), (32, 1), (32, 16)]
SEEDS = (1, 10, 100)
#: About the seconds of one measurement.
SECONDS = 0.1


def per_step(config: LabConfig) -> float:
    """Return milliseconds a step of models trained together."""
    language, seeds = get("anbn"), range(config.seeds)
    models = [new_model(language, config, seed) for seed in seeds]
    examples = language_examples(language, Lengths(config.lengths), config.samples, config.loss, seeds)

    def run(steps: int) -> float:
        return timed(lambda: train(models, examples, replace(config, steps=steps)))

    run(2)
    steps = max(3, round(SECONDS / run(3) * 3))
    return 1e3 * (run(2 * steps) - run(steps)) / steps  # without the setup


def loop_per_step(config: LabConfig) -> float:
    """Return milliseconds a step of one model trained the ordinary way, on the same strings."""
    language = get("anbn")
    model = new_model(language, config, 0)
    examples = language_examples(language, Lengths(config.lengths), config.samples, config.loss, [0])
    adam = torch.optim.Adam(model.parameters(), config.learning_rate)
    ignored = examples.targets.ignored

    def step() -> None:
        ids, codes = (torch.from_numpy(array[0].astype("int64")) for array in examples.batch(config.rows)[:2])
        logits, _ = model(ids)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), codes.flatten(), ignore_index=ignored)
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        adam.step()

    step()
    probe = timed(step)
    steps = max(3, round(SECONDS / probe))
    return 1e3 * timed(lambda: [step() for _ in range(steps)]) / steps


def timed(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--cells", nargs="+", default=["lstm", "gru", "rnn"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{options.threads} threads, torch {torch.__version__}, median of {options.repeat}")
    columns = ["cell", "H", "B", "loop", *(f"{S} model{'s'[: S > 1]}" for S in SEEDS)]
    columns += ["10 / 1", "100 / 1", "10 / loop", "100 / loop"]
    print(f"| {' | '.join(columns)} |\n|---|{'--:|' * (len(columns) - 1)}")
    for cell in options.cells:
        for H, B in SIZES:
            config = LabConfig(cell=cell, units=H, batch_size=B, samples=200)
            one_loop = median(loop_per_step(config) for _ in range(options.repeat))
            ms = [median(per_step(replace(config, seeds=S)) for _ in range(options.repeat)) for S in SEEDS]
            numbers = [one_loop, *ms, ms[1] / ms[0], ms[2] / ms[0], ms[1] / one_loop, ms[2] / one_loop]
            print(f"| {cell} | {H} | {B} | {' | '.join(f'{each:.3g}' for each in numbers)} |", flush=True)


if __name__ == "__main__":
    main()
