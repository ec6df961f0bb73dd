"""Write the golden files of version 0.1, with version 0.1: saved models, interrupted runs, and their results.

Run once, from anywhere, with the package of that version on the path; it writes to v0.1/ beside this file:

    PYTHONPATH=CHECKOUT_OF_0.1/src python tests/golden/make_v0_1.py

    v0.1/models/NAME/        config.json, vocabulary.json, model.safetensors, and expected.json:
                             the text, its logits (T, V), its score in bits, and what is generated greedily
    v0.1/runs/NAME/run/      the folder of a run that was interrupted
    v0.1/runs/NAME/          data.json: the corpus; expected.json: where the run ends once it is resumed, and under
                             which versions; model.safetensors: its weights then
    v0.1/environment.json    what the last bits of a number depend on
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from pathlib import Path

import torch

import unrolled
from unrolled import _core
from unrolled.lm import Corpus, ModelConfig, SequenceModel, TrainingConfig

OUT = Path(__file__).parent / "v0.1"
TEXT = """Shall I compare thee to a summer's day?
Thou art more lovely and more temperate:
Rough winds do shake the darling buds of May,
And summer's lease hath all too short a date:
Sometime too hot the eye of heaven shines,
And often is his gold complexion dimm'd;
And every fair from fair sometime declines,
By chance or nature's changing course untrimm'd;
"""
COUNTING = [["a"] * n + ["b"] * n for n in range(1, 16)]

#: Name: data, options of the model, the text that it reads, the prompt that it continues greedily.
MODELS = {
    "lstm": (
        {"text": TEXT * 2},
        {"cell": "lstm", "hidden_size": 24, "num_layers": 2, "embedding_size": 8, "dropout": 0.2},
        "more lovely", "And ",
    ),
    "gru": (
        {"sequences": COUNTING},
        {"cell": "gru", "hidden_size": 9, "learned_initial_state": True},
        ["a", "a", "a", "b", "b", "b"], ["a", "a", "a", "b"],
    ),
    "rnn-bytes": (
        {"text": TEXT.replace("summer", "sümmer"), "options": {"kind": "bytes"}},
        {"cell": "rnn", "nonlinearity": "relu", "hidden_size": 17},
        "a sümmer's day", "And ",
    ),
    "words": (
        {"text": TEXT * 2, "options": {"kind": "words", "min_count": 2}},
        {"cell": "gru", "hidden_size": 16, "embedding_size": 6},
        "the eye of heaven", "And every",
    ),
    "tied": (
        {"text": TEXT, "options": {"lines": True}},
        {"cell": "lstm", "hidden_size": 12, "embedding_size": 12, "tied": True},
        "Rough winds", "By ",
    ),
}  # fmt: skip

#: Name: data, options of the model and of training, and how the run is interrupted after six steps or more.
RUNS = {
    "stream-gru-adamw-cosine": (
        {"text": TEXT * 3, "options": {"validation": 0.1, "test": 0.1}},
        {"cell": "gru", "hidden_size": 9, "num_layers": 2, "embedding_size": 5, "dropout": 0.3},
        {"schedule": "cosine", "warmup_steps": 2, "learning_rate": 0.01, "batch_size": 3, "bptt": 7, "log_every": 2,
         "validate_every": 5, "max_steps": 12},
        "signal",
    ),
    "sequences-lstm-sgd-plateau": (
        {"sequences": COUNTING, "options": {"validation": 0.2, "test": 0.0}},
        {"cell": "lstm", "hidden_size": 7, "num_layers": 2, "dropout": 0.2, "learned_initial_state": True},
        {"optimiser": "sgd", "schedule": "plateau", "plateau_patience": 1, "learning_rate": 2.0, "weight_decay": 0.01,
         "accumulate": 2, "batch_size": 3, "log_every": 3, "validate_every": 3, "checkpoint_every": 4,
         "max_steps": 12, "max_epochs": 0},
        "crash",
    ),
    "bytes-rnn-rmsprop-tied": (
        {"text": TEXT, "options": {"kind": "bytes", "validation": 0.2, "test": 0.0}},
        {"cell": "rnn", "nonlinearity": "relu", "hidden_size": 6, "embedding_size": 6, "tied": True},
        {"optimiser": "rmsprop", "batch_size": 2, "bptt": 5, "log_every": 4, "validate_every": 4, "max_steps": 12},
        "signal",
    ),
}  # fmt: skip


class Crash(Exception):
    """Ends a run without a last checkpoint."""


def interrupting(how):
    """Return an observer that interrupts a run at its first line of metrics from step 6 on."""
    from unrolled.lm import Observer  # here, because the tests import this file and later versions have none

    class Interrupt(Observer):
        def stepped(self, run, line):
            if line["step"] >= 6 and how == "signal":
                signal.raise_signal(signal.SIGINT)
            elif line["step"] >= 6:
                raise Crash

    return Interrupt()


def corpus_of(data):
    """Return the corpus that a data.json describes."""
    made = Corpus.from_text if "text" in data else Corpus.from_sequences
    return made(data["text"] if "text" in data else data["sequences"], **data.get("options", {}))


def write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")


def make_model(folder, data, options, text, prompt):
    corpus = corpus_of(data | {"options": data.get("options", {}) | {"validation": 0, "test": 0}})
    torch.manual_seed(0)
    model = SequenceModel(ModelConfig(**options), corpus.vocabulary, framed=not corpus.stream)
    model.fit(corpus, TrainingConfig(learning_rate=0.02, batch_size=8, bptt=32, max_steps=200, max_epochs=0))
    model.save_pretrained(folder)
    ids = torch.from_numpy(model.vocabulary.encode(text))[:, None]
    with torch.inference_mode():
        logits, _ = model(ids)
    (generated,) = model.generate(prompt, strategy="greedy", max_length=16)
    expected = {
        "text": text,
        "logits": [[float(f"{x:.7g}") for x in row] for row in logits[:, 0].tolist()],
        "bits": [float(f"{x:.7g}") for x in model.score(text).bits.tolist()],
        "prompt": prompt,
        "generated": generated,
    }
    write(folder / "expected.json", expected)


def make_run(folder, data, model, training, how):
    def fit(run, **options):
        torch.manual_seed(0)
        corpus = corpus_of(data)
        fresh = SequenceModel(ModelConfig(**model), corpus.vocabulary, framed=not corpus.stream)
        return fresh.fit(corpus, TrainingConfig(**training), run, **options)

    try:
        fit(folder / "run", observer=interrupting(how))
    except Crash:
        assert how == "crash"
    write(folder / "data.json", data)
    with tempfile.TemporaryDirectory() as scratch:
        end = Path(scratch) / "run"
        shutil.copytree(folder / "run", end)
        result = fit(end, resume=True)
        shutil.copy(end / "model.safetensors", folder)
        metrics = [json.loads(line) for line in (end / "metrics.jsonl").read_text().splitlines()]
    for line in metrics:  # without times, which differ from run to run
        line.pop("seconds")
        line.pop("symbols_per_second", None)
    expected = {"steps": result.steps, "nats": result.nats, "validation": result.validation, "metrics": metrics}
    write(folder / "expected.json", expected)


def processor():
    """Return the system's name of the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def environment():
    """Return what the last bits of a number depend on."""
    return {
        "processor": processor(),
        "instruction set": _core.active_instruction_set(),
        "backend": os.environ.get("UNROLLED_BACKEND", "fused"),
        "torch": torch.__version__,
        "torch's instruction set": torch.backends.cpu.get_cpu_capability(),
    }


def main():
    assert unrolled.__version__.startswith("0.1."), f"this is version {unrolled.__version__}"
    torch.set_num_threads(1)
    shutil.rmtree(OUT, ignore_errors=True)
    for name, recipe in MODELS.items():
        make_model(OUT / "models" / name, *recipe)
    for name, recipe in RUNS.items():
        make_run(OUT / "runs" / name, *recipe)
    write(OUT / "environment.json", environment())


if __name__ == "__main__":
    main()
