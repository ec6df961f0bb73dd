"""`max_minutes` limits all that a run does, validations and saves too; a large validation split is sampled."""

import json
import signal
import time
from itertools import count

import pytest
import torch

from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.corpus.corpus import Corpus
from unrolled.lm import evaluation, gradients, run_state
from unrolled.lm import run as runs
from unrolled.lm.evaluation import evaluate
from unrolled.lm.model import SequenceModel
from unrolled.lm.training import train

TEXT = "the quick brown fox jumps over the lazy dog\n" * 400


class Clock:
    """A clock that moves only by what the parts of a run are said to take, in seconds."""

    def __init__(self, monkeypatch, step, validation_batch, save):
        self.now = 0.0
        function, batches, write = gradients.gradient_function, evaluation.one_epoch, run_state.save_checkpoint
        monkeypatch.setattr(gradients, "gradient_function", lambda *given, **o: self.slow(function(*given, **o), step))
        monkeypatch.setattr(evaluation, "one_epoch", lambda *a, **o: self.slowly(batches(*a, **o), validation_batch))
        monkeypatch.setattr(run_state, "save_checkpoint", self.slow(write, save))
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def slow(self, call, seconds):
        def slowed(*args):
            self.now += seconds
            return call(*args)

        return slowed

    def slowly(self, batches, seconds):
        for batch in batches:
            self.now += seconds
            yield batch


def trained(out, corpus, resume=False, **options):
    torch.manual_seed(0)
    config = ModelConfig(cell="gru", hidden_size=3, dropout=0.2, weight_dropout=0.2)
    model = SequenceModel(config, corpus.vocabulary, framed=not corpus.stream)
    cut = {"bptt": 4} if corpus.stream else {}
    training = TrainingConfig(**{"max_epochs": 0, "batch_size": 2} | cut | options)
    return train(model, corpus, training, out, resume=resume)


def validations(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "validation_nats" in line]


@pytest.mark.parametrize(
    ("step", "validation_batch", "save"), [(0.2, 0.5, 0.3), (0.01, 1.5, 0.0), (1.0, 0.0, 1.5), (0.1, 0.01, 0.01)]
)
@pytest.mark.parametrize("options", [{"validate_every": 40}, {"validate_every": 10_000}, {"checkpoint_every": 7}])
def test_time_limit_holds_validations_and_saves(step, validation_batch, save, options, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "CHUNK", 8)  # a hundred batches to validate on
    clock = Clock(monkeypatch, step, validation_batch, save)
    result = trained(tmp_path / "run", Corpus.from_text(TEXT, validation=0.2, test=0), max_minutes=1, **options)
    assert result.ended == "max_minutes"
    assert 60 * 0.85 <= clock.now <= 60 * 1.05
    assert result.seconds <= clock.now
    assert validations(tmp_path / "run")


def test_validation_under_a_time_limit_takes_a_twentieth_of_it_and_then_always_reads_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "CHUNK", 8)
    Clock(monkeypatch, step=0.1, validation_batch=0.5, save=0.1)
    trained(tmp_path / "run", Corpus.from_text(TEXT, validation=0.2, test=0), max_minutes=1, validate_every=40)
    read = [line["validation_symbols"] for line in validations(tmp_path / "run")]
    assert len(read) > 2
    assert set(read) == {8 * 1 * 6}  # 8 steps of a lane in each of the 6 batches that take 3 s


@pytest.mark.parametrize("lines", [False, True])
def test_large_validation_split_is_sampled_evenly(lines, tmp_path, monkeypatch):
    corpus = Corpus.from_text("".join(f"{'ab' * (1 + n % 40)}\n" for n in range(2000)), lines=lines, validation=0.5)
    monkeypatch.setattr(runs, "VALIDATION_SYMBOLS", 9000)
    monkeypatch.setattr(evaluation, "CHUNK", 64)
    trained(tmp_path / "run", corpus, max_steps=30, learning_rate=0.05, validate_every=10)
    found = validations(tmp_path / "run")
    assert {line["validation_symbols"] for line in found} == {found[0]["validation_symbols"]}
    assert 8000 < found[0]["validation_symbols"] < 10_000 < corpus.validation.predicted
    whole = evaluate(SequenceModel.from_pretrained(tmp_path / "run"), corpus, "validation")
    assert min(line["validation_nats"] for line in found) == pytest.approx(whole.nats, rel=0.05)
    assert whole.symbols == corpus.validation.predicted


def test_evaluation_of_a_sample_counts_what_it_read():
    corpus = Corpus.from_sequences([["a"] * n for n in range(1, 200)], validation=0, test=0)
    model = SequenceModel(ModelConfig(hidden_size=3), corpus.vocabulary)
    with torch.no_grad():
        model.b_y[corpus.vocabulary.unk_id] = 9  # predicts UNK, so no string is right
    sample = evaluate(model, corpus, "train", max_symbols=1000)
    assert 500 < sample.symbols <= 1000
    assert sample.exact_strings == evaluate(model, corpus, "train").exact_strings == 0
    assert evaluate(model, corpus, "train", max_seconds=0).symbols < corpus.train.predicted  # the first batch


def test_run_limited_in_time_takes_a_step_however_short_the_time_is(tmp_path):
    assert trained(tmp_path / "run", Corpus.from_text(TEXT), max_minutes=1e-9).steps == 1


def test_time_limit_holds_the_batches_of_a_first_step_too(tmp_path, monkeypatch):
    clock = Clock(monkeypatch, step=1.0, validation_batch=0.0, save=0.5)
    with pytest.warns(
        UserWarning,
        match=r"the first step sums 55 batches, not 5,000: no more fit into max_minutes=1; lower accumulate",
    ):
        result = trained(tmp_path / "run", Corpus.from_text(TEXT, test=0), max_minutes=1, accumulate=5000)
    assert (result.ended, result.steps) == ("max_minutes", 1)
    assert 60 * 0.9 <= clock.now <= 60 * 1.05


@pytest.mark.parametrize("lines", [False, True])
def test_a_step_that_a_signal_cuts_short_is_left_out_and_done_by_who_resumes(lines, tmp_path, monkeypatch):
    corpus = Corpus.from_text(TEXT, lines=lines, test=0)
    options = {"accumulate": 40, "max_steps": 4}
    trained(tmp_path / "whole", corpus, **options)
    make, batches = gradients.gradient_function, count(1)

    def signalling(*given, **options):
        function = make(*given, **options)

        def add_gradients(*batch):
            if next(batches) == 100:  # in the third step
                signal.raise_signal(signal.SIGTERM)
            return function(*batch)

        return add_gradients

    monkeypatch.setattr(gradients, "gradient_function", signalling)
    result = trained(tmp_path / "cut", corpus, **options)
    assert (result.ended, result.steps, next(batches)) == ("signal", 2, 101)
    assert trained(tmp_path / "cut", corpus, resume=True, **options).ended == "max_steps"
    whole, cut = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut"))
    assert whole == cut


@pytest.mark.parametrize(("lines", "sizes"), [(False, "batch_size or bptt"), (True, "batch_size")])
def test_a_step_that_takes_longer_than_the_time_limit_is_said(lines, sizes, tmp_path, monkeypatch):
    Clock(monkeypatch, step=200.0, validation_batch=0.1, save=0.1)
    with pytest.warns(UserWarning, match=rf"the only step took 200 s, longer than max_minutes=1; lower {sizes}$"):
        trained(tmp_path / "run", Corpus.from_text(TEXT, lines=lines, test=0), max_minutes=1)
