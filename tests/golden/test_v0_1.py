"""Models and runs saved by version 0.1 load, compute the same, and resume (make_v0_1.py wrote the files)."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from tests.golden.make_v0_1 import corpus_of
from unrolled import runtime
from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.lm import SequenceModel, gradients, train

GOLDEN = Path(__file__).parent / "v0.1"
MODELS = sorted((GOLDEN / "models").iterdir())
RUNS = sorted((GOLDEN / "runs").iterdir())


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_model_of_version_0_1_computes_and_generates_the_same(folder):
    expected = read(folder / "expected.json")
    model = SequenceModel.from_pretrained(folder)
    ids = torch.from_numpy(model.vocabulary.encode(expected["text"]))[:, None]
    with torch.inference_mode():
        logits, _ = model(ids)
    np.testing.assert_allclose(logits[:, 0], expected["logits"], rtol=1e-5, atol=1e-5)
    for loaded in (model, runtime.load(folder)):
        np.testing.assert_allclose(loaded.score(expected["text"]).bits, expected["bits"], rtol=1e-5, atol=1e-5)
        assert loaded.generate(expected["prompt"], strategy="greedy", max_length=16) == [expected["generated"]]


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_runtime_steps_a_model_of_version_0_1_to_the_same_logits(folder):
    expected = read(folder / "expected.json")
    model = runtime.load(folder)
    for symbol, want in zip(model.vocabulary.encode(expected["text"]), expected["logits"], strict=True):
        np.testing.assert_allclose(model.step(symbol), want, rtol=1e-5, atol=1e-5)


def draw_masks_as_version_0_1_did(monkeypatch):
    """Let dropout draw its masks as torch draws them; they are drawn otherwise since."""
    apply = torch.ops.aten.native_dropout_backward

    def kept(x, p):
        return (torch.native_dropout(x, p, True)[1], 1 / (1 - p)) if p else None

    def masked(x, mask, dtype=None):
        return x if mask is None else apply(x, *mask)

    monkeypatch.setattr(gradients, "kept", kept)
    monkeypatch.setattr(gradients, "masked", masked)


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_run_of_version_0_1_resumes_to_the_same_end(folder, tmp_path, monkeypatch):
    draw_masks_as_version_0_1_did(monkeypatch)
    run, expected = tmp_path / "run", read(folder / "expected.json")
    shutil.copytree(folder / "run", run)
    config, corpus = read(run / "config.json"), corpus_of(read(folder / "data.json"))
    interrupted = (run / "metrics.jsonl").read_bytes()
    model = SequenceModel(ModelConfig(**config["model"]), corpus.vocabulary, framed=config["framed"])
    result = train(model, corpus, TrainingConfig(**config["training"]), run, resume=True)

    assert (result.ended, result.steps) == ("max_steps", expected["steps"])
    close = {"rel": 1e-4}  # also on the machine of the files: sums are formed in another order since
    assert result.nats == pytest.approx(expected["nats"], **close)
    assert result.validation == pytest.approx(expected["validation"], **close)
    end = load_file(folder / "model.safetensors")
    for name, weights in load_file(run / "model.safetensors").items():
        np.testing.assert_allclose(weights, end[name], rtol=0, atol=1e-4, err_msg=name)

    written = (run / "metrics.jsonl").read_bytes()
    resumed = [line for line in interrupted.splitlines(True) if json.loads(line)["step"] <= checkpoint(folder)]
    assert written.startswith(b"".join(resumed))
    lines = [json.loads(line) for line in written.splitlines()]
    for line, want in zip(lines, expected["metrics"], strict=True):
        assert line.keys() - {"seconds", "symbols_per_second"} == want.keys()
        assert {key: line[key] for key in want} == pytest.approx(want, **close)


def checkpoint(folder):
    """Return the step from which a run resumes."""
    return int(read(folder / "run" / "checkpoints" / "latest")["checkpoint"].removeprefix("step-"))


def test_runs_of_version_0_1_were_interrupted_in_the_middle():
    found = {folder.name: checkpoint(folder) for folder in RUNS}
    assert found == {"bytes-rnn-rmsprop-tied": 8, "sequences-lstm-sgd-plateau": 4, "stream-gru-adamw-cosine": 6}
