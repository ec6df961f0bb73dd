"""Sweeps: trials that end, are pruned, diverge or are interrupted; studies that are resumed, shared or out of reach."""

import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

optuna = pytest.importorskip("optuna", reason="needs [sweep]")

from unrolled.config.sweep import SweepConfig  # noqa: E402
from unrolled.corpus.corpus import Corpus  # noqa: E402
from unrolled.lm import sweep as module  # noqa: E402
from unrolled.lm.callbacks import Callback  # noqa: E402
from unrolled.lm.sweep import Sweep, SweepError, done  # noqa: E402
from unrolled.lm.training import train  # noqa: E402

TEXT = "so long as men can breathe or eyes can see\n" * 40


@pytest.fixture(autouse=True)
def same_draws(monkeypatch):
    """Let every study draw the same options, so that those of a short search all come."""
    make = optuna.create_study
    monkeypatch.setattr(
        optuna, "create_study", lambda **given: make(**given, sampler=optuna.samplers.TPESampler(seed=2))
    )


@pytest.fixture(scope="module")
def corpus():
    return Corpus.from_text(TEXT, validation=0.1, test=0)


def searching(given=None, **search):
    search = search or {"learning_rate": {"low": 1e-3, "high": 0.1, "log": True}, "hidden_size": [3, 9]}
    given = {"max_steps": 10, "batch_size": 2, "bptt": 8} | (given or {})
    model = {name: given.pop(name) for name in ("cell", "nonlinearity", "tied", "embedding_size") if name in given}
    return SweepConfig.from_dict({"sources": ["-"], "model": model, "training": given, "search": search})


def test_trials_take_their_options_from_the_search_and_the_best_is_the_lowest(corpus, tmp_path):
    told = []
    sweep = Sweep(corpus, searching(), tmp_path / "study.journal")
    assert sweep.run(4, told.append)
    assert told == sweep.trials()
    assert [trial.number for trial in told] == [0, 1, 2, 3]
    for trial in told:
        assert 1e-3 <= trial.options["learning_rate"] <= 0.1
        assert trial.options["hidden_size"] in (3, 9)
        assert trial.bits > 0
        assert not trial.note
    best, config = sweep.best(), sweep.best_config()
    assert best.bits == min(trial.bits for trial in told)
    assert config.model.hidden_size == best.options["hidden_size"]
    assert config.training.learning_rate == best.options["learning_rate"]
    assert (config.training.max_steps, config.training.batch_size) == (10, 2)


def test_best_options_train_the_model_of_the_trial(corpus, tmp_path):
    import torch

    from unrolled.lm.model import SequenceModel

    sweep = Sweep(corpus, searching(), tmp_path / "study.journal")
    sweep.run(2)
    config = sweep.best_config()
    torch.manual_seed(config.training.seed)
    model = SequenceModel(config.model, corpus.vocabulary, framed=False)
    result = train(model, corpus, config.training)
    assert result.validation / 0.6931471805599453 == pytest.approx(sweep.best().bits, rel=1e-12)


def test_study_goes_on_where_it_was_and_counts_what_is_there(corpus, tmp_path):
    Sweep(corpus, searching(), tmp_path / "study.journal").run(2)
    again, told = Sweep(corpus, searching(), tmp_path / "study.journal"), []
    assert again.run(3, told.append)
    assert [trial.number for trial in told] == [2]
    assert again.run(3, told.append)
    assert len(told) == 1


@pytest.mark.parametrize("left", [b"", b'{"op_code":4,"worker_id":"a'], ids=["whole", "torn"])
def test_study_goes_on_after_a_process_that_was_killed_while_it_wrote(left, corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    killed = "import os; os.fsync = lambda file: os.kill(os.getpid(), 9); from unrolled.lm.sweep import _reached; "
    assert subprocess.run([sys.executable, "-c", f"{killed}_reached('study.journal', 'sweep')"]).returncode == -9
    with open("study.journal", "ab") as journal:
        journal.write(left)
    for trials in (1, 2):
        assert Sweep(corpus, searching(), "study.journal").run(trials)
    assert [path.name for path in tmp_path.iterdir()] == ["study.journal"]


def test_workers_share_one_study(corpus, tmp_path):
    storage = f"sqlite:///{tmp_path}/studies.db"
    first, second = (Sweep(corpus, searching(), storage) for _ in range(2))
    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(lambda sweep: sweep.run(6), (first, second)))
    assert first.trials() == second.trials()
    assert 6 <= len(first.trials()) <= 7  # one may have begun before the other's last ended


@pytest.mark.parametrize(
    ("given", "search", "said"),
    [
        ({"seed": 1}, {}, r"other options in \[model\] or \[training\]"),
        ({}, {"dropout": [0.0, 0.5]}, r"another \[search\]"),
    ],
)
def test_study_of_another_sweep_is_refused(given, search, said, corpus, tmp_path):
    storage = tmp_path / "study.journal"
    Sweep(corpus, searching(), storage)
    with pytest.raises(SweepError, match=f"study.journal: this study began with {said}; give it another place or name"):
        Sweep(corpus, searching(given, **search), storage)
    with pytest.raises(SweepError, match="this study began with other data"):
        Sweep(Corpus.from_text(TEXT[::-1], validation=0.1, test=0), searching(), storage)
    Sweep(corpus, searching(given, **search), storage, name="another")


def test_trial_that_diverges_or_cannot_be_trained_ends_early_and_the_sweep_goes_on(corpus, tmp_path):
    sweep = Sweep(
        corpus,
        searching(
            {"optimiser": "sgd", "clip_norm": 0.0, "cell": "rnn", "nonlinearity": "relu"}, learning_rate=[1e9, 0.1]
        ),
        tmp_path / "a",
    )
    sweep.run(6)
    notes = {trial.options["learning_rate"]: trial.note for trial in sweep.trials()}
    assert re.match(r"diverged: training diverged at step \d+", notes[1e9])
    assert notes[0.1] == ""
    assert sweep.best().options == {"learning_rate": 0.1}
    wide = Sweep(corpus, searching({"tied": True, "embedding_size": 4}, hidden_size=[4, 5]), tmp_path / "b")
    wide.run(6)
    notes = {trial.options["hidden_size"]: trial.note for trial in wide.trials()}
    assert "cannot be trained: tied shares the embedding with the head" in notes[5]
    huge = Sweep(corpus, searching(hidden_size=[10**6, 779_390_523]), tmp_path / "c")
    assert huge.run(2)
    assert all(re.search("are free; lower hidden_size", trial.note) for trial in huge.trials())
    assert huge.best() is huge.best_config() is None
    assert huge.importance() == {}


def test_trial_above_the_median_ends_before_its_run_does(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "UNCOMPARED", 2)
    sweep = Sweep(corpus, searching({"max_steps": 100}, learning_rate=[0.02, 1e-6]), tmp_path / "study.journal")
    sweep.run(9)
    pruned = [trial for trial in sweep.trials() if trial.note]
    assert pruned
    assert {trial.options["learning_rate"] for trial in pruned} == {1e-6}
    for trial in pruned:
        assert re.fullmatch(r"above the median after \d+ % of its run", trial.note)
        assert trial.seconds > 0
        assert trial.bits > sweep.best().bits


def test_options_that_matter_are_found(corpus, tmp_path):
    search = {"learning_rate": {"low": 1e-6, "high": 0.05, "log": True}, "seed": {"low": 0, "high": 1000}}
    sweep = Sweep(corpus, searching({"max_steps": 30}, **search), tmp_path / "study.journal")
    sweep.run(14)
    found = sweep.importance()
    assert sum(found.values()) == pytest.approx(1)
    assert [*found] == ["learning_rate", "seed"]


def test_no_option_matters_where_the_best_trials_are_as_good_as_the_worst(corpus, tmp_path, recwarn):
    sweep = Sweep(corpus, searching({"max_steps": 5}, learning_rate=[0.02, 1e-6]), tmp_path / "study.journal")
    for rate in (0.02, 1e-6, 1e-6, 1e-6):
        sweep._study.enqueue_trial({"learning_rate": rate})
    sweep.run(4)
    assert len({trial.bits for trial in sweep.trials()}) == 2
    assert sweep.importance() == {}
    assert not [w for w in recwarn if "importances" in str(w.message)]


def test_signal_ends_the_sweep_and_the_trial_under_way_does_not_count(corpus, tmp_path, monkeypatch):
    def interrupted(model, corpus, training, callbacks, ranks):
        class Interrupt(Callback):
            def on_validation_end(self, run, line):
                signal.raise_signal(signal.SIGINT)

        return train(model, corpus, training, callbacks=[*callbacks, Interrupt()], ranks=ranks)

    sweep = Sweep(corpus, searching(), tmp_path / "study.journal")
    sweep.run(1)
    monkeypatch.setattr(module, "train", interrupted)
    assert not sweep.run(5)
    assert len(sweep.trials()) == 1
    monkeypatch.undo()
    assert Sweep(corpus, searching(), tmp_path / "study.journal").run(2)


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        ("nosuch://host/db", "cannot reach the study: "),
        ("postgresql+nosuch://ann:secret@host/db", r"postgresql\+nosuch://\*\*\*@host/db: cannot reach the study: "),
        (
            "postgresql+nosuch://host/db?user=ann&password=secret",
            r"postgresql\+nosuch://host/db\?\*\*\*: cannot reach ",
        ),
        ("sqlite:////nowhere/at/all.db", "cannot reach the study: .*unable to open database file"),
        ("/dev/null/study", "cannot reach the study: File exists"),
    ],
)
def test_study_that_cannot_be_reached_is_one_sentence_without_the_password(storage, said, corpus):
    with pytest.raises(SweepError, match=said) as caught:
        Sweep(corpus, searching(), storage)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("held", ["so long\nlives this\n", "so long lives this", '{"a": 1}', "SQLite format 3\0"])
def test_file_that_is_no_study_is_named_and_stays_as_it_is(held, corpus, tmp_path):
    file = tmp_path / "study.db"
    file.write_text(held)
    with pytest.raises(
        SweepError, match=r"study\.db: cannot reach the study: the file is not a study; name another, or"
    ):
        Sweep(corpus, searching(), file)
    assert file.read_text() == held


@pytest.mark.parametrize("held", ["", '{"op_c', '{"op_code":0,"worker_id":"a'])
def test_study_whose_first_line_was_cut_off_begins_anew(held, corpus, tmp_path):
    (tmp_path / "study.journal").write_text(held)
    assert Sweep(corpus, searching(), tmp_path / "study.journal").trials() == []


def test_sweep_needs_validation_data(tmp_path):
    whole = Corpus.from_text(TEXT, validation=0, test=0)
    with pytest.raises(ValueError, match="nothing is held out for validation"):
        Sweep(whole, searching(), tmp_path / "study.journal")


@pytest.mark.parametrize("end", [{"max_steps": 12}, {"max_steps": 0, "max_epochs": 2}])
def test_share_that_is_done_grows_up_to_one(end, corpus, tmp_path, monkeypatch):
    shares = []
    monkeypatch.setattr(module, "done", lambda run: shares.append(done(run)) or shares[-1])
    Sweep(corpus, searching(end), tmp_path / "study.journal").run(1)
    assert shares == sorted(shares)
    assert 0.9 < shares[-1] <= 1
    assert 0 < shares[0] <= 0.2
