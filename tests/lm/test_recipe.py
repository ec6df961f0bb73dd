"""The recipe: what is chosen for which data, time and machine; that what is given stands; and that it is repeatable."""

from dataclasses import asdict
from itertools import pairwise

import pytest
import torch

from unrolled.config.model import ModelConfig
from unrolled.config.training import CHOSEN, ENDS
from unrolled.corpus.corpus import Corpus
from unrolled.lm import calibration
from unrolled.lm.calibration import likely_precision, measured_speed, recipe_for
from unrolled.lm.memory import parameters
from unrolled.lm.recipe import MINUTES, MOST_DECAY, MOST_DROPPED, MOST_PASSES, SIZES, Facts, Speed, choose

#: About the speed of two cores that multiply bfloat16 themselves, and of a slow one that does not.
QUICK, SLOW = Speed(1.5e-6, 9e-12, "bfloat16"), Speed(8e-6, 1.5e-10, "float32")
SONNETS, PLAYS, WORKS = (Facts(N, 70, True, N, N // 18) for N in (86_155, 1_003_853, 4_551_477))
NAMES, PHONES = Facts(37_000, 30, False, 6.8, 2_000), Facts(900_000, 41, False, 6.9, 50_000)
ALL = {"sonnets": SONNETS, "plays": PLAYS, "works": WORKS, "names": NAMES, "phones": PHONES}


def recipe(facts, speed=QUICK, **given):
    return choose(facts, speed, given)


@pytest.mark.parametrize("minutes", [1 / 60, 1.0, 5.0, 15.0, 600.0])
@pytest.mark.parametrize("speed", [QUICK, SLOW])
@pytest.mark.parametrize("facts", ALL.values(), ids=ALL)
def test_every_choice_is_an_option_with_a_reason_that_the_configurations_hold(facts, speed, minutes):
    found = recipe(facts, speed, max_minutes=minutes)
    options = asdict(found.model) | asdict(found.training)
    for name, value, reason in found.choices:
        assert options[name] == value
        assert reason
    assert "max_minutes" not in [choice.name for choice in found.choices]
    assert found.training.max_minutes == minutes
    assert found.training.max_epochs == MOST_PASSES
    assert found.saved_reasons() == {"chosen": {choice.name: choice.reason for choice in found.choices}}


def test_help_calls_chosen_what_is_chosen_for_some_data():
    many = Facts(10_000_000, 60_000, True, 1e7, 500_000)
    found = {choice.name for facts in (*ALL.values(), many) for choice in recipe(facts).choices}
    assert found == CHOSEN


def test_run_without_an_end_gets_the_stated_budget():
    found = recipe(PLAYS)
    assert found.training.max_minutes == MINUTES
    assert found.choices[0].name == "max_minutes"


@pytest.mark.parametrize("facts", ALL.values(), ids=ALL)
def test_more_time_or_a_faster_machine_never_gets_a_smaller_model_or_less_dropout(facts):
    by_time = [recipe(facts, max_minutes=minutes).model for minutes in (0.1, 0.5, 1, 2, 5, 10, 20, 60)]
    by_speed = [recipe(facts, Speed(k * 1e-6, k * 1e-11), max_minutes=5.0).model for k in (64, 16, 4, 1)]
    for models in (by_time, by_speed):
        for less, more in pairwise(models):
            assert less.hidden_size <= more.hidden_size
            assert less.weight_dropout <= more.weight_dropout
            assert (
                less.dropout <= more.dropout or less.hidden_size < more.hidden_size
            )  # which reads the data less often


#: The speed of two cores on which the study's runs of so many minutes read so many symbols.
MEASURED = Speed(1.9e-6, 1.55e-11, "bfloat16")


@pytest.mark.parametrize(
    ("name", "minutes", "hidden_size", "dropout", "weight_dropout", "learning_rate", "weight_decay"),
    [
        ("plays", 1, 256, 0.0, 0.0, 0.02, 0.082),
        ("plays", 5, 512, 0.05, 0.1, 0.0133, 0.082),
        ("plays", 15, 512, 0.15, 0.2, 0.0077, 0.082),
        ("sonnets", 1, 256, 0.25, 0.35, 0.02, 0.12),
        ("works", 10, 512, 0.0, 0.0, 0.0094, 0.049),
        ("names", 1, 128, 0.2, 0.3, 0.02, 0.104),
        ("phones", 1, 256, 0.0, 0.0, 0.0158, 0.037),
    ],
)
def test_choice_is_near_the_best_of_the_study(
    name, minutes, hidden_size, dropout, weight_dropout, learning_rate, weight_decay
):
    found = recipe(ALL[name], MEASURED, max_minutes=float(minutes))
    assert (found.model.hidden_size, found.model.dropout, found.model.weight_dropout) == (
        hidden_size,
        dropout,
        weight_dropout,
    )
    assert found.training.learning_rate == pytest.approx(learning_rate, rel=0.05)
    assert found.training.weight_decay == pytest.approx(weight_decay, rel=0.05)


@pytest.mark.parametrize("facts", ALL.values(), ids=ALL)
def test_symbols_count_the_same_where_batches_of_sequences_differ(facts):
    assert recipe(facts, max_minutes=1.0).training.weigh == ("batches" if facts.stream else "symbols")
    assert recipe(facts, max_minutes=1.0, weigh="batches").training.weigh == "batches"


def test_longer_runs_take_smaller_steps_and_more_data_decays_less():
    rates = [recipe(PLAYS, max_steps=steps, hidden_size=256).training.learning_rate for steps in (10, 10**4, 10**5)]
    assert rates[0] == rates[1] > rates[2]
    decays = [recipe(Facts(N, 70, True, N, 0), max_steps=9).training.weight_decay for N in (10**5, 10**6, 10**8)]
    assert decays == sorted(decays, reverse=True)
    assert len({*decays}) == 3
    small, large = (recipe(WORKS, max_steps=9, batch_size=B).training.weight_decay for B in (4, 8))
    assert large == pytest.approx(2 * small, rel=0.05)  # it is rounded
    assert recipe(PLAYS, max_steps=9, batch_size=512).training.weight_decay == MOST_DECAY


def test_only_a_run_that_could_learn_its_data_by_heart_drops_any_of_it():
    shares = [
        (found.dropout, found.weight_dropout)
        for epochs in (1, 8, 30, 300, 10**6)
        for found in [recipe(PLAYS, max_epochs=epochs, hidden_size=256).model]
    ]
    assert shares == sorted(shares)
    assert shares[0] == (0, 0)
    assert shares[-1] == (MOST_DROPPED, MOST_DROPPED)


def test_little_data_is_not_read_until_it_is_known_by_heart():
    for speed in (QUICK, SLOW):  # also where the machine turns out to be faster than it was measured
        assert recipe(SONNETS, speed, max_minutes=0.1).training.max_epochs == MOST_PASSES
    assert recipe(SONNETS, max_epochs=999).training.max_epochs == 999
    assert not recipe(SONNETS, max_steps=10**6).training.max_epochs


def test_time_that_is_too_short_for_one_pass_is_said():
    large = Facts(10**9, 70, True, 10**9, 500_000)
    [reason] = [choice.reason for choice in recipe(large, max_minutes=1.0).choices if choice.name == "max_epochs"]
    assert reason == "the time is too short for one pass: the run reads 1% of the data"
    [reason] = [choice.reason for choice in recipe(PLAYS, max_minutes=1.0).choices if choice.name == "max_epochs"]
    assert "too short" not in reason


def test_size_is_bounded_by_the_data_where_there_is_time():
    sizes = [
        recipe(Facts(N, 70, True, N, 0), max_minutes=600.0).model.hidden_size for N in (50, 10**4, 10**5, 10**6, 10**7)
    ]
    assert sizes == sorted(sizes)
    assert len({*sizes}) == len(sizes)
    assert {*sizes} <= {*SIZES}


@pytest.mark.parametrize(
    "given",
    [
        {"hidden_size": 33, "max_minutes": 1.0},
        {"cell": "gru", "learning_rate": 0.5, "max_steps": 7},
        {"cell": "rnn", "nonlinearity": "relu", "num_layers": 3, "max_epochs": 2},
        {"tied": True, "hidden_size": 20, "max_steps": 9},
        {"optimiser": "sgd", "max_steps": 9},
        {"precision": "float32", "batch_size": 5, "bptt": 9, "dropout": 0.0, "max_minutes": 3.0, "max_steps": 4},
        {"schedule": "constant", "validate_every": 3, "warmup_steps": 0, "max_steps": 8},
    ],
)
@pytest.mark.parametrize("facts", [PLAYS, NAMES], ids=["stream", "sequences"])
def test_what_is_given_stands_and_is_not_called_chosen(facts, given):
    found = recipe(facts, **given)
    options = asdict(found.model) | asdict(found.training)
    assert {name: options[name] for name in given} == given
    assert not {choice.name for choice in found.choices} & given.keys()
    assert {name for name in ENDS if options[name]} - {choice.name for choice in found.choices} == given.keys() & ENDS


@pytest.mark.parametrize("end", [{"max_steps": 500}, {"max_epochs": 3}])
def test_run_of_given_steps_does_not_depend_on_the_speed_of_the_machine(end, monkeypatch):
    corpus = Corpus.from_text("to be or not to be, that is the question\n" * 40)
    monkeypatch.setattr(calibration, "measured_speed", lambda *_: pytest.fail("looked at the clock"))
    assert recipe_for(corpus, **end) == recipe_for(corpus, **end)
    assert recipe_for(corpus, precision="float32", **end).training.precision == "float32"
    assert recipe_for(corpus, **end).training.precision == likely_precision()


def test_unknown_option_is_refused_by_its_name():
    with pytest.raises(TypeError, match="no options of a model or its training: hiden_size"):
        recipe(PLAYS, hiden_size=3)
    with pytest.raises(ValueError, match="hidden_size is 0"):
        recipe(PLAYS, hidden_size=0)


def test_trained_model_goes_on_at_a_smaller_rate():
    new, begun = (recipe(PLAYS._replace(begun=begun), max_minutes=1.0).training for begun in (False, True))
    assert begun.learning_rate < new.learning_rate
    assert recipe(PLAYS._replace(begun=True), learning_rate=0.5).training.learning_rate == 0.5


@pytest.mark.parametrize("given", [{"max_steps": 9}, {"max_steps": 10**7, "cell": "rnn"}])
def test_rate_is_that_of_the_root_however_small_it_is(given):
    rates = [recipe(PLAYS, **given, hidden_size=H).training.learning_rate for H in (10**8, 4 * 10**8)]
    assert rates[0] == pytest.approx(2 * rates[1], rel=0.05)


def test_data_without_end_gets_a_model_that_its_time_can_train_not_the_smallest():
    endless = Facts(10**9, 90, True, 1e9, 500_000)
    sizes = [recipe(endless, max_minutes=minutes).model.hidden_size for minutes in (1, 5, 60)]
    assert sizes == sorted(sizes)
    assert sizes[0] >= 128
    for minutes in (1, 5, 60):
        found = recipe(endless, max_minutes=minutes)
        read = 60 * minutes * QUICK.symbols_per_second(found.model, endless.V)
        assert read >= 20 * parameters(found.model, endless.V)
        assert "reads" in next(choice.reason for choice in found.choices if choice.name == "dropout")


def test_facts_of_a_corpus():
    stream = Facts.of(Corpus.from_text("abcd" * 100, validation=0.1, test=0.1))
    assert (stream.symbols, stream.V, stream.stream) == (319, 6, True)
    framed = Facts.of(Corpus.from_sequences(["ab", "abab"] * 10, validation=0, test=0))
    assert (framed.symbols, framed.V, framed.stream, framed.length) == (60, 4, False, 3.0)


@pytest.mark.parametrize("corpus", [
    Corpus.from_text("to be or not to be, that is the question\n" * 40),
    Corpus.from_sequences(["ab", "aabb", "aaabbb"] * 4, validation=0, test=0),
], ids=["stream", "sequences"])  # fmt: skip
def test_measured_speed_is_one_of_this_machine_and_leaves_no_trace(corpus):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    speed, V = measured_speed(corpus, "float32"), len(corpus.vocabulary)
    assert torch.equal(torch.get_rng_state(), before)
    assert speed.precision == "float32"
    rates = [speed.symbols_per_second(ModelConfig(hidden_size=H, embedding_size=8), V) for H in SIZES]
    assert rates == sorted(rates, reverse=True)
    assert all(1 < rate < 1e9 for rate in rates)


@pytest.mark.filterwarnings("ignore:.*the longest sequence has:unrolled.corpus.reading.CorpusWarning")
@pytest.mark.parametrize("framed", [False, True])
def test_speed_is_measured_on_the_beginning_of_long_data_alone(framed, monkeypatch):
    read, held = [], []

    class Counting(calibration.BatchLoader):
        def __init__(self, part, *arguments, **options):
            held.append(len(part.ids))
            super().__init__(part, *arguments, **options)

        def next(self):
            read.append(super().next())
            return read[-1]

    monkeypatch.setattr(calibration, "BatchLoader", Counting)
    text = "to be or not to be, that is the question " * 20_000
    given = {"validation": 0, "test": 0}
    corpus = Corpus.from_sequences([text, text], **given) if framed else Corpus.from_text(text, **given)
    measured_speed(corpus, "float32")
    assert max(held) <= calibration.TIMED
    assert max(batch.ids.numel() for batch in read) <= 1024
    assert len(read) <= 2 * (calibration.STEPS + 1)


def test_speed_counts_every_parameter_that_is_multiplied():
    model = ModelConfig(hidden_size=10, embedding_size=3)
    multiplied = parameters(model, 5) - 5 * 3  # a row of the embedding is looked up
    assert Speed(1.0, 2.0).symbols_per_second(model, 5) == 1 / (1 + 2 * multiplied)


@pytest.mark.parametrize(("float32", "chosen"), [(1.0, "bfloat16"), (0.97, "bfloat16"), (0.5, "float32")])
def test_faster_type_is_the_one_that_is_measured_not_the_one_that_has_units(float32, chosen, monkeypatch):
    seconds = {"float32": float32, "bfloat16": 1.0}
    monkeypatch.setattr(calibration, "has_bfloat16_units", lambda: True)
    monkeypatch.setattr(calibration, "_seconds_a_symbol", lambda config, corpus, precision, samples: seconds[precision])
    assert measured_speed(Corpus.from_text("To be, or not to be. " * 50)).precision == chosen


def test_many_symbols_are_sampled_in_larger_batches_and_smaller_steps():
    words = Facts(2_000_000, 100_000, True, 2e6, 50_000)
    few, many = recipe(words._replace(V=10_000), max_minutes=60.0), recipe(words, max_minutes=60.0)
    assert (few.training.softmax_samples, few.training.batch_size) == (0, 8)
    assert (many.training.softmax_samples, many.training.batch_size) == (4096, 32)
    whole = recipe(words, max_minutes=60.0, softmax_samples=0, hidden_size=many.model.hidden_size)
    assert many.training.learning_rate == pytest.approx(0.2 * whole.training.learning_rate, rel=0.05)
    assert many.model.hidden_size >= 128  # though the rows of rare words are many parameters
