"""One process and several find the same model: the same losses, states and weights, up to rounding."""

import itertools
import threading
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.lm.parallel.crew import crew, trained_by
from tests.lm.runs import RUNS, Interrupt, metrics, sequence_corpus, stream_corpus, trained
from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.corpus.corpus import Corpus
from unrolled.lm import calibration
from unrolled.lm import training as loops
from unrolled.lm.calibration import recipe_for
from unrolled.lm.callbacks import Callback
from unrolled.lm.evaluation import evaluate
from unrolled.lm.model import SequenceModel
from unrolled.lm.parallel.ranks import RanksDiffer
from unrolled.lm.parallel.watch import RankLost
from unrolled.lm.recipe import Speed
from unrolled.lm.run import TrainingDiverged
from unrolled.saved.checkpoints import load_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:precision='bfloat16' brings no speed here")

#: What the threads of a crew share: torch's random numbers.
SHARED = {"rng"}
LONG = {"max_steps": 100, "max_epochs": 0, "batch_size": 5, "validate_every": 20, "log_every": 10}
KINDS = {
    name: (
        corpus,
        replace(model, dropout=0.0),
        replace(training, **LONG, learning_rate=min(training.learning_rate, 0.05)),
    )
    for name, (corpus, model, training) in RUNS.items()
    if not training.softmax_samples  # a process compares its own targets: another sample than that of all
}
KINDS["sequences of one batch"] = (
    sequence_corpus,
    ModelConfig("gru", hidden_size=7),
    TrainingConfig(**{**LONG, "batch_size": 64}),
)


def with_hook(model):
    """A model that computes the same and is differentiated by autograd."""
    model.head.register_forward_hook(lambda *_: None)
    return model


def close(folder, other, atol):
    """Compare what two runs have measured, and where their last checkpoints are."""
    lines = metrics(folder), metrics(other)
    assert len(lines[0]) == len(lines[1])
    for got, want in zip(*lines, strict=True):
        assert got == pytest.approx(want, abs=atol, rel=1e-4)
    assert lines[0][-1].get("nats", 0) == pytest.approx(lines[1][-1].get("nats", 0), abs=atol)
    (tensors, state), (others, wanted) = load_checkpoint(folder), load_checkpoint(other)
    assert (state["feed"], state["clock"]["step"]) == (wanted["feed"], wanted["clock"]["step"])
    assert tensors.keys() == others.keys()
    for name in others.keys() - SHARED:
        np.testing.assert_allclose(tensors[name], others[name], atol=200 * atol, err_msg=name)


@pytest.mark.parametrize(("size", "apart"), [(2, False), (3, False), (3, True)])
@pytest.mark.parametrize("name", KINDS)
def test_several_processes_train_as_one(name, size, apart, tmp_path):
    corpus, model, training = KINDS[name]
    corpus = corpus()
    _, alone = trained(corpus, model, training, tmp_path / "alone")
    ended = trained_by(size, corpus, model, training, tmp_path / "together", apart=apart)
    weights = [found.state_dict() for found, _ in ended]
    for (_, result), found in zip(ended, weights, strict=True):
        assert (result.steps, result.ended, result.epochs) == (alone.steps, alone.ended, alone.epochs)
        assert result.nats == pytest.approx(alone.nats, abs=1e-6 if "bfloat16" not in name else 1e-3)
        assert result.validation == pytest.approx(alone.validation, abs=1e-6 if "bfloat16" not in name else 1e-3)
        assert all(torch.equal(w, weights[0][key]) for key, w in found.items())
    close(tmp_path / "together", tmp_path / "alone", 1e-6 if "bfloat16" not in name else 1e-3)


def test_processes_that_sample_the_softmax_have_one_model(tmp_path):
    corpus, model, training = RUNS["stream-gru-sampled"]
    ended = trained_by(3, corpus(), model, training, tmp_path / "together")
    (first, result), *others = ended
    assert result.validation < np.log(len(corpus().vocabulary))  # it learns
    for found, _ in others:
        assert all(torch.equal(w, first.state_dict()[key]) for key, w in found.state_dict().items())


@pytest.mark.parametrize("apart", [False, True])
def test_several_processes_train_as_one_by_autograd(apart, tmp_path):
    corpus, model, training = KINDS["stream-gru-adamw-cosine"]
    corpus = corpus()
    trained(corpus, model, training, tmp_path / "alone")
    trained_by(2, corpus, model, training, tmp_path / "together", changed=with_hook, apart=apart)
    close(tmp_path / "together", tmp_path / "alone", 1e-6)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("name", ["stream-gru-adamw-cosine", "sequences-lstm-sgd-plateau-accumulate"])
def test_run_that_is_resumed_by_as_many_processes_has_the_same_bytes(name, apart, tmp_path):
    corpus, model, training = KINDS[name]
    training = replace(training, schedule="constant", plateau_patience=TrainingConfig.plateau_patience)
    corpus, cut = corpus(), replace(training, max_steps=43)
    trained_by(3, corpus, model, training, tmp_path / "whole", apart=apart)
    trained_by(3, corpus, model, cut, tmp_path / "cut", apart=apart)
    trained_by(3, corpus, model, training, tmp_path / "cut", apart=apart, resume=True)
    (tensors, state), (others, wanted) = (load_checkpoint(tmp_path / folder) for folder in ("cut", "whole"))
    assert tensors.keys() == others.keys()
    assert [key for key in others.keys() - SHARED if tensors[key].tobytes() != others[key].tobytes()] == []
    assert (state["feed"], state["schedule"]) == (wanted["feed"], wanted["schedule"])
    last = [line for line in metrics(tmp_path / "whole") if "nats" in line][-1]
    assert last in metrics(tmp_path / "cut")


@pytest.mark.parametrize("sizes", [(1, 2), (3, 1), (2, 3)])
def test_run_is_resumed_by_another_number_of_processes(sizes, tmp_path):
    corpus, model, training = KINDS["stream-gru-adamw-cosine"]
    corpus = corpus()
    training = replace(training, schedule="constant")
    trained(corpus, model, training, tmp_path / "whole")
    for size, steps, resume in zip(sizes, (43, 100), (False, True), strict=True):
        limited = replace(training, max_steps=steps)
        if size == 1:
            trained(corpus, model, limited, tmp_path / "cut", resume=resume)
        else:
            for ended in trained_by(size, corpus, model, limited, tmp_path / "cut", resume=resume):
                assert not isinstance(ended, Exception), ended
    (tensors, _), (others, _) = (load_checkpoint(tmp_path / folder) for folder in ("cut", "whole"))
    for key in ("values", "carried.0"):
        np.testing.assert_allclose(tensors[key], others[key], atol=1e-4, err_msg=key)


def test_weights_of_the_first_process_are_those_of_all(tmp_path):
    corpus, config, training = KINDS["stream-rnn-rmsprop-tied"]
    corpus, seeds = corpus(), iter((3, 5))

    def another(model):
        torch.manual_seed(next(seeds))
        return SequenceModel(config, corpus.vocabulary, framed=False)

    (one, _), (other, _) = trained_by(2, corpus, config, replace(training, max_steps=3), changed=another)
    assert all(torch.equal(w, other.state_dict()[key]) for key, w in one.state_dict().items())


@pytest.mark.parametrize("size", [2, 5])  # of which some have no row
@pytest.mark.parametrize("make", [stream_corpus, sequence_corpus])
@pytest.mark.parametrize("limits", [{}, {"max_seconds": 60.0}, {"max_symbols": 20}])
def test_validation_is_shared(make, size, limits):
    corpus = make()
    torch.manual_seed(0)
    model = SequenceModel(ModelConfig("gru", hidden_size=6), corpus.vocabulary, framed=not corpus.stream)
    alone = evaluate(model, corpus, "validation", **limits)
    for found in crew(size, lambda ranks: evaluate(model, corpus, "validation", ranks=ranks, **limits)):
        assert found.nats == pytest.approx(alone.nats, abs=1e-6)
        assert replace(found, nats=0.0) == replace(alone, nats=0.0)


def test_share_without_a_row_counts_as_no_string():
    corpus = Corpus.from_sequences([["a", "b"]] * 9, validation=0.2, test=0)
    model, _ = trained(corpus, ModelConfig("gru", hidden_size=6), TrainingConfig(learning_rate=0.05, max_steps=30))
    assert evaluate(model, corpus, "validation").exact_strings == 1
    for found in crew(3, lambda ranks: evaluate(model, corpus, "validation", ranks=ranks)):
        assert found.exact_strings == 1


def test_only_the_first_process_calls_callbacks_and_all_end_when_one_of_them_fails(tmp_path):
    corpus, model, training = KINDS["stream-rnn-rmsprop-tied"]
    called = []

    class Full(Callback):
        def on_log(self, run, line):
            called.append(run.ranks.first)
            if run.clock.step == 40:
                raise OSError("the disk is full")

    first, second = trained_by(2, corpus(), model, training, tmp_path / "run", callbacks=[Full()])
    assert isinstance(first, OSError)
    assert isinstance(second, RankLost)
    assert str(second).endswith("failed: the disk is full")
    assert called == [True] * 4


def test_run_without_folder_ends_alike(tmp_path):
    corpus, model, training = KINDS["stream-rnn-rmsprop-tied"]
    corpus = corpus()
    _, alone = trained(corpus, model, training)
    for _, result in trained_by(2, corpus, model, training):
        assert result.folder is None
        assert result.nats == pytest.approx(alone.nats, abs=1e-6)


def test_time_is_that_of_the_first_process(monkeypatch):
    corpus, model, training = KINDS["stream-rnn-rmsprop-tied"]
    limits = {"max_steps": 0, "max_minutes": 0.02, "schedule": "cosine", "accumulate": 3}
    (one, first), (other, second) = trained_by(2, corpus(), model, replace(training, **limits))
    assert (first.ended, first.steps) == ("max_minutes", second.steps)
    assert all(torch.equal(w, other.state_dict()[key]) for key, w in one.state_dict().items())


def test_signal_to_one_process_ends_all_and_saves(tmp_path, monkeypatch):
    corpus, model, training = KINDS["stream-gru-adamw-cosine"]
    given, read = [], loops.stop_requested

    class Ask(Callback):
        def on_log(self, run, line):
            if line["step"] == 30:
                next(stop for thread, stop in given if thread != threading.get_ident()).set()  # of the other process

    @contextmanager
    def seen():
        with read() as stop:
            given.append((threading.get_ident(), stop))
            yield stop

    monkeypatch.setattr(loops, "stop_requested", seen)
    ended = trained_by(2, corpus(), model, training, tmp_path / "run", callbacks=[Ask()])
    [steps] = {result.steps for _, result in ended}
    assert {result.ended for _, result in ended} == {"signal"}
    assert 30 <= steps <= 32
    assert load_checkpoint(tmp_path / "run")[1]["clock"]["step"] == steps


def test_divergence_is_met_by_all(tmp_path):
    corpus, model, training = KINDS["stream-rnn-rmsprop-tied"]
    wild = replace(training, optimiser="sgd", learning_rate=1e9, clip_norm=0.0)
    errors = trained_by(2, corpus(), replace(model, nonlinearity="relu"), wild, tmp_path / "run")
    assert all(isinstance(error, TrainingDiverged) for error in errors), errors
    assert str(errors[0]) == str(errors[1])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"corpus": Corpus.from_text("other text " * 99)}, "has data with the fingerprint"),
        ({"training": {"learning_rate": 0.5}}, "has learning_rate=0.5, rank 0"),
        ({"model": {"hidden_size": 5}}, "has hidden_size=5, rank 0"),
        ({"resume": True}, "has resume=True, rank 0"),
    ],
)
def test_process_with_other_data_or_options_is_named_before_anything_is_written(change, said, tmp_path):
    corpus, config, training = stream_corpus(), ModelConfig(hidden_size=4), TrainingConfig(max_steps=3)

    def work(ranks):
        own = change if ranks.share.rank == 1 else {}
        data = own.get("corpus", corpus)
        model = SequenceModel(replace(config, **own.get("model", {})), data.vocabulary, framed=False)
        options = replace(training, **own.get("training", {}))
        return loops.train(model, data, options, tmp_path / "run", ranks=ranks, resume=own.get("resume", False))

    for error in crew(2, work):
        assert isinstance(error, RanksDiffer)
        assert str(error).startswith("rank 1 (pid ")
        assert said in str(error)
    assert not (tmp_path / "run").exists()


def test_batch_of_fewer_rows_than_processes_is_refused():
    training = TrainingConfig(max_steps=3, batch_size=2)
    for error in trained_by(3, stream_corpus(), ModelConfig(hidden_size=4), training):
        assert isinstance(error, ValueError)
        assert str(error) == "batch_size=2 is less than a row for each of 3 processes; give 3 or more"


def test_all_processes_choose_the_recipe_of_the_first_with_rows_for_each(monkeypatch):
    corpus, measured = stream_corpus(), itertools.count(1)
    monkeypatch.setattr(calibration, "measured_speed", lambda *_: Speed(1e-2 * next(measured), 1e-11))
    recipes = crew(3, lambda ranks: recipe_for(corpus, ranks=ranks, max_minutes=0.5))
    assert recipes == [recipes[0]] * 3
    assert recipes[0].training.batch_size == 3 * recipe_for(corpus, max_epochs=1).training.batch_size


def test_interrupted_run_of_several_processes_goes_on(tmp_path):
    corpus, model, training = KINDS["stream-gru-adamw-cosine"]
    corpus, training = corpus(), replace(training, checkpoint_every=11)

    def fail():
        raise OSError("a power cut")

    trained_by(2, corpus, model, training, tmp_path / "cut", callbacks=[Interrupt(40, fail)])
    trained_by(2, corpus, model, training, tmp_path / "cut", resume=True)
    trained_by(2, corpus, model, training, tmp_path / "whole")
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")
    weights = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("cut", "whole")]
    assert weights[0] == weights[1]
