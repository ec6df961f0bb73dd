"""Ctrl-C during a run inside a larger task ends the task: an interrupted run is never shown as a complete one."""

import signal

import pytest

from unrolled.commands import demo, lecture
from unrolled.commands.console import PlainConsole
from unrolled.lm import Corpus, ModelConfig, SequenceModel, TrainingConfig
from unrolled.lm.run import Run
from unrolled.lm.training import train_within
from unrolled.views.training_gradients import explosion

CORPUS = Corpus.from_text("abcabcabc" * 100)
TEN = TrainingConfig(max_steps=10, batch_size=2, bptt=5)


@pytest.mark.parametrize(
    "work",
    [
        lambda: train_within(SequenceModel(ModelConfig(hidden_size=3), CORPUS.vocabulary), CORPUS, TEN),
        lambda: explosion(CORPUS, training=TEN),
        lambda: lecture.draw_exploding(steps=10),
        lambda: lecture.draw_lags(steps=10),
        lambda: demo.textbook_example(PlainConsole(quiet=True), 10),
    ],
    ids=["train_within", "explosion", "picture exploding", "picture lags", "demo"],
)
def test_interruption_ends_what_the_run_is_a_part_of(work, monkeypatch):
    step_over, steps = Run.step_over, []

    def interrupted(run):
        step_over(run)
        steps.append(run)
        if len(steps) == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Run, "step_over", interrupted)
    with pytest.raises(KeyboardInterrupt):
        work()
    assert len(steps) == 2
