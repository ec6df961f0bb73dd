"""The display with and without a terminal; the order in which callbacks are called."""

import io
import re
import sys

import pytest
import torch
from rich.console import Console

from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.corpus.baselines import table
from unrolled.corpus.corpus import Corpus
from unrolled.lm.callbacks import Callback, TensorBoard
from unrolled.lm.display import Display
from unrolled.lm.model import SequenceModel
from unrolled.lm.run import Run
from unrolled.lm.training import train

#: What a bigram cannot count.
COUNTED = "aaaaaaab\n" * 200


def fit(*callbacks, out=None, resume=False, validation=0.05, text=COUNTED, **options):
    corpus = Corpus.from_text(text, validation=validation)
    torch.manual_seed(0)
    model = SequenceModel(ModelConfig(cell="gru", hidden_size=16), corpus.vocabulary, framed=False)
    training = TrainingConfig(
        **{"max_steps": 12, "max_epochs": 0, "batch_size": 4, "bptt": 8, "log_every": 2, "validate_every": 4} | options
    )
    return train(model, corpus, training, out, resume=resume, callbacks=callbacks)


def shown(callbacks=(), *, terminal=True, width=100, encoding="utf-8", **options):
    """What the display prints of a run, as text."""
    data = io.BytesIO()
    out = io.TextIOWrapper(data, encoding, errors="strict", newline="")
    display = Waiting(Console(file=out, force_terminal=terminal, width=width, color_system=None))
    fit(display, *callbacks, **options)
    out.flush()
    return data.getvalue().decode(encoding)


class Waiting(Display):
    """A display whose baseline is counted before the first step, so that what it says does not depend on the time."""

    def on_train_begin(self, run):
        super().on_train_begin(run)
        self.crossing.wait()

    def on_log(self, run, line):
        super().on_log(run, line)
        if self.live:
            self.live.refresh()


LEARNS = {"max_steps": 200, "validate_every": 20, "learning_rate": 0.03, "bptt": 32}


def test_panel_shows_losses_baseline_time_speed_curve_and_sample():
    text = shown()
    for expected in (
        "SequenceModel(GRU", "training    ", "validation  ", "bits/symbol at best, at step 4", "of 12, epoch 1",
        " left", "baseline    ", "not yet crossed", "symbols/s", "curve  ", "sample  ", "ended by",
    ):  # fmt: skip
        assert expected in text, expected


@pytest.fixture
def low_mark(monkeypatch):
    """A baseline that a small model beats soon."""

    def bigram(corpus, split):
        return next(each for each in table(corpus, split) if each.name == "bigram")

    monkeypatch.setattr("unrolled.lm.crossing.mark", bigram)


def test_baseline_is_crossed_at_the_first_validation_below_it(low_mark):
    class Lowest(Callback):
        def __init__(self):
            self.bits = {}

        def on_validation_end(self, run, line):
            self.bits[line["step"]] = line["validation_bits"]

    seen = Lowest()
    text = shown([seen], **LEARNS)
    bits, step = re.search(r"\nbaseline .+ ([\d.]+): crossed at step (\d+) after \d+ s\n", text).groups()
    assert int(step) == min(step for step, below in seen.bits.items() if below < float(bits))
    assert "not yet crossed" in text


def test_plain_lines_name_each_number_and_stay_whole(monkeypatch):
    monkeypatch.setattr("unrolled.lm.display.PLAIN_EVERY", 0.0)
    lines = [line for line in shown(terminal=False, width=80).splitlines() if line.startswith("time ")]
    assert [re.search("; step ([^;]*);", line).group(1) for line in lines] == [
        f"{step} of 12, epoch 1" for step in (2, 4, 6, 8, 10, 12)
    ]
    for field in ("training", "validation", "baseline", "speed"):
        assert f"; {field} " in lines[-1]
    assert "sample" not in lines[-1]
    assert len(lines[-1]) > 80


def steps_said(step, seconds, **limits):
    """What the display says of the steps of a run at a moment."""
    corpus = Corpus.from_text(COUNTED)
    training = TrainingConfig(**{"max_steps": 0, "max_epochs": 0, "batch_size": 4, "bptt": 8} | limits)
    run = Run(SequenceModel(ModelConfig(hidden_size=3), corpus.vocabulary, framed=False), corpus, training)
    run.clock.step, run.clock.seconds = step, seconds
    return Display()._fields(run)["step"]


@pytest.mark.parametrize(
    ("step", "seconds", "limits", "said"),
    [
        (234, 3.0, {"max_epochs": 10**6, "max_minutes": 1.0}, "234 of about 4,700, epoch 1"),  # not of 50,000,000
        (0, 0.0, {"max_epochs": 10**6, "max_minutes": 1.0}, "0, epoch 1"),
        (7, 0.0, {"max_minutes": 1.0}, "7, epoch 1"),
        (7, 6.0, {"max_minutes": 1.0}, "7 of about 70, epoch 1"),
        (4720, 59.7, {"max_minutes": 1.0}, "4,720 of about 4,800, epoch 1"),  # never less than are done
        (500, 6.0, {"max_steps": 2000, "max_minutes": 1.0}, "500 of 2,000, epoch 1"),  # which end it sooner
        (500, 6.0, {"max_steps": 2000}, "500 of 2,000, epoch 1"),
        (0, 0.0, {"max_steps": 2000}, "0 of 2,000, epoch 1"),
    ],
)
def test_steps_are_of_those_at_which_the_run_ends(step, seconds, limits, said):
    assert steps_said(step, seconds, **limits) == said


@pytest.mark.parametrize("terminal", [True, False])
def test_run_that_its_time_ends_names_no_step_that_it_will_not_reach(terminal, monkeypatch):
    monkeypatch.setattr("unrolled.lm.display.PLAIN_EVERY", 0.0)
    text = shown(terminal=terminal, max_steps=0, max_epochs=10**6, max_minutes=0.02, validate_every=1000)
    said = re.findall(r"step +([\d,]+(?: of [^,]*(?:,\d+)*)?), epoch", text)
    assert said
    assert all(re.fullmatch(r"[\d,]+( of about [\d,]+)?", each) for each in said)


def test_sample_changes_with_each_validation():
    samples = set(re.findall(r"sample +(\S[^\r\n]*?) *[\r\n]", shown(max_steps=20)))
    assert len(samples) >= 4


@pytest.mark.parametrize("width", [50, 80, 160])
def test_panel_fits_its_terminal(width):
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown(width=width, **LEARNS))
    panel = [line for line in re.split("[\r\n]+", text) if re.match(" {12}|(time|curve|sample)  ", line)]
    assert panel
    assert max(map(len, panel)) <= width


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_display_has_a_picture_where_the_console_lacks_blocks(terminal, encoding, monkeypatch):
    monkeypatch.setattr("unrolled.lm.display.shown", lambda text: text.replace("\n", " "))
    text = shown(terminal=terminal, encoding=encoding, **LEARNS)
    assert re.search(r"\ncurve [\d.]+ #[_.,=+*#-]*_[_.,=+*#-]* [\d.]+", text), text[-300:]


def test_run_goes_on_where_the_baseline_cannot_be_counted(monkeypatch):
    def out_of_memory(*_):
        raise MemoryError

    monkeypatch.setattr("unrolled.lm.crossing.mark", out_of_memory)
    text = shown()
    assert "ended by max_steps" in text
    assert "baseline" not in text


@pytest.mark.filterwarnings("ignore:validate_every=4 has no effect")
def test_run_without_validation_data_has_no_baseline():
    text = shown(validation=0)
    assert "ended by max_steps" in text
    assert "sample" in text
    assert "baseline" not in text


def test_resumed_run_shows_its_whole_curve(tmp_path, low_mark):
    shown(out=tmp_path / "run", **LEARNS)
    text = shown(out=tmp_path / "run", resume=True, **LEARNS | {"max_steps": 202})
    first, last = re.search(r"\ncurve ([\d.]+) \S+ ([\d.]+)", text).groups()
    assert float(first) > 2 * float(last)
    assert re.search(r"crossed at step \d+ after", text)


def test_display_shows_generated_markup_as_text(monkeypatch):
    monkeypatch.setattr(SequenceModel, "generate", lambda model, *args, **options: ["[/x][red]abc"])
    assert "[/x][red]abc" in shown()


def test_display_works_for_a_run_limited_in_time():
    assert "ended by max_minutes" in shown(max_steps=0, max_minutes=0.001)


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


def test_a_run_in_python_writes_the_tensorboard_log_that_its_options_ask_for(tmp_path):
    pytest.importorskip("tensorboard", reason="needs [track]")
    corpus = Corpus.from_text("abcabcabc" * 20)
    model = SequenceModel(ModelConfig(hidden_size=3), corpus.vocabulary)
    train(model, corpus, TrainingConfig(max_steps=3, tensorboard=True), tmp_path / "run")
    assert [*(tmp_path / "run").glob("events.out.tfevents.*")]


def test_tensorboard_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(RuntimeError, match=r"pip install 'unrolled\[track\]'"):
        TensorBoard()
