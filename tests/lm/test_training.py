"""Training equals a plain torch loop, and ends where it should."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.lm.runs import RUNS, TEXT, metrics, sequence_corpus, stream_corpus, trained
from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.core import has_bfloat16_units
from unrolled.corpus.corpus import Corpus
from unrolled.lm.callbacks import Callback
from unrolled.lm.evaluation import evaluate
from unrolled.lm.loader import BatchLoader
from unrolled.lm.model import SequenceModel
from unrolled.lm.run import TrainingDiverged
from unrolled.lm.schedule import Schedule
from unrolled.lm.training import train
from unrolled.saved.checkpoints import load_checkpoint


def test_options_that_need_validation_data_say_that_they_have_no_effect(tmp_path):
    corpus = Corpus.from_text(TEXT, validation=0, test=0)
    model, training = ModelConfig(hidden_size=3), TrainingConfig(patience=3, schedule="plateau", max_steps=1)
    with pytest.warns(UserWarning, match="has no effect") as caught:
        trained(corpus, model, training)
    assert [str(warning.message).partition(":")[0] for warning in caught] == [
        "patience=3 has no effect",
        "schedule='plateau' has no effect",
    ]


def test_run_that_ends_worse_than_a_guess_says_so():
    with pytest.warns(
        UserWarning, match=r"worse than a uniform guess: .* nats per symbol, a guess costs 3\.\d+; lower"
    ):
        trained(stream_corpus(), ModelConfig(hidden_size=8), TrainingConfig(learning_rate=1e3, max_steps=20))


@pytest.mark.filterwarnings("ignore:precision='bfloat16' brings no speed here")
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_training_in_bfloat16_ends_near_that_in_float32_with_float32_weights(cell):
    corpus, ends = stream_corpus(), {}
    for precision in ("float32", "bfloat16"):
        options = {"precision": precision, "max_steps": 60, "batch_size": 4, "bptt": 16, "learning_rate": 0.02}
        ends[precision] = trained(corpus, ModelConfig(cell, hidden_size=16), TrainingConfig(**options))
    (wide, of_wide), (narrow, of_narrow) = ends.values()
    assert of_narrow.validation == pytest.approx(of_wide.validation, rel=0.03)
    for name, w in narrow.state_dict().items():
        assert w.dtype == torch.float32
        assert name == "start" or not torch.equal(w, wide.state_dict()[name])


def test_training_of_float64_weights_in_bfloat16_is_refused_before_a_folder_is_made(tmp_path):
    corpus = stream_corpus()
    model = SequenceModel(ModelConfig(hidden_size=3), corpus.vocabulary).double()
    with pytest.raises(ValueError, match=r"precision='bfloat16' needs weights in float32; .* are torch\.float64"):
        train(model, corpus, TrainingConfig(precision="bfloat16", max_steps=1), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("instruction_set")
def test_bfloat16_without_units_for_it_trains_with_a_note():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, result = trained(
            stream_corpus(),
            ModelConfig("gru", hidden_size=8),
            TrainingConfig(precision="bfloat16", max_steps=20, batch_size=4, bptt=16, learning_rate=0.02),
        )
    expected = [] if has_bfloat16_units() else ["precision='bfloat16' brings no speed here"]
    assert [str(one.message).partition(":")[0] for one in caught] == expected
    assert result.validation < 3


def plain_torch_weights(corpus, model, training, steps):
    """Return the weights after the same steps in plain torch: torch.nn, torch.optim, mean cross-entropy."""
    torch.manual_seed(training.seed)
    mine = SequenceModel(model, corpus.vocabulary, framed=True)
    rnn = torch.nn.GRU(len(corpus.vocabulary), model.hidden_size)
    rnn.load_state_dict(mine.rnn.state_dict())
    head = torch.nn.Linear(model.hidden_size, len(corpus.vocabulary))
    head.load_state_dict(mine.head.state_dict())
    parameters = [*rnn.parameters(), *head.parameters()]
    rates = {"lr": training.learning_rate, "weight_decay": training.weight_decay}
    rule = {
        "adamw": lambda: torch.optim.AdamW(parameters, **rates),
        "sgd": lambda: torch.optim.SGD(parameters, momentum=training.momentum, **rates),
        "rmsprop": lambda: torch.optim.RMSprop(parameters, momentum=training.momentum, **rates),
    }[training.optimiser]()
    loader = BatchLoader(corpus.train, False, training.batch_size, training.bptt, training.seed)
    for _ in range(steps):
        batch = loader.next()
        x = torch.nn.functional.one_hot(batch.ids, len(corpus.vocabulary)).float()
        logits = head(rnn(x)[0])
        rule.zero_grad()
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="sum")
        mean = corpus.train.predicted / loader.batches_per_epoch  # symbols of a batch
        (loss / (mean if training.weigh == "symbols" else batch.N)).backward()
        torch.nn.utils.clip_grad_norm_(parameters, training.clip_norm)
        rule.step()
    return {**{f"rnn.{k}": v for k, v in rnn.state_dict().items()}, "head.weight": head.weight, "head.bias": head.bias}


@pytest.mark.parametrize("weigh", ["batches", "symbols"])
@pytest.mark.parametrize("optimiser", ["adamw", "sgd", "rmsprop"])
def test_training_matches_a_plain_torch_loop(optimiser, weigh):
    corpus = Corpus.from_sequences([["a"] * n + ["b"] * n for n in range(1, 14)], validation=0, test=0)
    model = ModelConfig(cell="gru", hidden_size=9)
    training = TrainingConfig(
        optimiser=optimiser,
        learning_rate=0.01,
        weight_decay=0.01,
        clip_norm=0.05,
        max_steps=12,
        max_epochs=0,
        batch_size=4,
        weigh=weigh,
    )
    got, _ = trained(corpus, model, training)
    want = plain_torch_weights(corpus, model, training, 12)
    for name, value in want.items():
        np.testing.assert_allclose(got.state_dict()[name], value.detach(), atol=2e-5, err_msg=name)


def test_accumulation_takes_the_step_of_one_large_batch():
    corpus = Corpus.from_sequences([["a"] * 3 + ["b"] * 3 for _ in range(8)], validation=0, test=0)
    model = ModelConfig(cell="lstm", hidden_size=5)
    common = {"optimiser": "sgd", "learning_rate": 0.3, "max_steps": 6, "max_epochs": 0}
    small, _ = trained(corpus, model, TrainingConfig(batch_size=2, accumulate=4, **common))
    large, _ = trained(corpus, model, TrainingConfig(batch_size=8, **common))
    for (name, got), want in zip(small.state_dict().items(), large.state_dict().values(), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-6, err_msg=name)


def test_every_symbol_counts_the_same_in_a_step_of_a_whole_epoch():
    corpus = Corpus.from_sequences([["a", "b"] * n for n in (1, 1, 2, 7)], validation=0, test=0)
    common = {"optimiser": "sgd", "learning_rate": 0.3, "max_steps": 3, "max_epochs": 0, "batch_size": 1}
    ends = {
        (weigh, accumulate): trained(
            corpus,
            ModelConfig(cell="gru", hidden_size=5),
            TrainingConfig(weigh=weigh, accumulate=accumulate, **common),
        )[0].state_dict()["head.weight"]
        for weigh in ("batches", "symbols")
        for accumulate in (1, 4)
    }
    torch.testing.assert_close(ends["symbols", 4], ends["batches", 4])
    assert (ends["symbols", 1] - ends["batches", 1]).abs().max() > 1e-3


def test_stream_state_is_carried_between_chunks_and_reset_each_epoch():
    corpus = stream_corpus()
    model = SequenceModel(ModelConfig(cell="lstm", hidden_size=5), corpus.vocabulary, framed=False)
    loader = BatchLoader(corpus.train, True, 1, 7, 0)
    state, nats = None, []
    for _ in range(loader.batches_per_epoch):
        batch = loader.next()
        loss, state = model.loss(batch.ids, batch.targets, None if batch.reset else state, reduction="sum")
        nats.append(loss.item())
    assert loader.next().reset
    ids = torch.from_numpy(corpus.train.ids.astype(np.int64))[:, None]
    whole, _ = model.loss(ids[:-1], ids[1:])
    assert sum(nats) / (len(ids) - 1) == pytest.approx(whole.item(), rel=1e-5)


def test_divergence_names_step_batch_and_norm_and_keeps_the_checkpoint(tmp_path):
    corpus = stream_corpus()
    training = TrainingConfig(
        optimiser="sgd", learning_rate=1e9, clip_norm=0, momentum=0.0, batch_size=3, bptt=7, max_steps=50
    )
    message = r"diverged at step \d+, batch \d+ of epoch 1: loss \S+ nats per symbol, gradient norm \S+; the last good"
    message += r" checkpoint is in \S+ Lower learning_rate \(now 1e\+09\) or clip gradients with clip_norm"
    with pytest.raises(TrainingDiverged, match=message):
        trained(corpus, ModelConfig(cell="rnn", nonlinearity="relu", hidden_size=5), training, tmp_path / "run")
    tensors, _ = load_checkpoint(tmp_path / "run")
    assert np.isfinite(tensors["values"]).all()
    SequenceModel.from_pretrained(tmp_path / "run")


class Overwrite(Callback):
    """Puts a number into a weight after a step."""

    def __init__(self, step, number):
        self.step, self.number = step, number

    def on_log(self, run, line):
        if line["step"] == self.step:
            run.optimiser.flat.values.data[0] = self.number


@pytest.mark.filterwarnings("ignore:validate_every=4 has no effect")
@pytest.mark.parametrize(
    ("validation", "found"), [(0.1, "validation loss nan nats per symbol"), (0, "a weight is not finite")]
)
def test_weights_that_are_not_finite_are_divergence_and_no_model_is_written(tmp_path, validation, found):
    corpus = Corpus.from_text(TEXT, validation=validation, test=0)
    training = TrainingConfig(batch_size=3, bptt=7, max_steps=4, log_every=1, validate_every=4)
    with pytest.raises(TrainingDiverged, match=f"diverged at step 4, batch 4 of epoch 1: {found}; the last good"):
        trained(
            corpus,
            ModelConfig(cell="gru", hidden_size=5),
            training,
            tmp_path / "run",
            callbacks=[Overwrite(4, float("nan"))],
        )
    SequenceModel.from_pretrained(tmp_path / "run")


def test_early_stopping_ends_training_and_the_best_weights_are_kept(tmp_path):
    corpus = Corpus.from_text(TEXT[:400], validation=0.3, test=0)
    training = TrainingConfig(
        learning_rate=0.05, patience=3, validate_every=2, batch_size=2, bptt=20, max_steps=400, max_epochs=0
    )
    model, result = trained(corpus, ModelConfig(cell="gru", hidden_size=16), training, tmp_path / "run")
    losses = [line["validation_nats"] for line in metrics(tmp_path / "run") if "validation_nats" in line]
    assert result.ended == "patience"
    assert losses.index(min(losses)) == len(losses) - 1 - training.patience
    assert result.validation == min(losses)
    assert evaluate(model, corpus, "validation").nats == pytest.approx(min(losses), rel=1e-6)


def test_limits_end_training():
    corpus, model, _ = RUNS["sequences-lstm-sgd-plateau-accumulate"]
    corpus = corpus()
    assert trained(corpus, model, TrainingConfig(max_epochs=3))[1].ended == "max_epochs"
    assert trained(corpus, model, TrainingConfig(max_epochs=0, max_minutes=1e-6))[1].ended == "max_minutes"


def test_plateau_schedule_cuts_the_rate_after_its_patience():
    schedule = Schedule(
        TrainingConfig(schedule="plateau", plateau_patience=2, plateau_factor=0.5, learning_rate=1.0), 0
    )
    rates = []
    for nats in (3.0, 2.0, 2.1, 2.2, 2.3, 1.9):
        schedule.validated(nats)
        rates.append(schedule.rate(100))
    assert rates == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5]


def test_training_does_not_change_the_random_state_of_torch():
    corpus, model, training = RUNS["stream-gru-adamw-cosine"]
    torch.manual_seed(11)
    fresh = SequenceModel(model, stream_corpus().vocabulary, framed=False)
    before = torch.get_rng_state()
    train(fresh, corpus(), training)
    assert torch.equal(torch.get_rng_state(), before)


def test_training_refuses_a_corpus_with_another_vocabulary():
    model = SequenceModel(ModelConfig(hidden_size=3), sequence_corpus().vocabulary)
    with pytest.raises(ValueError, match=r"the corpus is read as .*, the model knows"):
        train(model, stream_corpus(), TrainingConfig(max_steps=1))


@pytest.mark.parametrize("corpus", [stream_corpus(), sequence_corpus()], ids=["stream", "sequences"])
def test_model_learns_what_the_corpus_is_unless_it_was_made_for_the_other(corpus):
    config, one = ModelConfig(cell="rnn", hidden_size=3), TrainingConfig(max_steps=1)
    model = SequenceModel(config, corpus.vocabulary)
    train(model, corpus, one)
    assert model.framed is not corpus.stream
    told = SequenceModel(config, corpus.vocabulary, framed=corpus.stream)
    with pytest.raises(ValueError, match=f"framed={corpus.stream}; make it with framed={not corpus.stream}"):
        train(told, corpus, one)


def test_cosine_ends_with_the_time_as_with_the_steps():
    config = TrainingConfig(schedule="cosine", learning_rate=1.0, max_minutes=1.0, max_epochs=0)
    by_time = [Schedule(config, 0).rate(step, 15.0 * step) for step in range(5)]
    assert by_time == [Schedule(config, 4).rate(step) for step in range(5)]
    both = Schedule(replace(config, max_steps=100), 100)
    assert both.rate(50, 0.0) == both.rate(0, 30.0) == both.rate(50, 30.0) == pytest.approx(0.5)


@pytest.mark.parametrize(("batches", "accumulate", "steps"), [(4, 3, 2), (4, 8, 1), (5, 2, 3), (4, 2, 2)])
def test_every_step_of_a_run_of_whole_epochs_has_a_rate(batches, accumulate, steps, tmp_path):
    corpus = Corpus.from_text("ab\n" * (2 * batches), lines=True, validation=0, test=0)
    options = {"batch_size": 2, "max_epochs": 1, "schedule": "cosine", "warmup_steps": 0, "log_every": 1}
    _, result = trained(
        corpus, ModelConfig(hidden_size=3), TrainingConfig(accumulate=accumulate, **options), tmp_path / "run"
    )
    rates = [line["learning_rate"] for line in metrics(tmp_path / "run")]
    assert (result.steps, len(rates)) == (steps, steps)
    assert all(rate > 0 for rate in rates)
