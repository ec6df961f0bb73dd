"""Training progress in a terminal: a live panel, or plain lines if the output is not a terminal."""

from __future__ import annotations

import time
from collections import deque
from statistics import fmean
from typing import Any

from rich.console import Console, OverflowMethod, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from unrolled.lm.callbacks import Callback
from unrolled.lm.crossing import Crossing
from unrolled.lm.curve import ASCII, BLOCKS, LearningCurve, sparkline
from unrolled.lm.metrics_log import read_metrics
from unrolled.lm.run import Result, Run
from unrolled.saved.visible import is_screen, shown
from unrolled.words import about, counted, duration, rounded

#: Symbols in the sample, and the temperature at which it is drawn.
SAMPLE, TEMPERATURE = 120, 0.8
#: Seconds between plain lines.
PLAIN_EVERY = 10.0
#: Times a second that the panel is drawn.
DRAWN = 4
#: Lines of metrics whose mean is the training loss that is shown.
SMOOTHED = 10
#: Columns of the progress bar, of the curve at most, and of what stands beside the curve.
BAR, CURVE, MARGIN = 50, 50, 26


class Display(Callback):
    """Shows loss, the baseline to beat, time left, the learning curve and a sample of generated text.

    Args: console: where to print; default is standard output.
    """

    def __init__(self, console: Console | None = None):
        self.console = console or Console()
        self.live: Live | None = None
        self.curve, self.recent = LearningCurve(), deque[float](maxlen=SMOOTHED)
        self.crossing: Crossing | None = None
        self.line: dict[str, Any] = {}
        self.validation = ""
        self.sample = ""
        self.printed = time.monotonic()

    def on_train_begin(self, run: Run) -> None:
        """Print the model and the corpus; take up what a resumed run has behind it."""
        self._print(f"{run.model!r}\n{run.corpus!r}")
        self.crossing = Crossing(run.corpus)
        for line in read_metrics(run.folder) if run.folder else []:
            (self._validated if "validation_bits" in line else self._logged)(run, line)
        if is_screen(self.console):
            self.live = Live(
                console=self.console, get_renderable=lambda: self._panel(run), refresh_per_second=DRAWN, transient=True
            )
            self.live.start()

    def on_log(self, run: Run, line: dict[str, Any]) -> None:
        """Take up a line of metrics; without a terminal, print a line every few seconds."""
        self._logged(run, line)
        if not self.live and time.monotonic() - self.printed >= PLAIN_EVERY:
            self.printed = time.monotonic()
            self._print("; ".join(f"{name} {value}" for name, value in self._fields(run).items() if value))

    def on_validation_end(self, run: Run, line: dict[str, Any] | None) -> None:
        """Take up a validation loss; in a terminal, show a new sample."""
        if line:
            self._validated(run, line)
        if self.live:
            start = "\n" if "\n" in run.model.vocabulary.symbols else ""
            self.sample = shown(
                run.model.generate(start, max_length=SAMPLE, temperature=TEMPERATURE, seed=run.clock.step)[0]
            )

    def on_train_end(self, run: Run, result: Result) -> None:
        """Print what ended the run, how long it took, its losses and its curve."""
        self.close()
        loss = "" if result.nats is None else f", training loss {rounded(result.nats, 4)} nats"
        if result.validation is not None:
            loss += f", best validation loss {rounded(result.validation, 4)} nats"
        why = {"signal": "on request", "patience": "by early stopping"}.get(result.ended, f"by {result.ended}")
        ended = f"ended {why} after {counted(result.steps, 'step')} and {duration(result.seconds)}{loss}"
        self._print(ended)
        for name, value in {"baseline": str(self.crossing), "curve": self._drawn()}.items():
            if value:
                self._print(f"{name} {value}")

    def close(self) -> None:
        """Remove the live panel, also after an error."""
        if self.live:
            self.live.stop()
            self.live = None

    def _print(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _logged(self, run: Run, line: dict[str, Any]) -> None:
        self.line = line
        self.curve.add(line["bits"])
        self.recent.append(line["bits"])
        self.smoothed = fmean(self.recent)

    def _validated(self, run: Run, line: dict[str, Any]) -> None:
        assert self.crossing is not None
        bits, read = line["validation_bits"], line.get("validation_symbols")
        if self.crossing.validated(bits, line["step"], line["seconds"]):
            self.validation = f"{_bits(bits)} at best, at step {line['step']:,}"
            if read is not None:
                self.validation += f", on {read:,} of {counted(run.corpus.validation.predicted, 'symbol')}"

    def _fields(self, run: Run) -> dict[str, str]:
        """Return what plain lines and the panel say, by name; what is not known yet is empty."""
        left = time_left(run)
        return {
            "time": duration(run.clock.seconds) + (f", {duration(left)} left" if left is not None else ""),
            "step": f"{run.clock.step:,}{_of_all(run)}, epoch {run.loader.epoch}",
            "training": _bits(self.smoothed) if self.line else "",
            "validation": self.validation,
            "baseline": str(self.crossing),
            "speed": f"{self.line['symbols_per_second']:,.0f} symbols/s" if self.line else "",
        }

    def _panel(self, run: Run) -> RenderableType:
        table = Table.grid(padding=(0, 2), pad_edge=False)
        done = _done(run)
        if done is not None:
            table.add_row("", ProgressBar(total=1.0, completed=done, width=BAR))
        for name, value in (self._fields(run) | {"curve": self._drawn(), "sample": self.sample}).items():
            if value:
                table.add_row(Text(name), Text(value, no_wrap=name == "sample", overflow=self._overflow))
        return table

    @property
    def _overflow(self) -> OverflowMethod:
        return "crop" if self.console.options.ascii_only else "ellipsis"  # which has a sign of its own

    def _drawn(self) -> str:
        """Return the learning curve, and from where to where it goes."""
        points = list(self.curve.points)
        if not points:
            return ""
        heights = ASCII if self.console.options.ascii_only else BLOCKS
        picture = sparkline(points, min(CURVE, self.console.width - MARGIN), heights)
        return f"{rounded(points[0], 2)} {picture} {rounded(points[-1], 2)}"


def _bits(bits: float) -> str:
    return f"{rounded(bits, 3)} bits/symbol"


def time_left(run: Run) -> float | None:
    """Return the seconds to the nearest limit at the speed so far; None if unknown."""
    done = _done(run)
    return run.clock.seconds * (1 - done) / done if done else None


def _of_all(run: Run) -> str:
    """Return of how many steps the run is: those at which it ends, or where the time ends it first, about how many."""
    step, total, done = run.clock.step, run.total_steps, _done(run)
    if total and (not run.config.max_minutes or (step and done == run.schedule.done(step, 0.0))):
        return f" of {total:,}"
    return f" of {about(step / done)}" if step and done else ""


def _done(run: Run) -> float | None:
    return run.schedule.done(run.clock.step, run.clock.seconds)
