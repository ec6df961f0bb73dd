"""An interrupted run ends with the bytes of an uninterrupted one, and another one is not taken for it."""

import os
import signal
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_model

from tests.lm.runs import RUNS, Interrupt, PowerCut, metrics, power_cut, stream_corpus, trained
from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.corpus.corpus import Corpus
from unrolled.lm.callbacks import Callback
from unrolled.lm.evaluation import evaluate
from unrolled.lm.metrics_log import read_metrics
from unrolled.lm.model import SequenceModel
from unrolled.lm.run_state import ResumeError
from unrolled.lm.signals import stop_requested
from unrolled.lm.training import train
from unrolled.saved.atomic_files import CheckpointError
from unrolled.saved.checkpoints import load_checkpoint, save_checkpoint


@pytest.fixture
def heeded():
    """Let a signal have its effect in a test, though whoever started the tests ignores it, as nohup does a SIGHUP."""
    before = {}
    yield lambda number: before.setdefault(number, signal.signal(number, signal.default_int_handler))
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.filterwarnings("ignore:precision='bfloat16' brings no speed here")
@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("end", ["SIGINT", "SIGTERM", "SIGHUP", "power cut"])
def test_resumed_run_ends_with_the_same_bytes(name, end, tmp_path, heeded):
    corpus, model, training = RUNS[name]
    corpus = corpus()
    training = TrainingConfig(**{**vars(training), "checkpoint_every": 11})
    trained(corpus, model, training, tmp_path / "whole")
    if end == "power cut":
        with pytest.raises(PowerCut):
            trained(corpus, model, training, tmp_path / "cut", callbacks=[Interrupt(20, power_cut)])
    else:
        number = getattr(signal, end)
        heeded(number)
        _, result = trained(
            corpus, model, training, tmp_path / "cut", callbacks=[Interrupt(20, lambda: signal.raise_signal(number))]
        )
        assert (result.ended, 20 <= result.steps <= 24) == ("signal", True)
    _, result = trained(corpus, model, training, tmp_path / "cut", resume=True)
    assert (result.ended, result.steps) == ("max_steps", 31)
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")
    for file in ("model.safetensors", "config.json", "vocabulary.json"):
        assert (tmp_path / "cut" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file


def test_hangup_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_requested() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_run_that_is_cut_keeps_the_weights_of_its_best_validation(tmp_path):
    corpus, model, training = RUNS["stream-rnn-rmsprop-tied"]
    corpus = corpus()
    with pytest.raises(PowerCut):
        trained(corpus, model, training, tmp_path / "cut", callbacks=[Interrupt(20, power_cut)])  # before a checkpoint
    measured = [line for line in metrics(tmp_path / "cut") if "validation_nats" in line]
    assert [line["step"] for line in measured] == [6, 12, 18, 24]
    kept = evaluate(SequenceModel.from_pretrained(tmp_path / "cut"), corpus, "validation").nats
    assert kept == pytest.approx(min(line["validation_nats"] for line in measured[:3]))
    assert load_checkpoint(tmp_path / "cut")[1]["clock"]["step"] == 18


def test_resume_needs_no_file_of_the_model(tmp_path):
    corpus, model, training = RUNS["stream-gru-adamw-cosine"]
    with pytest.raises(PowerCut):
        trained(corpus(), model, training, tmp_path / "run", callbacks=[Interrupt(20, power_cut)])
    for name in ("config.json", "vocabulary.json", "model.safetensors"):
        (tmp_path / "run" / name).unlink()
    trained(corpus(), model, training, tmp_path / "run", resume=True)
    trained(corpus(), model, training, tmp_path / "whole")
    for name in ("config.json", "vocabulary.json", "model.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_resume_keeps_what_the_run_recorded_of_its_data(tmp_path):
    corpus, model, training = RUNS["stream-gru-adamw-cosine"]
    origin = {"data": {"lines": False}, "sources": ["a.txt"]}
    trained(corpus(), model, training, tmp_path / "run", origin=origin)
    before = (tmp_path / "run" / "config.json").read_bytes()
    trained(corpus(), model, training, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "config.json").read_bytes() == before


def test_second_run_in_a_folder_is_refused_while_the_first_goes_on(tmp_path):
    corpus, model, training = RUNS["stream-gru-adamw-cosine"]
    refused = []

    def again():
        for resume in (False, True):
            random = torch.random.fork_rng(devices=[])  # that of the run goes on as it was
            with (
                random,
                pytest.raises(CheckpointError, match=f"pid {os.getpid()} on .* is writing to this folder") as caught,
            ):
                trained(corpus(), model, training, tmp_path / "run", resume=resume)
            refused.append(caught.value)

    trained(corpus(), model, training, tmp_path / "run", callbacks=[Interrupt(30, again)])
    trained(corpus(), model, training, tmp_path / "whole")
    assert len(refused) == 2
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")


def test_resume_of_a_finished_run_changes_nothing(tmp_path):
    corpus, model, training = RUNS["stream-gru-adamw-cosine"]
    trained(corpus(), model, training, tmp_path / "run")
    before = metrics(tmp_path / "run"), (tmp_path / "run" / "model.safetensors").read_bytes()
    trained(corpus(), model, training, tmp_path / "run", resume=True)
    assert (metrics(tmp_path / "run"), (tmp_path / "run" / "model.safetensors").read_bytes()) == before


@pytest.mark.filterwarnings("ignore:precision='bfloat16' brings no speed here")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"hidden_size": 8}}, "hidden_size was 7 when this run began and is 8 now"),
        ({"training": {"learning_rate": 0.1}}, "learning_rate was 2.0 when this run began and is 0.1 now"),
        ({"training": {"precision": "bfloat16"}}, "precision was 'float32' when this run began and is 'bfloat16' now"),
        ({"corpus": stream_corpus}, "this run began with other data"),
    ],
)
def test_resume_refuses_another_run(change, message, tmp_path):
    corpus, model, training = RUNS["sequences-lstm-sgd-plateau-accumulate"]
    trained(corpus(), model, training, tmp_path / "run")
    model = ModelConfig(**{**vars(model), **change.get("model", {})})
    training = TrainingConfig(**{**vars(training), **change.get("training", {})})
    with pytest.raises(ResumeError, match=message):
        trained(change.get("corpus", corpus)(), model, training, tmp_path / "run", resume=True)


def test_resume_compares_options_that_older_versions_did_not_know(tmp_path):
    corpus, model, training = RUNS["stream-rnn-rmsprop-tied"]
    trained(corpus(), model, training, tmp_path / "run")
    tensors, state = load_checkpoint(tmp_path / "run")
    del state["config"]["model"]["learned_initial_state"]
    del state["config"]["training"]["precision"]
    state["config"]["model"]["checkpoint_steps"] = 7  # changes no bit
    save_checkpoint(tmp_path / "run", training.max_steps, tensors, state)
    assert trained(corpus(), model, training, tmp_path / "run", resume=True)[1].steps == training.max_steps
    save_checkpoint(tmp_path / "run", training.max_steps, tensors, state)
    learned = ModelConfig(**{**vars(model), "learned_initial_state": True})
    with pytest.raises(ResumeError, match="learned_initial_state was False when this run began and is True now"):
        trained(corpus(), learned, training, tmp_path / "run", resume=True)


def test_resume_may_go_further(tmp_path):
    corpus, model, training = RUNS["stream-rnn-rmsprop-tied"]
    trained(corpus(), model, training, tmp_path / "run")
    _, result = trained(
        corpus(), model, TrainingConfig(**{**vars(training), "max_steps": 40}), tmp_path / "run", resume=True
    )
    assert result.steps == 40


def test_resume_with_another_end_moves_the_end_of_the_cosine_and_says_so(tmp_path):
    corpus, model, training = RUNS["stream-gru-adamw-cosine"]
    trained(corpus(), model, training, tmp_path / "run")
    later = replace(training, max_steps=2 * training.max_steps)
    with pytest.warns(
        UserWarning, match="began with max_steps=31 and ends by max_steps=62: .* rate is that of the new"
    ):
        _, result = trained(corpus(), model, later, tmp_path / "run", resume=True)
    assert result.steps == 62
    rates = [line["learning_rate"] for line in metrics(tmp_path / "run") if "learning_rate" in line]
    assert min(rates) < 0.01 * max(rates)
    assert rates[31 // 3] > 10 * rates[31 // 3 - 1]


def test_run_stays_in_its_folder_when_the_program_goes_to_another(tmp_path, monkeypatch):
    """A callback, or the program around it, may change the working folder: the run ended, or went on elsewhere."""
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    class Goes(Callback):
        def on_log(self, run, line):
            os.chdir(tmp_path / "there")

    corpus = Corpus.from_text("so long lives this " * 40)
    model = SequenceModel(ModelConfig(hidden_size=4), corpus.vocabulary)
    config = TrainingConfig(max_steps=8, log_every=2, checkpoint_every=4, batch_size=2, bptt=8)
    result = train(model, corpus, config, "run", callbacks=[Goes()])
    assert result.folder == tmp_path / "here" / "run"
    assert not list((tmp_path / "there").iterdir())
    assert len(read_metrics(result.folder)) >= 4


def frozen_model(seed, *names):
    torch.manual_seed(seed)
    model = SequenceModel(ModelConfig(cell="gru", embedding_size=4, hidden_size=6), stream_corpus().vocabulary)
    for name in names:
        model.get_parameter(name).requires_grad_(False)
    return model


def test_resumed_run_has_the_frozen_weights_that_it_began_with(tmp_path):
    corpus, whole, cut = stream_corpus(), TrainingConfig(max_steps=6), TrainingConfig(max_steps=3)
    names = ["embedding.weight", "rnn.bias_hh_l0"]
    one = frozen_model(0, *names)
    embedding = one.E.clone()
    train(one, corpus, replace(whole, schedule="constant"), tmp_path / "whole")
    train(frozen_model(0, *names), corpus, replace(cut, schedule="constant"), tmp_path / "cut")
    other = frozen_model(1, *names)
    assert not torch.equal(other.E, embedding)
    train(other, corpus, replace(whole, schedule="constant"), tmp_path / "cut", resume=True)
    assert torch.equal(other.E, embedding)
    read = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("whole", "cut")]
    assert read[0] == read[1]


@pytest.mark.parametrize(
    ("began", "now", "said"),
    [
        (["rnn.bias_ih_l0"], ["rnn.bias_hh_l0"], "frozen was 'rnn.bias_ih_l0' when .* is 'rnn.bias_hh_l0' now; freeze"),
        (["embedding.weight"], [], "frozen was 'embedding.weight' when this run began and is none now"),
        ([], ["embedding.weight"], "frozen was none when this run began and is 'embedding.weight' now"),
    ],
)
def test_resume_with_other_frozen_weights_is_refused(began, now, said, tmp_path):
    corpus = stream_corpus()
    train(frozen_model(0, *began), corpus, TrainingConfig(max_steps=2, schedule="constant"), tmp_path)
    with pytest.raises(ResumeError, match=said):
        train(frozen_model(0, *now), corpus, TrainingConfig(max_steps=4, schedule="constant"), tmp_path, resume=True)


@pytest.mark.parametrize("end", ["at its end", "cut"])
def test_parameters_have_storages_of_their_own_after_a_run(end, tmp_path):
    model, corpus = frozen_model(0), stream_corpus()
    parameters = [*model.parameters()]
    if end == "cut":
        with pytest.raises(PowerCut):
            train(model, corpus, TrainingConfig(max_steps=9, validate_every=2), callbacks=[Interrupt(2, power_cut)])
    else:
        train(model, corpus, TrainingConfig(max_steps=2))
        save_model(model, tmp_path / "model.safetensors")
    assert all(now is before for now, before in zip(model.parameters(), parameters, strict=True))
    assert len({p.untyped_storage().data_ptr() for p in parameters}) == len(parameters)
    assert all(p.untyped_storage().nbytes() == p.numel() * p.element_size() for p in parameters)
    assert all(p.grad is None for p in parameters)
