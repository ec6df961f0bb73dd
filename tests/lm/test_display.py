"""The display with and without a terminal; the order in which callbacks are called."""

import io
import sys

import pytest
from rich.console import Console

from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.corpus.corpus import Corpus
from unrolled.lm.callbacks import Callback, TensorBoard
from unrolled.lm.display import Display, duration
from unrolled.lm.model import SequenceModel
from unrolled.lm.training import train


def fit(*callbacks, **options):
    corpus = Corpus.from_text("the quick brown fox\n" * 30)
    model = SequenceModel(ModelConfig(cell="gru", hidden_size=5), corpus.vocabulary, framed=False)
    training = TrainingConfig(
        **{"max_steps": 12, "max_epochs": 0, "batch_size": 4, "bptt": 8, "log_every": 2, "validate_every": 4} | options
    )
    return train(model, corpus, training, callbacks=callbacks)


@pytest.mark.parametrize("terminal", [True, False])
def test_display_shows_loss_speed_time_norm_and_a_sample(terminal, monkeypatch):
    monkeypatch.setattr("unrolled.lm.display.PLAIN_EVERY", 0.0)
    out = io.StringIO()
    fit(Display(Console(file=out, force_terminal=terminal, width=100, color_system=None)))
    text = out.getvalue()
    for expected in ("SequenceModel(GRU", "nats", "bits/symbol", "gradient norm", "symbols/s", "left", "of 12"):
        assert expected in text, expected
    assert ("sample" in text) == terminal
    assert "ended by max_steps after 12 steps" in text


def test_display_shows_generated_markup_as_text(monkeypatch):
    monkeypatch.setattr(SequenceModel, "generate", lambda model, *args, **options: ["[/x][red]abc"])
    out = io.StringIO()
    fit(Display(Console(file=out, force_terminal=True, width=100)))
    assert "[/x][red]abc" in out.getvalue()


def test_display_works_for_a_run_limited_in_time():
    out = io.StringIO()
    fit(Display(Console(file=out, force_terminal=True, width=100)), max_steps=0, max_minutes=0.001)
    assert "ended by max_minutes" in out.getvalue()


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (59.9, "59 s"), (61, "1 min 1 s"), (7261, "2 h 1 min")])
def test_duration_is_given_in_words(seconds, text):
    assert duration(seconds) == text


class Recorder(Callback):
    def __init__(self):
        self.called = []

    def on_train_begin(self, run):
        self.called.append("begin")

    def on_log(self, run, line):
        self.called.append(line["step"])

    def on_validation_end(self, run, line):
        self.called.append(line and "validation")

    def on_train_end(self, run, result):
        self.called.append(result.ended)

    def close(self):
        self.called.append("close")


def test_callbacks_are_called_in_the_order_of_the_run():
    first, second = Recorder(), Recorder()
    fit(first, second)
    assert first.called == second.called
    assert first.called == ["begin", 2, 4, "validation", 6, 8, "validation", 10, 12, "validation", "max_steps", "close"]


def test_callbacks_are_closed_after_an_error():
    class Failing(Callback):
        def on_log(self, run, line):
            raise OSError

    recorder = Recorder()
    with pytest.raises(OSError):
        fit(recorder, Failing())
    assert recorder.called == ["begin", 2, "close"]


def test_tensorboard_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(RuntimeError, match=r"pip install 'unrolled\[track\]'"):
        TensorBoard()
